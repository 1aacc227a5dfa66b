"""Kernels as JSON: a list of rows, or an object as `cnn kernels NAME -o k.json` writes it."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any, NoReturn

import numpy as np

from cnncli import SCHEMA
from cnncli.errors import InvalidInputError
from cnncli.filters.kernel import COMBINATIONS, Kernel, from_fractions
from cnncli.filters.kernel_array import EXAMPLE, ORDERS, check_size, in_order
from cnncli.filters.numbers_text import to_fraction

_READ = ("kernel", "weights", "factor", "divisor", "bias", "combine", "order", "name", "schema")
_COMPUTED = ("size", "sum", "separable", "purpose", "parameters")  # follow from the others, and are not read


def parse_kernel_json(text: str, where: str, name: str, order: str | None = None) -> Kernel:
    """Return the kernel of a JSON text.

    Parameters
    ----------
    text : str
        A number, a list (KW), rows (KH, KW), (C, KH, KW), (F, C, KH, KW), or an object with that list as ``kernel``
        (or ``weights``) and with ``factor`` (multiplies every number), ``divisor`` (a whole number; every number is a
        rounded quotient of a whole number and it, and is taken for the exact one), ``bias`` (one, or one for each
        filter), ``combine`` (``stack``; ``magnitude`` and ``maximum`` join several matrices (F, KH, KW), as in
        `Kernel`), ``order`` (of the axes, one of ORDERS) and ``name``. Numbers may be texts such as ``"1/9"``.
    name : str
        Of a kernel that does not have one.
    order : str, optional
        As `kernel_from_array`; the order that the file names wins.

    Raises
    ------
    InvalidInputError
        Not JSON, NaN or Infinity, a key that is unknown or given twice, ragged lists, more than one kernel; located.
    """
    body = _load(text, where)
    options: dict[str, Any] = body if isinstance(body, dict) else {"kernel": body}
    _check_keys(options, where)
    if not isinstance(options.get("name", ""), str):
        raise InvalidInputError("'name' is not a text", where=where, hint='write "name": "mine"')
    values: list[Fraction] = []
    shape = _flatten(options.get("kernel", options.get("weights")), values, where, ())
    if len(shape) > 4 or not values:
        raise InvalidInputError(f"a kernel has 1 to 4 axes, this one has {len(shape)}", where=where)
    check_size((1,) * (4 - len(shape)) + shape, where)
    factor = _fraction(options.get("factor", 1), where, "factor")
    if "divisor" in options:
        values = _quotients(values, options["divisor"], where)
    numbers, divisor = from_fractions([v * factor for v in values])
    array = np.array(numbers).reshape(shape)
    combine = _choice(options, "combine", tuple(COMBINATIONS), where) or "stack"
    single = len(shape) <= 2
    note = ""
    if combine != "stack":
        if len(shape) != 3:
            message = f"'combine' {combine} needs several matrices, a list of 3 axes"
            raise InvalidInputError(message, where=where, hint="drop 'combine' for one matrix")
        full, single = array[:, None], True
    else:
        array, note = in_order(array, where, _choice(options, "order", ORDERS, where) or order)
        full = array.reshape((1,) * (4 - array.ndim) + array.shape)
    check_size(full.shape, where)
    bias = _biases(options.get("bias", 0), full.shape[0], where)
    title = options.get("name", name)
    return Kernel(title, np.ascontiguousarray(full), divisor, bias, combine, single, note)


def split_kernels(text: str) -> list[str]:
    """Return the texts of all kernels in a JSON text: those of a list ``kernels``, or one of each line (JSON lines).

    A text that is neither is returned as it is.
    """
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and all(line.lstrip().startswith("{") and line.rstrip().endswith("}") for line in lines):
        return lines
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):  # said better where it is read
        return [text]
    listed = body.get("kernels") if isinstance(body, dict) and set(body) <= {"kernels", "schema"} else None
    return [json.dumps(one) for one in listed] if isinstance(listed, list) and listed else [text]


def _load(text: str, where: str) -> Any:
    def refuse(word: str) -> NoReturn:
        raise InvalidInputError(f"{word} is not a finite number", where=where)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise InvalidInputError(f"key '{twice[:40]}' stands twice", where=where, hint="keep one of them")
        return found

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg[:1].lower() + error.msg[1:]}"
        hint = "write a list of rows such as [[0, 1], [1, 0]]; files of plain numbers end in .txt or .csv"
        raise InvalidInputError(message, where=f"{where}:{error.lineno}:{error.colno}", hint=hint) from None
    except (RecursionError, ValueError) as error:
        raise InvalidInputError(f"not JSON: {error}", where=where) from None


def _check_keys(options: dict[str, Any], where: str) -> None:
    listed = options.get("kernels")
    if isinstance(listed, list):
        message = f"holds {len(listed)} kernels, a kernel file holds one"
        raise InvalidInputError(message, where=where, hint="write one: cnn kernels NAME -o k.json")
    unknown = set(options) - {*_READ, *_COMPUTED}
    if unknown or ("kernel" in options) == ("weights" in options):
        what = f"unknown key '{min(unknown)[:40]}'" if unknown else "no 'kernel'"
        if not unknown and "kernel" in options:
            what = "holds both 'kernel' and 'weights'"
        hint = "keys are kernel (or weights), factor, bias, combine, order, name"
        raise InvalidInputError(what, where=where, hint=hint)
    if options.get("schema", SCHEMA) != SCHEMA:
        shown = json.dumps(options["schema"])[:40]
        raise InvalidInputError(f"schema is {shown}, not {SCHEMA}", where=where, hint="drop the key 'schema'")


def _quotients(values: list[Fraction], divisor: Any, where: str) -> list[Fraction]:
    """Return the fractions over `divisor` that `values` are rounded from."""
    if not isinstance(divisor, int) or isinstance(divisor, bool) or not 1 <= divisor < 2**24:
        shown = json.dumps(divisor)[:40]
        raise InvalidInputError(f"'divisor' is {shown}", where=where, hint="use a whole number from 1 to 2^24")
    exact = [Fraction(round(value * divisor), divisor) for value in values]
    for place, (rounded, value) in enumerate(zip(values, exact, strict=True), start=1):
        if float(rounded) != float(value):
            message = f"number {place}, {float(rounded)!r}, is not a whole number over the divisor {divisor}"
            raise InvalidInputError(message, where=where, hint="drop the key 'divisor'")
    return exact


def _choice(options: dict[str, Any], key: str, allowed: tuple[str, ...], where: str) -> str | None:
    value = options.get(key)
    if key in options and value not in allowed:
        shown = json.dumps(value)[:40]
        raise InvalidInputError(f"'{key}' is {shown}", where=where, hint=f"choose {', '.join(allowed)}")
    return value


def _biases(listed: Any, filters: int, where: str) -> np.ndarray | None:
    biases = [float(_fraction(b, where, "bias")) for b in (listed if isinstance(listed, list) else [listed])]
    if len(biases) not in (1, filters):
        raise InvalidInputError(f"{len(biases)} biases for {filters} filters", where=where, hint="give one each")
    return np.array(biases * (filters // len(biases)))


def _flatten(value: Any, values: list[Fraction], where: str, path: tuple[int, ...]) -> tuple[int, ...]:
    """Append the numbers of nested lists to `values` and return the shape; ragged lists are refused."""
    if not isinstance(value, list):
        values.append(_fraction(value, where, f"element {list(path)}"))
        return ()
    if len(path) >= 4:
        raise InvalidInputError("lists are nested more than 4 deep", where=where)
    if not value:
        raise InvalidInputError(f"element {list(path)} is an empty list", where=where, hint=EXAMPLE)
    shapes = [_flatten(item, values, where, (*path, i)) for i, item in enumerate(value)]
    for i, shape in enumerate(shapes):
        if shape != shapes[0]:
            what = f"row {i + 1} has shape {shape}, row 1 has {shapes[0]}"
            raise InvalidInputError(f"element {list(path)}: {what}", where=where, hint="give every row the same count")
    return (len(value), *shapes[0])


def _fraction(value: Any, where: str, what: str) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InvalidInputError(f"{what} is {json.dumps(value)[:40]}, not a number", where=where)
    try:
        return to_fraction(repr(value) if isinstance(value, float) else str(value))
    except ValueError as error:
        raise InvalidInputError(f"{what}: {error}", where=where) from None
