"""A small SVG writer: shapes and texts, every string escaped."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

FONT = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def number(value: float) -> str:
    """Return a coordinate with at most two digits after the point."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return about how many px a line of text takes in Helvetica; East Asian signs are square."""
    from unicodedata import east_asian_width

    signs = sum(1.0 if east_asian_width(sign) in "WF" else 0.62 if bold else 0.56 for sign in text)
    return signs * size


class Drawing:
    """An SVG document of `width` x `height` px with a white ground; `title` is for readers that cannot see it."""

    def __init__(self, width: float, height: float, title: str) -> None:
        self.title = title
        self.width = width
        self.height = height
        self.parts: list[str] = []

    def rectangle(
        self, x: float, y: float, width: float, height: float, *, fill: str, stroke: str, radius: float = 0
    ) -> None:
        """Add a rectangle."""
        corner = f' rx="{number(radius)}"' if radius else ""
        self.parts.append(
            f'<rect x="{number(x)}" y="{number(y)}" width="{number(width)}" height="{number(height)}"{corner} '
            f'fill="{fill}" stroke="{stroke}"/>'
        )

    def polygon(self, points: Sequence[tuple[float, float]], *, fill: str, stroke: str) -> None:
        """Add a closed polygon."""
        corners = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        self.parts.append(f'<polygon points="{corners}" fill="{fill}" stroke="{stroke}" stroke-linejoin="round"/>')

    def polyline(
        self, points: Sequence[tuple[float, float]], *, stroke: str, width: float = 1.3, dashed: bool = False
    ) -> None:
        """Add an open line through points."""
        corners = " ".join(f"{number(x)},{number(y)}" for x, y in points)
        dashes = ' stroke-dasharray="4 4"' if dashed else ""
        self.parts.append(
            f'<polyline points="{corners}" fill="none" stroke="{stroke}" stroke-width="{number(width)}" '
            f'stroke-linejoin="round"{dashes}/>'
        )

    def path(self, commands: str, *, stroke: str, arrow: bool = False) -> None:
        """Add an open path; `arrow` puts a head at its end."""
        head = ' marker-end="url(#head)"' if arrow else ""
        self.parts.append(f'<path d="{commands}" fill="none" stroke="{stroke}" stroke-width="1.3"{head}/>')

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        size: float = 12,
        anchor: str = "start",
        fill: str = "#1d2433",
        bold: bool = False,
    ) -> None:
        """Add one line of text whose baseline is at `y`."""
        weight = ' font-weight="bold"' if bold else ""
        self.parts.append(
            f'<text x="{number(x)}" y="{number(y)}" font-size="{number(size)}" text-anchor="{anchor}" '
            f'fill="{fill}"{weight}>{escape(text)}</text>'
        )

    def finish(self) -> str:
        """Return the SVG document with everything added so far."""
        size = f'width="{number(self.width)}" height="{number(self.height)}"'
        box = f'viewBox="0 0 {number(self.width)} {number(self.height)}"'
        head = (
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#4a5568"/></marker></defs>'
        )
        body = "\n".join(self.parts)
        head = f"{head}\n" if "url(#head)" in body else ""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} {box} role="img" font-family={quoteattr(FONT)}>\n'
            f"<title>{escape(self.title)}</title>\n{head}"
            f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
        )
