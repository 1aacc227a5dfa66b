"""Whole-number expressions of architecture files: ``4*k``, ``in//2``, ``(classes + 1) * 2``.

A tree of the expression is walked and every kind of node that is not on the list is refused; nothing is ever
evaluated as Python.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from cnncli.errors import InvalidInputError, did_you_mean

MAX_LENGTH = 100
MAX_VALUE = 10**12

_TOKENS = re.compile(r"\s*(?:\d{1,13}(?![\w.])|[A-Za-z_]\w{0,63}|//|[-+*()])")
_NAME = re.compile(r"[A-Za-z_]\w*")


def evaluate(text: str, names: Mapping[str, int]) -> int:
    """Return the value of a whole-number expression.

    Parameters
    ----------
    text : str
        Numbers, names, ``+ - * //`` and parentheses.
    names : mapping
        What each name stands for; ``in`` may be written for ``in_channels``.

    Raises
    ------
    InvalidInputError
        Not such an expression, an unknown name (with the nearest one), a division by zero or a huge value.

    Examples
    --------
    >>> evaluate("4*k + in//2", {"k": 32, "in_channels": 64})
    160
    """
    if len(text) > MAX_LENGTH:
        raise InvalidInputError(f"expression of {len(text)} characters", hint=f"keep it below {MAX_LENGTH}")
    position = 0
    while position < len(text.rstrip()):
        token = _TOKENS.match(text, position)
        if not token:
            raise InvalidInputError(
                f"expected a whole number or an expression of + - * // ( ), got text {text!r}",
                hint="see `cnn new resnet18` for expressions over parameters",
            )
        position = token.end()
    # `in` is a keyword of Python's grammar
    source = _NAME.sub(lambda word: "in_channels" if word.group() == "in" else word.group(), text.strip())
    try:
        tree = ast.parse(source, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise InvalidInputError(
            f"cannot read the expression {text!r}", hint="use + - * // ( ) between numbers and names"
        ) from None
    return _value(tree.body, names, text)


def _value(node: ast.expr, names: Mapping[str, int], text: str) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        result = node.value
    elif isinstance(node, ast.Name):
        result = _lookup(node.id, names)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        operand = _value(node.operand, names, text)
        result = -operand if isinstance(node.op, ast.USub) else operand
    elif isinstance(node, ast.BinOp):
        result = _combine(node.op, _value(node.left, names, text), _value(node.right, names, text), text)
    else:
        raise InvalidInputError(
            f"cannot read the expression {text!r}", hint="use + - * // ( ) between numbers and names"
        )
    if abs(result) > MAX_VALUE:
        raise InvalidInputError(f"{text!r} is beyond {MAX_VALUE:,}", hint="use smaller numbers")
    return result


def _combine(operator: ast.operator, left: int, right: int, text: str) -> int:
    if isinstance(operator, ast.Add):
        return left + right
    if isinstance(operator, ast.Sub):
        return left - right
    if isinstance(operator, ast.Mult):
        return left * right
    if isinstance(operator, ast.FloorDiv):
        if right == 0:
            raise InvalidInputError(f"{text!r} divides by zero", hint="divide by something else")
        return left // right
    raise InvalidInputError(f"cannot read the expression {text!r}", hint="only + - * // are known")


def _lookup(name: str, names: Mapping[str, int]) -> int:
    if name in names:
        return names[name]
    known = sorted("in" if known == "in_channels" else known for known in names)
    if name == "classes":
        raise InvalidInputError("`classes` is not set", hint="add `classes: 10` to the file or give --classes")
    hint = did_you_mean(name, (*known, "classes"), f"known here: {', '.join(known)}" if known else "use a number")
    raise InvalidInputError(f"unknown name {name!r}", hint=hint)
