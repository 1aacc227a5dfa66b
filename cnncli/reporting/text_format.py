"""One table in the format that was asked for."""

from __future__ import annotations

from cnncli.reporting import table as tables
from cnncli.reporting.table import Table


def render(table: Table, format_name: str) -> str:
    """Return `table` as ``table`` (terminal), ``plain``, ``csv``, ``md`` or ``latex``."""
    if format_name == "table":
        return tables.render_terminal(table)
    if format_name == "csv":
        return tables.render_csv(table)
    if format_name == "md":
        return tables.render_markdown(table)
    return tables.render_latex(table) if format_name == "latex" else tables.render_plain(table)
