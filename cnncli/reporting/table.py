"""A table of texts as terminal, plain, CSV, Markdown or LaTeX."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Align = Literal["left", "right"]


@dataclass(frozen=True)
class Column:
    """A column's title and alignment; `quiet` ones are dimmed on a terminal."""

    title: str
    align: Align = "left"
    quiet: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of texts under columns; `total` is a last row set off from the others; `caption` follows the table."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    total: Sequence[str] = ()
    caption: str = ""
    footer: list[str] = field(default_factory=list)


def render_plain(table: Table) -> str:
    """Return aligned text, two spaces between columns, for pipes and files."""
    titles = [column.title for column in table.columns]
    lines = [titles, *table.rows, *([table.total] if table.total else [])]
    widths = [max(len(line[index]) for line in lines) for index in range(len(titles))]
    return "\n".join([*(_plain_line(line, widths, table.columns) for line in lines), *table.footer]) + "\n"


def render_csv(table: Table) -> str:
    """Return comma-separated values with a heading; no total row, so that a column adds up by itself."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([column.title for column in table.columns])
    writer.writerows(table.rows)
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
    """Return the table with rich's colours and rules, as wide as the terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(box=box.SIMPLE_HEAD, show_footer=bool(table.total), pad_edge=False, padding=(0, 1))
    for index, column in enumerate(table.columns):
        footer = Text(table.total[index], style="bold") if table.total else Text("")
        style = "dim" if column.quiet else ""
        # counts are never broken; the first column wraps where the window is narrow
        drawn.add_column(
            Text(column.title), footer, justify=column.align, style=style, no_wrap=bool(index), overflow="fold"
        )
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    buffer = io.StringIO()
    console = Console(file=buffer, force_terminal=True, width=width, highlight=False)
    if width is None:
        console.width = Console(file=sys.stdout).width
    console.print(drawn)
    for line in table.footer:
        console.print(Text(line, style="bold"))
    return buffer.getvalue()


def _plain_line(cells: Sequence[str], widths: Sequence[int], columns: Sequence[Column]) -> str:
    padded = (
        cell.rjust(width) if column.align == "right" else cell.ljust(width)
        for cell, width, column in zip(cells, widths, columns, strict=True)
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
