"""PHP config: the value that a file like Laravel's `config/queue.php` returns. Pure; runs no PHP.

Understood is what such files are made of: arrays, strings, numbers, constants, casts, operators,
simple variables, env() and a few functions without side effects. Whatever else stands in a file
becomes `Unknown`, which remembers its text and its line, and the rest of the file is read on.
What the PHP text is cut into is phptokens' business.
"""

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from posixpath import dirname
from typing import TypeAlias

from lara_queue import dotenv, slugs
from lara_queue.phptokens import Tokens

_DEEPEST = 50  # nested arrays, calls and parentheses; config files have fewer than ten
_LONGEST = 100_000  # characters of text that was put together; doubling could fill the memory
_MOST = 10_000  # entries of a merged array, for the same reason
_SHOWN = 80  # characters of source in a message
_CLOSERS = frozenset(")]}")
_INTEGER = re.compile(r"[ \t\n\r\v\f]*([+-]?\d{1,18})(?![\d.eE])")
_INDEX = re.compile(r"0|-?[1-9]\d{0,17}")
_INTERPOLATED = re.compile(r"\$[A-Za-z_{]|\{\$")
_ESCAPE = re.compile(r"\\(u\{[0-9A-Fa-f]{1,6}\}|x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "v": "\v", "e": "\x1b", "f": "\f", "\\": "\\", "$": "$",
    '"': '"',
}  # fmt: skip
_LEVELS = (  # of operators, from the loosest; those on one level bind from the left
    "??", "||", "&&", "|", "^", "&", "== != === !== <> <=>", "< > <= >=", ".", "<< >>", "+ -",
    "* / %",
)  # fmt: skip
_STRENGTH = {op: strength for strength, ops in enumerate(_LEVELS) for op in ops.split()}
_CASTS = {
    "int": "int", "integer": "int", "string": "string", "bool": "bool", "boolean": "bool",
    "float": "float", "double": "float", "array": "array",
}  # fmt: skip
_BLOCKS = frozenset("if elseif else for foreach while do switch try catch finally {".split())
_BEYOND = frozenset("fn function static new match include include_once require".split())
_CONSTANTS: dict[str, "Value"] = {
    "true": True, "false": False, "null": None, "php_eol": "\n", "directory_separator": "/",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that only PHP could tell."""

    source: str  # the text that computes it, on one line, perhaps cut short
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Table:
    """A PHP array. Under a key that is not in `entries` lies `rest`, mostly nothing."""

    entries: dict[str | int, "Value"] = field(default_factory=dict)
    rest: Unknown | None = None  # where entries come from that cannot be known

    def get(self, key: str | int) -> "Value":
        """The value under this key; None where PHP has none."""
        return self.entries.get(key, self.rest)


Value: TypeAlias = str | int | float | bool | Table | Unknown | None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a config file may ask for."""

    env: Mapping[str, str]  # what env() sees, as text
    root: str  # of the project
    directory: str  # __DIR__


def read(text: str, file: str, scope: Scope) -> Value:
    """What the file returns.

    Raises ValueError naming the file and the line where the text is no PHP, or is nested too deep.
    """
    return _Reader(Tokens(text, file), scope).value()


def text(value: Value) -> str | None:
    """`(string) $value`; None for an array, for what is not known, and for 1.0E+25 and its like."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool):
        return "1" if value else ""
    if isinstance(value, float):
        written = f"{value:.14g}"  # PHP's setting `precision`
        return None if written.strip("-.0123456789") else written
    return str(value) if isinstance(value, int) else None


def integer(value: Value) -> int | None:
    """`(int) $value` where that is a plain number, else None (for text that is none: 0)."""
    if value is None or isinstance(value, bool | int):
        return int(value or 0)
    if isinstance(value, float):
        return int(value) if abs(value) < 2**63 else None
    if not isinstance(value, str):
        return None
    if not re.match(r"[ \t\n\r\v\f]*[+-]?\.?\d", value):
        return 0
    plain = _INTEGER.match(value)
    return int(plain[1]) if plain else None


class _Beyond(Exception):
    """Here begins something that this reader does not follow."""


class _Reader:
    """Goes through one file's tokens. Methods leave `at` behind what they have read."""

    def __init__(self, tokens: Tokens, scope: Scope) -> None:
        self.tokens = tokens
        self.scope = scope
        self.at = 0
        self.depth = 0
        self.variables: dict[str, Value] = {}
        self.imports: dict[str, str] = {}
        self.doubt: Unknown | None = None  # a statement that may return, or not

    # -- statements

    def value(self) -> Value:
        """What the file's `return` gives."""
        while self.at < len(self.tokens):
            word = self.tokens.word(self.at)
            if word == "return":
                self.at += 1
                value = self._guarded()
                return self.doubt or value
            if word == "use":
                self._import()
            elif word in ("declare", "namespace", "function"):
                self._skip_statement()
            elif self.tokens.kind(self.at) == "variable" and self._is("=", self.at + 1):
                name = self.tokens.text(self.at)
                self.at += 2
                self.variables[name] = self._guarded()
            elif self._is(";"):
                self.at += 1
            else:
                self._pass_by()
        return self.doubt or Unknown("a file that returns nothing", self.tokens.file, 1)

    def _import(self) -> None:
        """`use A\\B;`, `use A\\B as C;`; others name nothing that matters here."""
        start = self.at
        self._skip_statement()
        words = [self.tokens.text(i) for i in range(start + 1, self.at) if not self._is(";", i)]
        if len(words) == 1 or (len(words) == 3 and words[1].lower() == "as"):
            self.imports[words[-1].rpartition("\\")[2]] = words[0].lstrip("\\")

    def _pass_by(self) -> None:
        """Go past a statement that is not followed; no variable is sure after it."""
        start = self.at
        word = self.tokens.word(start)
        self._skip_statement()
        within = range(start, self.at)
        blocks = word in _BLOCKS
        if blocks and (
            any(self.tokens.word(i) == "return" for i in within)
            or self._is(":", self.tokens.partner(start + 1) + 1)
        ):
            self.doubt = self.doubt or self._unknown(start)
        self.variables.clear()

    def _skip_statement(self) -> None:
        """Past the next `;` or `{…}`."""
        while self.at < len(self.tokens):
            here = self.tokens.text(self.at)
            self.at = self.tokens.partner(self.at) + 1
            if here in (";", "{"):
                return

    # -- expressions

    def _guarded(self) -> Value:
        """The value of what stands up to the next `,`, `;`, `=>` or closing bracket."""
        start = self.at
        try:
            value = self._expression()
        except _Beyond:
            pass
        else:
            if self._ended():
                return value
        self.at = start
        arrows = True  # `=>` ends it, but is a part of `fn () => …`
        while not self._ended(arrows):
            arrows = arrows and self.tokens.word(self.at) != "fn"
            self.at = self.tokens.partner(self.at) + 1
        if self.at == start:
            raise self._error("a value is missing")
        return self._unknown(start)

    def _ended(self, arrows: bool = True) -> bool:
        if self.at >= len(self.tokens):
            return True
        if self.tokens.kind(self.at) != "sign":
            return False
        here = self.tokens.text(self.at)
        return here in _CLOSERS or here in (",", ";", "?>") or (arrows and here == "=>")

    def _expression(self) -> Value:
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error(f"values are nested deeper than {_DEEPEST}")
        try:
            return self._ternary()
        finally:
            self.depth -= 1

    def _ternary(self) -> Value:
        value = self._operation()
        while self._take("?"):
            if self._take(":"):
                kept, other = value, self._operation()
            else:
                kept = self._expression()
                if not self._take(":"):
                    raise _Beyond
                other = self._operation()
            truth = _truth(value)
            value = value if truth is None else kept if truth else other
            if truth is None and not isinstance(value, Unknown):
                raise _Beyond
        return value

    def _operation(self) -> Value:
        """Values with operators between them; no recursion, as a file may hold a long row."""
        begin = self.at
        values = [self._operand()]
        pending: list[str] = []
        while True:
            op = self.tokens.text(self.at) if self._is_sign() else ""
            strength = _STRENGTH.get(op, -1)
            while pending and _STRENGTH[pending[-1]] >= strength:
                right = values.pop()
                result = _applied(pending.pop(), values.pop(), right)
                values.append(self._unknown(begin) if result is _UNKNOWABLE else result)
            if strength < 0:
                return values[0]
            self.at += 1
            pending.append(op)
            values.append(self._operand())

    def _operand(self) -> Value:
        """A value with the casts and signs before it."""
        begin = self.at
        before: list[str] = []
        while self._is_sign() and self.tokens.text(self.at) in ("!", "-", "+", "@", "("):
            cast = _CASTS.get(self.tokens.word(self.at + 1)) if self._is("(") else None
            if cast and self._is(")", self.at + 2):
                before.append(cast)
                self.at += 3
            elif self._is("("):
                break
            else:
                before.append(self.tokens.text(self.at))
                self.at += 1
        value = self._indexed()
        for what in reversed(before):
            result = _cast(what, value)
            value = self._unknown(begin) if result is _UNKNOWABLE else result
        return value

    def _indexed(self) -> Value:
        start = self.at
        value = self._plain()
        while self._take("["):
            key = self._guarded()
            self._expect("]")
            if isinstance(value, Table) and not isinstance(key, Unknown | Table):
                value = value.get(_key(key))
            else:
                value = self._unknown(start)
        return value

    def _plain(self) -> Value:
        start, kind, here = self.at, self.tokens.kind(self.at), self.tokens.text(self.at)
        self.at += 1
        if kind == "string":
            return self._string(here)
        if kind == "number":
            return self._number(here)
        if kind == "variable":
            return self.variables[here] if here in self.variables else self._unknown(start)
        if kind == "word":
            return self._named(start, here)
        if here == "[":
            return self._array("]")
        if here == "(":
            value = self._expression()
            self._expect(")")
            return value
        raise _Beyond

    def _named(self, start: int, name: str) -> Value:
        """A constant, a call, or something of a class."""
        word = name.lower()
        if word in _BEYOND:
            raise _Beyond
        if self._take("("):
            if word == "array":
                return self._array(")")
            return self._call(start, word.lstrip("\\"))
        if self._take("::"):
            member = self.tokens.text(self.at)
            self.at += 1
            if member.lower() == "class":
                return self._class(name)
            if self._take("("):
                return self._call(start, f"{self._class(name)}::{member}".lower())
            return self._unknown(start)
        if word in _CONSTANTS:
            return _CONSTANTS[word]
        if word == "__dir__":
            return self.scope.directory
        return self._unknown(start)

    def _class(self, name: str) -> str:
        if name.startswith("\\"):
            return name[1:]
        first, separator, rest = name.partition("\\")
        return self.imports.get(first, first) + separator + rest

    def _call(self, start: int, name: str) -> Value:
        given = self._arguments()
        function, fewest, most = _FUNCTIONS.get(name, (None, 0, 0))
        if function is None or given is None or not fewest <= len(given) <= most:
            return self._unknown(start)
        result = function(self.scope, *given)
        return self._unknown(start) if result is _UNKNOWABLE else result

    def _arguments(self) -> list[Value] | None:
        """Those of a call; None when some are spread or named."""
        given: list[Value] = []
        plain = True
        while not self._take(")"):
            if self._take("...") or (self._is(":", self.at + 1) and self._is_word()):
                plain = False
            if not self._is(")"):
                given.append(self._guarded())
            if not self._take(",") and not self._is(")"):
                raise self._error("between arguments of a call a comma is missing")
        return given if plain else None

    def _array(self, end: str) -> Table:
        entries: dict[str | int, Value] = {}
        rest: Unknown | None = None
        follows = 0
        while not self._take(end):
            if self._take("..."):
                spread = self._guarded()
                if isinstance(spread, Table) and len(entries) + len(spread.entries) <= _MOST:
                    entries, follows = _spread(entries, spread, follows)
                    rest = rest or spread.rest
                else:
                    rest = spread if isinstance(spread, Unknown) else self._unknown(self.at - 1)
                    entries = dict.fromkeys(entries, rest)  # any may have been replaced
            else:
                value = self._guarded()
                key: Value = follows
                if self._take("=>"):
                    key, value = value, self._guarded()
                if isinstance(key, Unknown | Table):
                    rest = rest or self._unknown(self.at - 1)
                else:
                    entries[_key(key)] = value
                    follows = _following(follows, _key(key))
            if not self._take(",") and not self._is(end):
                raise self._error("between entries of an array a comma is missing")
        return Table(entries, rest)

    def _string(self, literal: str) -> Value:
        if literal.startswith("'"):
            return re.sub(r"\\([\\'])", r"\1", literal[1:-1])
        if not literal.startswith('"'):  # a heredoc, or `a command`
            return self._unknown(self.at - 1)
        body = literal[1:-1]
        if _INTERPOLATED.search(re.sub(r"\\.", "", body, flags=re.DOTALL)):
            return self._unknown(self.at - 1)
        try:
            return _ESCAPE.sub(_unescaped, body)
        except ValueError:  # a byte, or a code point, that is no character
            return self._unknown(self.at - 1)

    def _number(self, literal: str) -> Value:
        digits = literal.replace("_", "").lower()
        if len(digits) > 40:
            return self._unknown(self.at - 1)
        if digits.startswith("0x"):
            number: int | float = int(digits, 16)
        elif "." in digits or "e" in digits:
            number = float(digits)
        elif digits.startswith(("0b", "0o")) or not digits.startswith("0"):
            number = int(digits, 0)
        else:
            number = int(digits, 8) if digits.strip("01234567") == "" else -1
        if not 0 <= number < 2**63:
            return self._unknown(self.at - 1)
        return number

    # -- tokens

    def _is(self, sign: str, at: int | None = None) -> bool:
        at = self.at if at is None else at
        return self.tokens.kind(at) == "sign" and self.tokens.text(at) == sign

    def _is_sign(self) -> bool:
        return self.tokens.kind(self.at) == "sign"

    def _is_word(self) -> bool:
        return self.tokens.kind(self.at) == "word"

    def _take(self, sign: str) -> bool:
        if not self._is(sign):
            return False
        self.at += 1
        return True

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise _Beyond

    def _unknown(self, start: int) -> Unknown:
        """What stands from the token `start` up to here."""
        source = self.tokens.source(start, self.at - 1, 2 * _SHOWN)
        if len(source) > _SHOWN:
            source = source[: _SHOWN - 1] + "…"
        return Unknown(source, self.tokens.file, self.tokens.line(start))

    def _error(self, what: str) -> ValueError:
        at = min(self.at, len(self.tokens) - 1)
        return ValueError(f"{self.tokens.file}:{self.tokens.line(at)}: {what}")


_UNKNOWABLE = Unknown("", "", 0)  # what the functions below give for "say where this stood"


def _applied(op: str, left: Value, right: Value) -> Value:
    if op == "??":
        return right if left is None else left
    if op in ("&&", "||"):
        return _both(op, left, right)
    for side in (left, right):
        if isinstance(side, Unknown):
            return side
    if op == "+" and isinstance(left, Table) and isinstance(right, Table):
        return _union(left, right)
    if op == ".":
        one, two = text(left), text(right)
        if one is None or two is None or len(one) + len(two) > _LONGEST:
            return _UNKNOWABLE
        return one + two
    if op in ("===", "!=="):
        if isinstance(left, Table) or isinstance(right, Table):
            return _UNKNOWABLE
        return (type(left) is type(right) and left == right) is (op == "===")
    if op in ("==", "!=", "<>"):
        return _equal(left, right, op == "==")
    return _calculated(op, left, right)


def _union(left: Table, right: Table) -> Value:
    if len(left.entries) + len(right.entries) > _MOST:
        return _UNKNOWABLE
    added: dict[str | int, Value] = dict(right.entries)
    if left.rest:
        added = dict.fromkeys(added, left.rest)
    added = {key: value for key, value in added.items() if key not in left.entries}
    return Table({**left.entries, **added}, left.rest or right.rest)


def _both(op: str, left: Value, right: Value) -> Value:
    decisive = op == "||"  # the truth that settles it alone
    one = _truth(left)
    if one is None:
        return left if isinstance(left, Unknown) else _UNKNOWABLE
    if one is decisive:
        return decisive
    two = _truth(right)
    if two is None:
        return right if isinstance(right, Unknown) else _UNKNOWABLE
    return two


def _equal(left: Value, right: Value, wanted: bool) -> Value:
    """`==` of two values of one kind; PHP's rules for others, and for "1e1", are not followed."""
    if type(left) is not type(right) or isinstance(left, Table):
        return _UNKNOWABLE
    if isinstance(left, str) and isinstance(right, str):
        if left != right and left.strip()[:1] in _NUMERIC and right.strip()[:1] in _NUMERIC:
            return _UNKNOWABLE
    return (left == right) is wanted


_NUMERIC = (*"0123456789+-.",)
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}


def _calculated(op: str, left: Value, right: Value) -> Value:
    one, two = _operand_number(left), _operand_number(right)
    if one is None or two is None:
        return _UNKNOWABLE
    if op in _COMPARISONS:
        return _COMPARISONS[op](one, two)
    result: int | float
    if op == "+":
        result = one + two
    elif op == "-":
        result = one - two
    elif op == "*":
        result = one * two
    elif op == "/" and two:
        result = one / two
        result = int(result) if result.is_integer() and isinstance(one + two, int) else result
    elif op == "%" and two and isinstance(one, int) and isinstance(two, int):
        result = abs(one) % abs(two) * (1 if one >= 0 else -1)
    else:
        return _UNKNOWABLE
    return result if abs(result) < 2**53 else _UNKNOWABLE


def _operand_number(value: Value) -> int | float | None:
    """A number, or text of a whole one; nothing larger than a float can tell exactly."""
    if isinstance(value, str):
        value = int(value) if _INDEX.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) < 2**53 else None


def _truth(value: Value) -> bool | None:
    if isinstance(value, Unknown):
        return None
    if isinstance(value, Table):
        return True if value.entries else None if value.rest else False
    return bool(value) and value != "0"


def _cast(what: str, value: Value) -> Value:
    if isinstance(value, Unknown) or what == "@":
        return value
    if what in ("!", "bool"):
        truth = _truth(value)
        return _UNKNOWABLE if truth is None else truth is (what == "bool")
    if what == "array":
        return value if isinstance(value, Table) else Table({} if value is None else {0: value})
    if what in ("-", "+"):
        number = _operand_number(value)
        return _UNKNOWABLE if number is None else -number if what == "-" else number
    result = {"int": integer, "string": text, "float": _operand_number}[what](value)
    return _UNKNOWABLE if result is None else float(result) if what == "float" else result


def _key(value: Value) -> str | int:
    """The key of an array that PHP makes of this value: "7" is 7, null is ""."""
    if isinstance(value, str):
        return int(value) if _INDEX.fullmatch(value) else value
    if isinstance(value, bool | int | float):
        return int(value)
    return ""


def _following(follows: int, key: str | int) -> int:
    return max(follows, key + 1) if isinstance(key, int) else follows


def _spread(
    entries: dict[str | int, Value], more: Table, follows: int
) -> tuple[dict[str | int, Value], int]:
    """`[...$entries, ...$more]`: numbered entries are numbered on, named ones replaced.

    What `more` hides may replace any.
    """
    both: dict[str | int, Value] = dict(entries)
    if more.rest:
        both = dict.fromkeys(entries, more.rest)
    for key, value in more.entries.items():
        if isinstance(key, int):
            both[follows] = value
            follows += 1
        else:
            both[key] = value
    return both, follows


def _unescaped(match: "re.Match[str]") -> str:
    code = match[1]
    if code[0] == "u" and len(code) > 1:
        return _character(int(code[2:-1], 16))
    if code[0] == "x" and len(code) > 1:
        return _ascii(int(code[1:], 16))
    if code[0] in "01234567":
        return _ascii(int(code, 8) & 0xFF)
    return _ESCAPES.get(code, match[0])


def _character(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        raise ValueError(f"U+{code:X} is no character")
    return chr(code)


def _ascii(code: int) -> str:
    if code > 127:
        raise ValueError(f"byte {code} is a part of a character")
    return chr(code)


# -- the functions that are followed; what they cannot tell is _UNKNOWABLE, or an argument's Unknown


def _env(scope: Scope, key: Value, default: Value = None) -> Value:
    if not isinstance(key, str):
        return key if isinstance(key, Unknown) else _UNKNOWABLE
    return dotenv.meant(scope.env[key]) if key in scope.env else default


def _slug(_: Scope, title: Value, separator: Value = "-") -> Value:
    if isinstance(title, Unknown):
        return title
    words, between = text(title), text(separator)
    made = None if words is None or between is None else slugs.slug(words, between)
    return _UNKNOWABLE if made is None else made


def _explode(_: Scope, separator: Value, whole: Value) -> Value:
    if isinstance(whole, Unknown):
        return whole
    words = text(whole)
    if not isinstance(separator, str) or not separator or words is None:
        return _UNKNOWABLE
    parts = words.split(separator)
    return Table(dict(enumerate(parts))) if len(parts) <= _MOST else _UNKNOWABLE


def _array_filter(_: Scope, table: Value) -> Value:
    if not isinstance(table, Table) or any(_truth(v) is None for v in table.entries.values()):
        return table if isinstance(table, Unknown) else _UNKNOWABLE
    return Table({k: v for k, v in table.entries.items() if _truth(v)}, table.rest)


def _array_merge(_: Scope, *tables: Value) -> Value:
    entries: dict[str | int, Value] = {}
    rest: Unknown | None = None
    follows = 0
    for table in tables:
        if not isinstance(table, Table):
            return table if isinstance(table, Unknown) else _UNKNOWABLE
        if len(entries) + len(table.entries) > _MOST:
            return _UNKNOWABLE
        entries, follows = _spread(entries, table, follows)
        rest = rest or table.rest
    return Table(entries, rest)


def _trim(_: Scope, value: Value) -> Value:
    if isinstance(value, Unknown):
        return value
    words = text(value)
    return _UNKNOWABLE if words is None else words.strip(" \t\n\r\0\v")


def _dirname(_: Scope, path: Value) -> Value:
    if isinstance(path, Unknown):
        return path
    return dirname(path.rstrip("/")) if isinstance(path, str) and path[:1] == "/" else _UNKNOWABLE


def _path(below: str) -> Callable[..., Value]:
    def path(scope: Scope, more: Value = "") -> Value:
        if isinstance(more, Unknown):
            return more
        words = text(more)
        if words is None:
            return _UNKNOWABLE
        return scope.root + below + ("/" + words.lstrip("/") if words else "")

    return path


_FUNCTIONS: dict[str, tuple[Callable[..., Value], int, int]] = {  # with the fewest, most arguments
    "env": (_env, 1, 2),
    "illuminate\\support\\env::get": (_env, 1, 2),
    "env::get": (_env, 1, 2),
    "illuminate\\support\\str::slug": (_slug, 1, 2),
    "str::slug": (_slug, 1, 2),
    "str_slug": (_slug, 1, 2),
    "explode": (_explode, 2, 2),
    "array_filter": (_array_filter, 1, 1),
    "array_merge": (_array_merge, 0, 100),
    "trim": (_trim, 1, 1),
    "dirname": (_dirname, 1, 1),
    "base_path": (_path(""), 0, 1),
    "app_path": (_path("/app"), 0, 1),
    "config_path": (_path("/config"), 0, 1),
    "database_path": (_path("/database"), 0, 1),
    "public_path": (_path("/public"), 0, 1),
    "resource_path": (_path("/resources"), 0, 1),
    "storage_path": (_path("/storage"), 0, 1),
}
