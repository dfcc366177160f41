"""Terminal: how answers look. Aligned tables and colours for a person, plain text for a pipe.

Knows text and nothing of jobs. In a pipe a table is one line a row, its cells apart by tabs and
without headings, so that `cut` and `xargs` can go on with it.
"""

import os
import sys
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TextIO

_STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_MARKS = {"ok": ("✓", "ok", "green"), "warn": ("!", "!", "yellow"), "fault": ("✗", "x", "red")}
_GAP = "  "
_NARROWEST = 10  # columns that the last cell of a row keeps, however narrow the terminal


class Cell(NamedTuple):
    """A piece of a table: `text` for a person, `plain` for a pipe (None: the same)."""

    text: str
    plain: str | None = None
    style: str = ""


class Column(NamedTuple):
    """The heading of a column, and whether it holds numbers (they align at their right)."""

    heading: str
    number: bool = False


class Screen:
    """Where the answers go. `person` says whether somebody looks, or a program reads."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.person = stream.isatty()
        self._colours = (
            self.person and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )
        self.width = _width_of(stream) if self.person else 0

    def line(self, text: str = "", style: str = "") -> None:
        """Print a line."""
        self._stream.write(self.paint(text, style) + "\n")

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> None:
        """Print the rows; the last column takes what room is left, and is cut where it ends."""
        if not self.person:
            for row in rows:
                self.line("\t".join(_plain(cell) for cell in row))
            return
        texts = [[clean(cell.text) for cell in row] for row in rows]
        widths = [
            max([len(column.heading), *(columns_of(line[i]) for line in texts)])
            for i, column in enumerate(columns)
        ]
        room = self.width - sum(widths[:-1]) - len(_GAP) * (len(widths) - 1)
        widths[-1] = min(widths[-1], max(room, _NARROWEST))
        headings = [Cell(column.heading, style="dim") for column in columns]
        self._row(columns, headings, [cell.text for cell in headings], widths)
        for row, line in zip(rows, texts, strict=True):
            self._row(columns, row, line, widths)

    def paint(self, text: str, style: str) -> str:
        """The text in this style, if colours are wanted here."""
        if not self._colours or not style or not text:
            return text
        codes = ";".join(_STYLES[name] for name in style.split())
        return f"\x1b[{codes}m{text}\x1b[0m"

    def mark(self, level: str) -> str:
        """A sign for ok, warn or fault."""
        sign, simple, style = _MARKS[level]
        if not self.person:
            return level
        try:
            sign.encode(self._stream.encoding or "ascii")
        except (UnicodeEncodeError, LookupError):
            sign = simple
        return self.paint(sign, style)

    def _row(
        self,
        columns: Sequence[Column],
        cells: Sequence[Cell],
        texts: Sequence[str],
        widths: Sequence[int],
    ) -> None:
        parts = []
        for column, cell, text, width in zip(columns, cells, texts, widths, strict=True):
            shown = cut(text, width)
            padding = " " * (width - columns_of(shown))
            painted = self.paint(shown, cell.style)
            parts.append(padding + painted if column.number else painted + padding)
        self.line(_GAP.join(parts).rstrip())


def clean(text: str) -> str:
    """The text on one line, with control characters (which could drive a terminal) made visible."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _visible(c) for c in text)


def columns_of(text: str) -> int:
    """How many columns the text takes in a terminal."""
    if text.isascii():
        return len(text)
    return sum(_columns_of_character(character) for character in text)


def cut(text: str, width: int) -> str:
    """The text, at most `width` columns of it; `…` says that there was more."""
    if columns_of(text) <= width:
        return text
    taken, columns = "", 0
    for character in text:
        columns += _columns_of_character(character)
        if columns > width - 1:
            break
        taken += character
    return taken + "…"


def duration(seconds: float) -> str:
    """A length of time in the one or two units that matter: 0.25 s, 42 s, 3 min, 2 h 5 min, 4 d."""
    if seconds < 0.0005:
        return "<1 ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 119.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(seconds / 86400)} d"


def ago(then: float, now: float) -> str:
    """When that was, or will be, as a person says it."""
    seconds = now - then
    if abs(seconds) < 1:
        return "now"
    length = f"{abs(seconds):.0f} s" if abs(seconds) < 10 else duration(abs(seconds))
    return f"{length} ago" if seconds > 0 else f"in {length}"


def local(then: float) -> str:
    """The moment in local time, to the second."""
    return datetime.fromtimestamp(then).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def counted(count: int, noun: str) -> str:
    """`1 job`, `1,234 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def make_safe() -> None:
    """Let no output fail for a character that the stream's encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _plain(cell: Cell) -> str:
    return clean(cell.text if cell.plain is None else cell.plain)


def _visible(character: str) -> str:
    if character in "\r\n\t\v\f\x85\u2028\u2029":
        return " "
    return character.encode("unicode_escape").decode("ascii")


def _columns_of_character(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _width_of(stream: TextIO) -> int:
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
