"""PHP's serialize format ⇄ values that keep all it says: `dumps(loads(x)) == x` for PHP's own x.

What a Python user would rather see is plain's business. Nothing that is read here is ever run:
objects are names and properties, no more. Checked against PHP 8.2; format: docs of `serialize()`.

    N; b: i: d:     None, bool, int, float (PhpFloat where another text than PHP 8's was read)
    s:              str; bytes where it is not UTF-8
    a:              dict, keys int or str (bytes where not UTF-8), in order; "7" is the key 7
    O: C: E:        PhpObject, PhpCustom, PhpEnum
    r:              the same PhpObject, PhpCustom or PhpEnum once more
    R:              one PhpReference in both places; to the outermost value: in the later place only

A value's number, which `r:` and `R:` name, counts values in order of writing from 1, outermost
first; `r:` counts as well, `R:` and keys do not.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from liteq.errors import EncodingError, UnreadablePayload

Key = int | str | bytes
Value = Any  # None | bool | int | float | str | bytes | dict[Key, Value] | Php…; mypy has no use

INT_MAX = 2**63 - 1
INT_MIN = -(2**63)
DEPTH = 512  # levels; PHP itself stops at 4096
PHP_DEPTH = 4096
LIMIT = 16 * 1024 * 1024  # bytes; hostile text can take some 30 times its size as Python values

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INT_KEY = re.compile(r"0|-?[1-9][0-9]{0,18}")  # "-0" and "07" stay text
_CLASS = re.compile(r"[A-Za-z0-9_\\\x80-\xff]+")  # as PHP asks of O:, in Latin-1
_ENUM = re.compile(r"[A-Za-z0-9_\\\x80-\xff]+:[A-Za-z0-9_\x80-\xff]+")
_ESCAPED = re.compile(rb"\\([0-9a-fA-F]{2})|([^\\])", re.DOTALL)
_ODD_FLOATS = {"NAN": float("nan"), "INF": float("inf"), "-INF": float("-inf")}
_END = "\0"  # after the text, so that a look at the next character needs no check
_LONGEST_SIZE = 10  # digits


class PhpFloat(float):
    """A float that was written otherwise than PHP 7.1+ writes it, `0.10000000000000001` say."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> "PhpFloat":  # noqa: D102, PYI034 -- Self is Python 3.11's
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __getnewargs__(self) -> tuple[str]:  # type: ignore[override]
        return (self.text,)


@dataclass(eq=False)
class PhpObject:
    """An object of any class. Two are equal only where they are one, as with PHP's `===`.

    Names of properties are as PHP writes them: public plain, protected `\\0*\\0name`, private
    `\\0Class\\0name`. What `__serialize` returns may have int keys. `of` makes them from plain
    names, `liteq.laravel.plain` gives them as plain names.
    """

    class_name: str
    properties: dict[Key, Value]

    @classmethod
    def of(
        cls,
        class_name: str,
        public: Mapping[str, Value] | None = None,
        protected: Mapping[str, Value] | None = None,
        private: Mapping[str, Value] | None = None,
    ) -> "PhpObject":
        """An object from plain names of properties, by visibility."""
        found: dict[Key, Value] = {}
        found.update((public or {}).items())
        found.update({f"\0*\0{name}": value for name, value in (protected or {}).items()})
        found.update({f"\0{class_name}\0{name}": value for name, value in (private or {}).items()})
        return cls(class_name, found)


@dataclass(frozen=True)
class PhpEnum:
    """A case of an enum. The value of a backed case is not in the text."""

    class_name: str
    case: str


@dataclass(eq=False)
class PhpCustom:
    """An object of a class with the old `Serializable` interface; `data` is the class's own."""

    class_name: str
    data: bytes


@dataclass(eq=False)
class PhpReference:
    """A variable that several places share, as by PHP's `&`: set `value`, and all see it."""

    value: Value


def loads(data: bytes, *, depth: int = DEPTH, limit: int = LIMIT) -> Value:
    """The value that serialize()d text holds. What follows after it is ignored, as PHP ≤ 8.2 does.

    At most `limit` bytes, nested at most `depth` levels. Raises UnreadablePayload saying at which
    byte what was expected.
    """
    if len(data) > limit:
        raise UnreadablePayload(
            f"{len(data)} bytes of PHP serialize text are more than the limit of {limit}"
        )
    # Latin-1 makes one character of each byte: slices of ASCII, the common case, are then done.
    text = data.decode("latin-1") + _END
    linked = ";r:" in text or ";R:" in text  # otherwise nobody needs to know who had which number
    places: list[tuple[dict[Key, Value], Key]] = []
    find = text.find
    into: dict[Key, Value] = {}
    outermost = into
    key: Key = 0
    left = 1
    in_array = True
    above: list[tuple[dict[Key, Value], int, bool]] = []
    pos = 0
    while True:
        kind = text[pos]
        value: Value
        if kind == "s":
            colon = find(":", pos + 2)
            digits = text[pos + 2 : colon]
            start = colon + 2
            if not digits.isdecimal() or len(digits) > _LONGEST_SIZE:
                _fail(data, pos, 'a string as s:LENGTH:"...";')
            end = start + int(digits)
            value = text[start:end]
            if text[end : end + 2] != '";' or text[colon:start] != ':"' or text[pos + 1] != ":":
                _fail(data, pos, f'a string as s:LENGTH:"..."; (here of {digits} bytes)')
            if not value.isascii():
                value = _text(value)
            pos = end + 2
        elif kind == "i":
            end = find(";", pos)
            digits = text[pos + 2 : end]
            if text[pos + 1] != ":" or end < 0:
                _fail(data, pos, "an integer as i:DIGITS;")
            value = int(digits) if digits.isdecimal() and len(digits) < 19 else _int(digits)
            if value is None:
                _fail(data, pos, "an integer as i:DIGITS;")
            pos = end + 1
        elif kind == "N":
            if text[pos + 1] != ";":
                _fail(data, pos, "N;")
            value = None
            pos += 2
        elif kind == "b":
            whole = text[pos : pos + 4]
            if whole == "b:1;":
                value = True
            elif whole == "b:0;":
                value = False
            else:
                _fail(data, pos, "b:0; or b:1;")
            pos += 4
        elif kind in {"a", "O"}:
            in_value = kind == "a"
            name = ""
            at = pos + 2
            if kind == "O":
                name, at = _name(data, text, pos, _CLASS, end=":")
            brace = find(":{", at)
            digits = text[at:brace]
            if (
                text[pos + 1] != ":"
                or brace < 0
                or not digits.isdecimal()
                or len(digits) > _LONGEST_SIZE
            ):
                _fail(
                    data,
                    pos,
                    'an array as a:COUNT:{...} or an object as O:LENGTH:"Class":COUNT:{...}',
                )
            count = int(digits)
            pos = brace + 2
            if count > len(data) - pos:
                _fail(data, at, f"a count of elements that the rest has room for, not {count}")
            inner: dict[Key, Value] = {}
            into[key] = inner if in_value else PhpObject(name, inner)
            if linked:
                places.append((into, key))
            above.append((into, left - 1, in_array))
            if len(above) > depth:
                _fail(data, pos, f"at most {depth} levels of nesting")
            into, left, in_array = inner, count, in_value
            kind = ""
        elif kind == "d":
            end = find(";", pos)
            value = _float(text[pos + 2 : end])
            if text[pos + 1] != ":" or end < 0 or value is None:
                _fail(data, pos, "a float as d:NUMBER; (NAN, INF and -INF in capitals)")
            pos = end + 1
        elif kind in {"r", "R"}:
            end = find(";", pos)
            digits = text[pos + 2 : end]
            number = int(digits) if digits.isdecimal() and len(digits) <= _LONGEST_SIZE else 0
            if text[pos + 1] != ":" or end < 0 or not 0 < number <= len(places):
                _fail(data, pos, "a reference to a value before this one")
            value = _linked(places, number, kind)
            if value is None:
                _fail(data, pos, "a reference to an object")
            pos = end + 1
        elif kind == "E":
            name, pos = _name(data, text, pos, _ENUM, end=";")
            value = PhpEnum(*name.split(":"))
        elif kind == "C":
            value, pos = _custom(data, text, pos)
        elif kind == "S":
            value, pos = _escaped(data, pos)
        else:
            _fail(data, pos, "a value")
        if kind:
            into[key] = value
            left -= 1
            if linked and kind != "R":
                places.append((into, key))
        while not left:
            if not above:
                return outermost[0]
            if text[pos] != "}":
                _fail(data, pos, "}")
            pos += 1
            into, left, in_array = above.pop()

        # The next key: half of all that is read, so the reading of a string is here once more.
        if text[pos] == "s":
            colon = find(":", pos + 2)
            digits = text[pos + 2 : colon]
            start = colon + 2
            if not digits.isdecimal() or len(digits) > _LONGEST_SIZE:
                _fail(data, pos, 'a key as s:LENGTH:"...";')
            end = start + int(digits)
            key = text[start:end]
            if text[end : end + 2] != '";' or text[colon:start] != ':"' or text[pos + 1] != ":":
                _fail(data, pos, f'a key as s:LENGTH:"..."; (here of {digits} bytes)')
            if not key.isascii():
                key = _text(key)
            elif in_array and key[-1:].isdecimal():
                key = int_key(key)
            pos = end + 2
        elif text[pos] == "i":
            end = find(";", pos)
            digits = text[pos + 2 : end]
            if text[pos + 1] != ":" or end < 0:
                _fail(data, pos, "a key as i:DIGITS;")
            found = int(digits) if digits.isdecimal() and len(digits) < 19 else _int(digits)
            if found is None:
                _fail(data, pos, "a key as i:DIGITS;")
            key = found
            pos = end + 1
        elif text[pos] == "S":
            key, pos = _escaped(data, pos)
            if in_array and type(key) is str:
                key = int_key(key)
        else:
            _fail(data, pos, "a key, an integer or a string")


def dumps(value: Value, *, depth: int = PHP_DEPTH) -> bytes:
    """The text that PHP's serialize() writes for this value.

    Raises EncodingError for what PHP could not read: an int beyond 64 bits, text with lone
    surrogates, more than `depth` levels, types that `loads` does not give.
    """
    out: list[str] = []
    put = out.append
    numbers: dict[object, int] = {}  # of objects and references; they are kept alive by `value`
    count = 0
    above: list[Iterator[tuple[Key, Value]]] = []
    in_array: list[bool] = []
    items: Iterator[tuple[Key, Value]] = iter([(0, value)])
    keyed = False
    array = True
    while True:
        for key, item in items:
            if keyed:
                put(_key(key, array=array))
            kind = type(item)
            if kind is PhpReference:
                cell = item
                item = item.value  # noqa: PLW2901 -- what is shared stands for the share
                kind = type(item)
                identity: object = id(item) if kind in _OBJECTS else id(cell)
                if kind is PhpEnum:
                    identity = item
                number = numbers.get(identity)
                if number:
                    put(f"R:{number};")
                    continue
                count += 1
                numbers[identity] = count
            else:
                count += 1
                if kind in _OBJECTS:
                    identity = item if kind is PhpEnum else id(item)
                    number = numbers.get(identity)
                    if number:
                        put(f"r:{number};")
                        continue
                    numbers[identity] = count
            if kind is str:
                put(_string(item))
            elif kind is int:
                if not INT_MIN <= item <= INT_MAX:
                    raise EncodingError(
                        f"{item} has more than the 64 bits of PHP's int; pass it as text"
                    )
                put(f"i:{item};")
            elif kind is dict or kind is PhpObject:
                above.append(items)
                in_array.append(array)
                if len(above) > depth:
                    raise EncodingError(f"nested deeper than the {depth} levels that PHP reads")
                array = kind is dict
                if array:
                    inner = item
                    put(f"a:{len(inner)}:{{")
                else:
                    inner = item.properties
                    name = item.class_name
                    put(f'O:{_bytes(name)}:"{name}":{len(inner)}:{{')
                items = iter(inner.items())
                keyed = True
                break
            elif item is None:
                put("N;")
            elif kind is bool:
                put("b:1;" if item else "b:0;")
            elif kind is float:
                put(f"d:{float_text(item)};")
            elif kind is bytes:
                put(_string(item))
            elif kind is PhpFloat:
                put(f"d:{item.text};")
            elif kind is PhpEnum:
                name = f"{item.class_name}:{item.case}"
                put(f'E:{_bytes(name)}:"{name}";')
            elif kind is PhpCustom:
                name = item.class_name
                put(f'C:{_bytes(name)}:"{name}":{len(item.data)}:{{{_surrogates(item.data)}}}')
            else:
                raise EncodingError(f"{kind.__name__} has no form in PHP; see liteq.laravel.plain")
        else:
            if not above:
                return "".join(out).encode("utf-8", "surrogateescape")
            items, array = above.pop(), in_array.pop()
            keyed = bool(above)
            put("}")


def float_text(value: float) -> str:
    """A float as PHP 7.1+ writes it: the shortest text that reads back as the same."""
    text = repr(value)
    if "e" not in text:
        if text[-2:] == ".0":
            return text[:-2]
        return text if text[-1] != "n" and text[-1] != "f" else text.upper()
    digits, _, exponent = text.partition("e")
    power = int(exponent)
    if power == 16:  # PHP leaves 17 digits before the point, Python 16
        sign = "-" if value < 0 else ""
        return sign + digits.lstrip("-").replace(".", "").ljust(17, "0")
    return f"{digits if '.' in digits else digits + '.0'}E{power:+d}"


def int_key(key: str) -> Key:
    """The key that PHP makes of this text: "7" is 7, while "07", "-0" and "1.5" stay text."""
    if key[-1:].isdecimal() and _INT_KEY.fullmatch(key):
        number = int(key)
        if INT_MIN <= number <= INT_MAX:
            return number
    return key


_OBJECTS = frozenset({PhpObject, PhpEnum, PhpCustom})


def _fail(data: bytes, pos: int, expected: str) -> NoReturn:
    """Say what was expected at this byte, and what is there."""
    found = f"found {data[pos : pos + 20]!r}" if pos < len(data) else "the data ends"
    raise UnreadablePayload(
        f"no PHP serialize text: at byte {pos} of {len(data)}, {found} where {expected} belongs"
    )


def _text(latin: str) -> "str | bytes":
    """A string that was cut out of the Latin-1 text: str where it is UTF-8, else its bytes."""
    raw = latin.encode("latin-1")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _int(digits: str) -> "int | None":
    """An integer as PHP reads it: what has more than 64 bits becomes the nearest that has not."""
    if not _INT.fullmatch(digits):
        return None
    if len(digits) > 20:  # int() takes long for thousands of digits, and refuses at last
        digits = digits[:1].strip("+0123456789") + (digits.lstrip("+-0") or "0")
        if len(digits) > 20:
            return INT_MIN if digits[0] == "-" else INT_MAX
    return max(INT_MIN, min(INT_MAX, int(digits)))


def _float(text: str) -> "float | None":
    odd = _ODD_FLOATS.get(text)
    if odd is not None:
        return odd
    if not _FLOAT.fullmatch(text):
        return None
    value = float(text)
    return value if float_text(value) == text else PhpFloat(text)


def _linked(places: "list[tuple[dict[Key, Value], Key]]", number: int, kind: str) -> Value:
    """What `r:` or `R:` stands for; None where `r:` names what is no object."""
    container, key = places[number - 1]
    value = container[key]
    if kind == "R":
        if number == 1:  # the outermost value is no variable: its sharers share a cell without it
            return container.setdefault(1, PhpReference(value))
        if type(value) is not PhpReference:
            value = container[key] = PhpReference(value)
        return value
    if type(value) is PhpReference:
        value = value.value
    return value if type(value) in _OBJECTS else None


def _name(
    data: bytes, text: str, pos: int, pattern: "re.Pattern[str]", end: str = ""
) -> tuple[str, int]:
    """The name in `O:LENGTH:"Class"`, and where the text goes on after it and `end`."""
    colon = text.find(":", pos + 2)
    digits = text[pos + 2 : colon]
    start = colon + 2
    if text[pos + 1] != ":" or not digits.isdecimal() or len(digits) > _LONGEST_SIZE:
        _fail(data, pos, f'a class as {text[pos]}:LENGTH:"Class"')
    stop = start + int(digits)
    name = text[start:stop]
    after = stop + 1 + len(end)
    if text[colon:start] != ':"' or text[stop:after] != '"' + end or not pattern.fullmatch(name):
        _fail(data, pos, f'a class as {text[pos]}:LENGTH:"Class"; (here of {digits} bytes)')
    if not name.isascii():
        name = name.encode("latin-1").decode("utf-8", "surrogateescape")
    return name, after


def _custom(data: bytes, text: str, pos: int) -> tuple[PhpCustom, int]:
    name, at = _name(data, text, pos, _CLASS)
    brace = text.find(":{", at)
    digits = text[at + 1 : brace]
    if text[at] != ":" or not digits.isdecimal() or len(digits) > _LONGEST_SIZE:
        _fail(data, at, ":LENGTH:{...}")
    start = brace + 2
    end = start + int(digits)
    if text[end : end + 1] != "}":
        _fail(data, at, f":LENGTH:{{...}} (here of {digits} bytes)")
    return PhpCustom(name, data[start:end]), end + 1


def _escaped(data: bytes, pos: int) -> "tuple[str | bytes, int]":
    """The string of an `S:`, which nobody writes any more: its length counts characters."""
    head = re.compile(rb'S:([0-9]{1,10}):"').match(data, pos)
    if not head:
        _fail(data, pos, 'S:LENGTH:"..."')
    raw = bytearray()
    at = head.end()
    for _ in range(int(head[1])):
        found = _ESCAPED.match(data, at)
        if not found:
            _fail(data, at, "a byte, or \\ and two hexadecimal digits")
        raw += bytes.fromhex(found[1].decode()) if found[1] else found[2]
        at = found.end()
    if data[at : at + 2] != b'";':
        _fail(data, at, '";')
    return _text(raw.decode("latin-1")), at + 2


def _key(key: Key, *, array: bool) -> str:
    if array and type(key) is str:
        key = int_key(key)
    if isinstance(key, str | bytes):
        return _string(key)
    if type(key) is int and INT_MIN <= key <= INT_MAX:
        return f"i:{key};"
    raise EncodingError(f"{key!r} is no key of a PHP array; give text or an int of 64 bits")


def _string(value: str | bytes) -> str:
    if isinstance(value, str):
        if value.isascii():
            return f's:{len(value)}:"{value}";'
        try:
            return f's:{len(value.encode())}:"{value}";'
        except UnicodeEncodeError as exc:
            raise EncodingError(
                f"text with half a surrogate pair ({exc}) has no UTF-8; pass it as bytes"
            ) from exc
    return f's:{len(value)}:"{_surrogates(value)}";'


def _bytes(name: str) -> int:
    """How many bytes a class's name takes; it may hold bytes that are no UTF-8."""
    return len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))


def _surrogates(data: bytes) -> str:
    """Bytes as text that `.encode("utf-8", "surrogateescape")` turns into the same bytes."""
    return data.decode("utf-8", "surrogateescape")
