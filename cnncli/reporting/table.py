"""A table of texts as terminal, plain, CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.table import Table as RichTable

Align = Literal["left", "right"]

_RULE = "─"
_WIDTH = 80  # of a terminal of unknown width
_GAP = 2  # blanks between columns
_FIRST_COLUMN = 24  # characters that the first column keeps before the table is divided
_COUNT = re.compile(r"(= )?[-+]?\d{1,3}(,\d{3})*")


@dataclass(frozen=True)
class Column:
    """A column's title and alignment; `quiet` ones are dimmed on a terminal."""

    title: str
    align: Align = "left"
    quiet: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of texts under columns; `total` is a last row set off from the others."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] = ()
    footer: list[str] = field(default_factory=list)


def render_plain(table: Table) -> str:
    """Return aligned text, two spaces between columns, for pipes and files."""
    titles = [column.title for column in table.columns]
    lines = [titles, *table.rows, *([table.total] if table.total else [])]
    widths = [max(_cells(line[index]) for line in lines) for index in range(len(titles))]
    return "\n".join([*(_plain_line(line, widths, table.columns) for line in lines), *table.footer]) + "\n"


def render_csv(table: Table) -> str:
    """Return comma-separated values with a heading; no total row, so that a column adds up by itself."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([column.title for column in table.columns])
    writer.writerows([[_bare(cell) for cell in row] for row in table.rows])
    return buffer.getvalue()


def render_markdown(table: Table) -> str:
    """Return a GitHub-flavoured table."""
    rules = [":---" if column.align == "left" else "---:" for column in table.columns]
    lines = [[column.title for column in table.columns], rules, *table.rows]
    if table.total:
        lines.append([f"**{cell}**" if cell else "" for cell in table.total])
    body = "".join(f"| {' | '.join(_markdown(cell) for cell in line)} |\n" for line in lines)
    return body + "".join(f"\n{line}\n" for line in table.footer)


def render_latex(table: Table) -> str:
    """Return a `tabular` that needs no package."""
    spec = "".join("l" if column.align == "left" else "r" for column in table.columns)
    rows = [" & ".join(map(_latex, line)) + r" \\" for line in table.rows]
    lines = [rf"\begin{{tabular}}{{{spec}}}", r"\hline"]
    lines += [" & ".join(_latex(column.title) for column in table.columns) + r" \\", r"\hline", *rows]
    if table.total:
        lines += [r"\hline", " & ".join(map(_latex, table.total)) + r" \\"]
    lines += [r"\hline", r"\end{tabular}"]
    footer = [_latex(line) for line in table.footer]
    return "\n".join([*lines, *([r"\par", *footer] if footer else [])]) + "\n"


def render_terminal(table: Table, width: int | None = None) -> str:
    """Return the table with rich's rules and colours, as wide as the terminal.

    Titles break between words before anything else gives way; then the first column wraps. What still does not fit
    follows below as a second table with the first column again, so that no number is ever cut.
    """
    from rich.console import Console
    from rich.text import Text

    terminal = Console(file=sys.stdout)
    buffer = io.StringIO()
    # COLUMNS=0 means that the width is not known
    width = width or terminal.width or _WIDTH
    colours: Literal["auto"] | None = None if os.environ.get("NO_COLOR") else "auto"
    console = Console(
        file=buffer, force_terminal=terminal.is_terminal, width=width, highlight=False, color_system=colours
    )
    parts = _parts(table, console.width)
    for number, columns in enumerate(parts):
        console.print(_drawn(table, columns, console.width), crop=False)
        if number < len(parts) - 1:
            console.print()
    for line in table.footer:
        console.print(Text(line, style="bold"))
    text = buffer.getvalue()
    try:
        _RULE.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return text.replace(_RULE, "-")
    return text


def _parts(table: Table, width: int) -> list[list[int]]:
    """Return the columns of each table below the other; the first column leads every one of them."""
    needed = [_narrowest(table, index) for index in range(len(table.columns))]
    first = min(needed[0], _FIRST_COLUMN) if len(needed) > 1 else needed[0]
    parts: list[list[int]] = [[0]]
    used = first
    for index in range(1, len(needed)):
        if used + _GAP + needed[index] > width and len(parts[-1]) > 1:
            parts.append([0])
            used = first
        parts[-1].append(index)
        used += _GAP + needed[index]
    return parts


def _drawn(table: Table, indices: Sequence[int], width: int) -> RichTable:
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        box=box.SIMPLE_HEAD, show_footer=bool(table.total), show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for index, columns in zip(indices, _widths(table, indices, width), strict=True):
        column = table.columns[index]
        footer = Text(table.total[index], style="bold") if table.total else Text("")
        style = "dim" if column.quiet else ""
        drawn.add_column(Text(column.title), footer, justify=column.align, style=style, width=columns, overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(row[index]) for index in indices))
    return drawn


def _widths(table: Table, indices: Sequence[int], width: int) -> list[int]:
    """Return the width of each column: titles break where that is needed, then the first column wraps."""
    widths = [max(_narrowest(table, index), _cells(table.columns[index].title)) for index in indices]
    excess = sum(widths) + _GAP * (len(widths) - 1) - width
    for place in sorted(range(len(indices)), key=lambda place: _narrowest(table, indices[place]) - widths[place]):
        spare = widths[place] - _narrowest(table, indices[place])
        if excess > 0 and spare:
            widths[place] -= spare
            excess -= spare
    widths[0] = max(widths[0] - max(excess, 0), min(widths[0], 8))
    return widths


def _narrowest(table: Table, index: int) -> int:
    """Return the width of a column whose title may break between words."""
    cells = [row[index] for row in table.rows] + ([table.total[index]] if table.total else [])
    return max(_cells(text) for text in (*table.columns[index].title.split(), *cells))


def _cells(text: str) -> int:
    """Return how many columns of a terminal a text fills: East Asian signs fill two."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _bare(cell: str) -> str:
    """Return a count without the commas and signs that are there for the eye."""
    if cell == "-":
        return ""
    return cell.removeprefix("= ").replace(",", "") if _COUNT.fullmatch(cell) else cell


def _plain_line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    padded = (
        blanks + cell if column.align == "right" else cell + blanks
        for cell, column, blanks in (
            (cell, column, " " * (width - _cells(cell)))
            for cell, width, column in zip(cells, widths, columns, strict=True)
        )
    )
    return "  ".join(padded).rstrip()


def _markdown(cell: str) -> str:
    escaped = cell.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    # a lone * between digits is a product, not emphasis
    return escaped if escaped.startswith("**") else escaped.replace("*", "\\*").replace("_", "\\_")


_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "*": r"$\times$", "·": r"$\cdot$", "×": r"$\times$",
    "<": r"$<$", ">": r"$>$", "\N{GREEK SMALL LETTER MU}": r"$\mu$",
}  # fmt: skip


def _latex(cell: str) -> str:
    return "".join(_LATEX.get(character, character) for character in cell)
