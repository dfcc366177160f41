"""Dotenv: the text of a `.env` file → the variables that Laravel's env() sees. Pure.

The grammar is that of vlucas/phpdotenv 5, which Laravel has used since version 7, to its quirks.
One thing is stricter: a quote that is never closed is an error here, while PHP silently leaves
out the rest of the file.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

_LINE = re.compile(r"\r\n|\n|\r")
_NAME = re.compile(r"[\w.]+")
_TOKEN = re.compile(r"""[\r\n]+|[ \t\v\f]+|\\|'|"|\#|\$|[^ \t\v\f\r\n\\'"\#$]+""")
_BEGUN = re.compile(r"\$(?:\{[\w.]*)?")
_VARIABLE = re.compile(r"\$\{([\w.]+)\}")
_QUOTED = re.compile(r"""(['"])(.*)\1""")
_CLOSING = re.compile(r'(?=[^\\]")')
_SPACE = " \t\n\r\0\v"  # what PHP's trim() takes off
_LONGEST = 1_000_000  # variables that double each other could fill the memory
_LONGEST_NAME = 1000
_BLANK = " \t\n\r\v\f"  # what PHP's ctype_space() takes for space
_ESCAPES = {"f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_WORDS: dict[str, str | bool | None] = {
    "true": True,
    "(true)": True,
    "false": False,
    "(false)": False,
    "empty": "",
    "(empty)": "",
    "null": None,
    "(null)": None,
}


class _Piece(NamedTuple):
    """A part of a value; `${X}` may begin only where a piece begins with a live dollar sign."""

    text: str
    live: bool


class _Broken(Exception):
    """What is wrong with an entry; its line is the caller's to say."""


def load(text: str, file: str, environ: Mapping[str, str]) -> dict[str, str]:
    """All variables that the file and the process have together; the process' own win.

    Raises ValueError naming the file and the line of an entry that is none.
    """
    seen = dict(environ)
    size = 0
    for line, entry in _entries(text, file):
        try:
            name, pieces = _split(entry)
            if name in environ:
                continue
            if pieces is None:
                seen.pop(name, None)
            else:
                seen[name] = _resolved(pieces, seen, _LONGEST - size)
                size += len(seen[name])
        except _Broken as exc:
            raise ValueError(f"{file}:{line}: {exc}") from None
    return seen


def meant(raw: str) -> str | bool | None:
    """What Laravel's env() makes of a variable's text: `true`, `(null)`, `empty` … are no text."""
    if len(raw) <= 7 and raw.lower() in _WORDS:
        return _WORDS[raw.lower()]
    quoted = _QUOTED.fullmatch(raw)
    return quoted[2] if quoted else raw


def quoted(text: str) -> str:
    """The text as a value for a `.env` file: in double quotes, so that `load` gives it back."""
    escaped = re.sub(r'[\\"$]', r"\\\g<0>", text)
    for letter, character in _ESCAPES.items():
        escaped = escaped.replace(character, "\\" + letter)
    return f'"{escaped}"'


def _entries(text: str, file: str) -> list[tuple[int, str]]:
    """Number and text of each entry: a line, or several when a double quote stays open."""
    found: list[tuple[int, str]] = []
    held: list[str] = []
    first = 0
    for number, line in enumerate(_LINE.split(text), 1):
        starts = '="' in line and not _closes(line, starts=True)
        if starts and not held:
            first = number
        if starts or held:
            held.append(line)
            if not _closes(line, starts):
                continue
            line, held = "\n".join(held), []  # noqa: PLW2901 -- the entry is what was held
        else:
            first = number
        entry = line.strip(_SPACE)
        if entry and not entry.startswith("#"):
            found.append((first, line))
    if held:
        raise ValueError(f'{file}:{first}: a value is opened by " that is never closed')
    return found


def _closes(line: str, starts: bool) -> bool:
    """Whether an open double quote ends on this line, as phpdotenv guesses it."""
    if line == '"':
        return True
    count = len(_CLOSING.findall(line.replace("\\\\", "")))
    return count > 1 if starts else count >= 1


def _split(entry: str) -> tuple[str, list[_Piece] | None]:
    name, separator, value = entry.partition("=")
    if separator:
        name, value = name.strip(_SPACE), value.strip(_SPACE)
    if not name:
        raise _Broken("there is no name before the equals sign")
    if len(name) > 8 and name.startswith("export") and name[6] in _BLANK:
        name = name[6:].lstrip(_SPACE)
    if len(name) >= 3 and name[0] == name[-1] and name[0] in "'\"":
        name = name[1:-1]
    if not _NAME.fullmatch(name):
        raise _Broken("this is no variable; write NAME=value, or # before a comment")
    return name, _pieces(value) if separator else None


def _pieces(value: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    state = "start"
    for part in _TOKEN.findall(value):
        text, state = _STEPS[state](part)
        if text:
            pieces.append(_Piece(text, live=text == "$" and state in ("bare", "double")))
        if state == "escaped dollar":
            state = "double"
    if state in ("single", "double", "escape"):
        raise _Broken("the value's quote is never closed")
    return pieces


def _start(part: str) -> tuple[str, str]:
    if part in ("'", '"'):
        return "", "single" if part == "'" else "double"
    return ("", "comment") if part == "#" else (part, "bare")


def _bare(part: str) -> tuple[str, str]:
    if part == "#":
        return "", "comment"
    return ("", "after") if not part.strip(_BLANK) else (part, "bare")


def _single(part: str) -> tuple[str, str]:
    return ("", "after") if part == "'" else (part, "single")


def _double(part: str) -> tuple[str, str]:
    if part == '"':
        return "", "after"
    return ("", "escape") if part == "\\" else (part, "double")


def _escape(part: str) -> tuple[str, str]:
    if part in ('"', "\\"):
        return part, "double"
    if part == "$":
        return part, "escaped dollar"
    if part[0] not in _ESCAPES:
        raise _Broken(
            f'a backslash in double quotes stands before one of fnrtv"$\\, not {part[0]!r}'
        )
    return _ESCAPES[part[0]] + part[1:], "double"


def _after(part: str) -> tuple[str, str]:
    if part == "#":
        return "", "comment"
    if part.strip(_BLANK):
        raise _Broken("a value with spaces, or with text after its quotes, needs quotes around all")
    return "", "after"


def _comment(_: str) -> tuple[str, str]:
    return "", "comment"


_STEPS = {
    "start": _start,
    "bare": _bare,
    "single": _single,
    "double": _double,
    "escape": _escape,
    "after": _after,
    "comment": _comment,
}


def _resolved(pieces: list[_Piece], seen: Mapping[str, str], most: int) -> str:
    """The value with each `${NAME}` that is known replaced; others stay as they are written."""
    done: list[str] = []  # from the right: a name may itself be made with a variable, `${A_${B}}`
    size = 0
    for piece in reversed(pieces):
        done.append(piece.text)
        if piece.live:
            _replace(done, seen)
        size += len(done[-1])
        if size > most:
            raise _Broken(f"with this value there are more than {_LONGEST} characters")
    return "".join(reversed(done))


def _replace(done: list[str], seen: Mapping[str, str]) -> None:
    """Put a variable's value in place of the `${NAME}` that `done` ends with, if there is one."""
    text = ""
    for count, part in enumerate(reversed(done), 1):
        text += part[:_LONGEST_NAME]
        known = _VARIABLE.match(text)
        if known:
            if known[1] in seen:
                rest = "".join(reversed(done[-count:]))[known.end() :]
                done[-count:] = [rest, seen[known[1]]]
            return
        if len(text) > _LONGEST_NAME or not _BEGUN.fullmatch(text):
            return
