"""Several steps in one text: ``sobel-x | sobel-y``, and ``gabor:0..150:30`` for one Gabor kernel every 30 degrees.

A bank stands in one ``-k`` because repeated ``-k`` is a chain: so it can stand anywhere in one. A range is written as
in vips and bash, both ends included, with its step behind a colon.
"""

from __future__ import annotations

import itertools
import re
from fractions import Fraction

from cnncli.errors import UsageError
from cnncli.filters.numbers_text import to_fraction

LIMIT = 4096  # members of a bank
_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::({_NUMBER}))?")


def alternatives(text: str) -> list[str]:
    """Return the texts of the members of a bank; one for a text that is no bank.

    Raises
    ------
    UsageError
        A member that is empty, a range whose step leads away from its end, too many members.

    Examples
    --------
    >>> alternatives("sobel-x | sobel-y"), alternatives("gabor:0..90:45,sigma=3")
    (['sobel-x', 'sobel-y'], ['gabor:0,sigma=3', 'gabor:45,sigma=3', 'gabor:90,sigma=3'])
    """
    parts = [part.strip() for part in text.split("|")]
    if len(parts) > 1 and not all(parts):
        raise UsageError(f"'{text[:60]}' has an empty member", hint='write "sobel-x | sobel-y"')
    found = [member for part in parts for member in _swept(part)]
    if len(found) > LIMIT:
        raise UsageError(f"'{text[:60]}' has {len(found)} members, the limit is {LIMIT}")
    return found


def _swept(text: str) -> list[str]:
    """Return one text for each number of a range; of several ranges the last one varies first."""
    if text.startswith("@") or not re.match(r"[A-Za-z]", text) or "[" in text:  # a file, numbers, a learned kernel
        return [text]
    name, colon, arguments = text.partition(":")
    pieces = _RANGE.split(arguments) if colon else []
    if len(pieces) < 2:
        return [text]
    choices = [[pieces[0]]]
    for i in range(1, len(pieces), 4):
        start, end, step, rest = pieces[i : i + 4]
        choices += [_numbers(text, start, end, step or "1"), [rest]]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > LIMIT:
        raise UsageError(f"'{text[:60]}' has {count} members, the limit is {LIMIT}", hint="use larger steps")
    return [f"{name}:{''.join(words)}" for words in itertools.product(*choices)]


def _numbers(text: str, start: str, end: str, step: str) -> list[str]:
    first, last, width = to_fraction(start), to_fraction(end), to_fraction(step)
    if not width or (last - first) / width < 0:
        way = "is 0" if not width else f"leads away from {end}"
        raise UsageError(f"'{text[:60]}': the step {step} {way}", hint="write 0..150:30, or 3..1:-1")
    count = int((last - first) / width) + 1
    if count > LIMIT:
        raise UsageError(f"'{text[:60]}' has {count} members, the limit is {LIMIT}", hint="use larger steps")
    return [_plain(first + i * width) for i in range(count)]


def _plain(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else repr(float(value))
