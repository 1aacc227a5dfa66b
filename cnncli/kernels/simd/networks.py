"""Networks of exchanges: which pairs of values to order so that a value of a certain rank comes out.

An exchange puts the smaller of two values into the first place and the larger into the second. What nothing later reads
is left out. Importing this does not import Numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

_Pairs = list[tuple[int, int]]


class Network(NamedTuple):
    """Exchanges in order, and the places of the results.

    Parameters
    ----------
    exchanges : tuple of (int, int, bool, bool)
        Two places, and whether the smaller and the larger value are wanted.
    outputs : tuple of int
        Places.
    """

    exchanges: tuple[tuple[int, int, bool, bool], ...]
    outputs: tuple[int, ...]


def sorting(count: int) -> Network:
    """Return the network that sorts `count` values (Batcher 1968, Sorting networks and their applications)."""
    order, pairs = _sorted(list(range(count)))
    return _needed(pairs, order)


def middle_of_sorted_columns(rows: int, columns: int) -> Network:
    """Return the network of the value of rank n//2 of n = rows * columns values whose columns are sorted.

    Value i of column j has the place j * rows + i. Once rows are sorted as well, value (i, j) is not less than
    (i + 1)(j + 1) values and not larger than (rows - i)(columns - j): most are dropped for that. The others are merged.
    """
    pairs: _Pairs = []
    lines: list[list[int]] = []
    for i in range(rows):
        order, more = _sorted([j * rows + i for j in range(columns)])
        lines.append(order)
        pairs += more
    count = rows * columns
    rank = count // 2
    kept: list[list[int]] = []
    below = 0
    for i, line in enumerate(lines):
        small = [(rows - i) * (columns - j) > count - rank for j in range(columns)]
        large = [(i + 1) * (j + 1) > rank + 1 for j in range(columns)]
        below += sum(small)
        kept.append([line[j] for j in range(columns) if not (small[j] or large[j])])
    runs = [line for line in kept if line]
    while len(runs) > 1:
        runs.sort(key=len)
        joined, more = _merged(runs[0], runs[1])
        pairs += more
        runs = [joined, *runs[2:]]
    return _needed(pairs, [runs[0][rank - below]])


def _sorted(places: list[int]) -> tuple[list[int], _Pairs]:
    """Return the places in the order of the values that exchanges leave there, and the exchanges."""
    if len(places) < 2:
        return places, []
    half = len(places) // 2
    left, first = _sorted(places[:half])
    right, second = _sorted(places[half:])
    order, last = _merged(left, right)
    return order, first + second + last


def _merged(a: list[int], b: list[int]) -> tuple[list[int], _Pairs]:
    """Do as `_sorted` for two sorted runs of any lengths: Batcher's odd-even merge (Knuth, TAOCP 3, 5.3.4 M)."""
    if not a or not b:
        return a or b, []
    if len(a) == len(b) == 1:
        return [a[0], b[0]], [(a[0], b[0])]
    even, first = _merged(a[::2], b[::2])
    odd, second = _merged(a[1::2], b[1::2])
    pairs, order = first + second, [even[0]]
    for i in range(max(len(odd), len(even) - 1)):
        if i < len(odd) and i + 1 < len(even):
            pairs.append((odd[i], even[i + 1]))
        order += odd[i : i + 1] + even[i + 1 : i + 2]
    return order, pairs


def _needed(pairs: _Pairs, outputs: Sequence[int]) -> Network:
    """Return the network without what no output depends on."""
    read = set(outputs)
    found = []
    for i, j in reversed(pairs):
        if i in read or j in read:
            found.append((i, j, i in read, j in read))
            read |= {i, j}
    return Network(tuple(reversed(found)), tuple(outputs))
