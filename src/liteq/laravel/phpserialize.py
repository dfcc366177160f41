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
LIMIT = 16 * 1024 * 1024  # bytes; as Python values, hostile text takes up to 18 times its size

_INT = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_INT_KEY = re.compile(r"0|-?[1-9][0-9]{0,18}")  # "-0" and "07" stay text
_CLASS = re.compile(r"[A-Za-z0-9_\\\x80-\xff]+")  # as PHP asks of O:, in Latin-1
_ENUM = re.compile(r"[A-Za-z0-9_\\\x80-\xff]+:[A-Za-z0-9_\x80-\xff]+")
_ESCAPED = re.compile(rb"\\([0-9a-fA-F]{2})|([^\\])", re.DOTALL)
_ESCAPED_HEAD = re.compile(rb'S:([0-9]{1,10}):"')
_ODD_FLOATS = {"NAN": float("nan"), "INF": float("inf"), "-INF": float("-inf")}
# After the text, so that a look at the next character needs no check; two, so that a slice up to
# where `find` found nothing (-1) ends in one.
_END = "\0\0"
_LONGEST_SIZE = 10  # digits
_SIZES = {f":{size}": size for size in range(256)}  # quicker than to check and convert the digits
_BOOLS = frozenset({"b:0;", "b:1;"})
_SHAPES = {"s": "a string", "a": "an array", "O": "an object", "C": "an object", "E": "an enum"}


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


@dataclass(eq=False, slots=True)
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


@dataclass(frozen=True, slots=True)
class PhpEnum:
    """A case of an enum. The value of a backed case is not in the text."""

    class_name: str
    case: str


@dataclass(eq=False, slots=True)
class PhpCustom:
    """An object of a class with the old `Serializable` interface; `data` is the class's own."""

    class_name: str
    data: bytes


@dataclass(eq=False, slots=True)
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
    # One long loop: a call for each value would double the time.
    text = data.decode("latin-1") + _END
    linked = ";r:" in text or ";R:" in text  # else nobody needs to know which number is where
    places: list[tuple[dict[Key, Value], Key]] = []
    find = text.find
    sizes = _SIZES.get
    outermost: dict[Key, Value] = {}
    into, left, in_array = outermost, 1, True
    above: list[tuple[dict[Key, Value], int, bool]] = []
    pos = 0
    key: Key = 0
    value: Value
    while True:
        kind = text[pos]
        if kind == "s":
            colon = find(':"', pos)
            size = sizes(text[pos + 1 : colon])
            if size is None:
                size = _size(data, text, pos, pos + 1, colon)
            start = colon + 2
            end = start + size
            value = text[start:end]
            if text[end : end + 2] != '";':
                _fail(data, pos, f"a string of {size} bytes in quotes and a semicolon")
            if not value.isascii():
                value = _text(value)
            pos = end + 2
        elif kind == "i":
            end = find(";", pos)
            digits = text[pos + 2 : end]
            if digits.isdecimal() and len(digits) < 19 and text[pos + 1] == ":":
                value = int(digits)
            else:
                value = _int(data, text, pos, end)
            pos = end + 1
        elif kind == "N" and text[pos + 1] == ";":
            value = None
            pos += 2
        elif kind == "a" or kind == "O":  # noqa: PLR1714 -- a set is slower
            name = ""
            at = pos + 1
            if kind == "O":
                name, at = _name(data, text, pos, _CLASS)
            brace = find(":{", at)
            size = sizes(text[at:brace])
            if size is None:
                size = _size(data, text, pos, at, brace)
            pos = brace + 2
            if size > len(data) - pos:
                _fail(data, at, f"a number of elements that the rest has room for, not {size},")
            inner: dict[Key, Value] = {}
            into[key] = PhpObject(name, inner) if name else inner
            if linked:
                places.append((into, key))
            above.append((into, left - 1, in_array))
            if len(above) > depth:
                _fail(data, at, f"less than {depth + 1} levels of nesting")
            into, left, in_array = inner, size, not name
            kind = ""
        elif kind == "b" and text[pos : pos + 4] in _BOOLS:
            value = text[pos + 2] == "1"
            pos += 4
        elif kind == "d":
            end = find(";", pos)
            value = _float(data, text, pos, end)
            pos = end + 1
        elif kind == "r" or kind == "R":  # noqa: PLR1714
            end = find(";", pos)
            value = _linked(data, text, pos, end, places)
            pos = end + 1
        else:
            value, pos = _rare(data, text, pos)
        if kind:
            into[key] = value
            left -= 1
            if linked and kind != "R":
                places.append((into, key))
        while not left:
            if not above:
                return outermost[0]
            if text[pos] != "}":
                _fail(data, pos, "a closing brace")
            pos += 1
            into, left, in_array = above.pop()

        # Half of what is read are keys, so the reading of strings and integers is here once more.
        kind = text[pos]
        if kind == "s":
            colon = find(':"', pos)
            size = sizes(text[pos + 1 : colon])
            if size is None:
                size = _size(data, text, pos, pos + 1, colon)
            start = colon + 2
            end = start + size
            name = text[start:end]
            if text[end : end + 2] != '";':
                _fail(data, pos, f"a key of {size} bytes in quotes and a semicolon")
            if not name.isascii():
                key = _text(name)
            elif in_array and name[-1:].isdecimal():
                key = int_key(name)
            else:
                key = name
            pos = end + 2
        elif kind == "i":
            end = find(";", pos)
            digits = text[pos + 2 : end]
            if digits.isdecimal() and len(digits) < 19 and text[pos + 1] == ":":
                key = int(digits)
            else:
                key = _int(data, text, pos, end)
            pos = end + 1
        elif kind == "S":
            key, pos = _escaped(data, pos)
            if in_array and isinstance(key, str):
                key = int_key(key)
        else:
            _fail(data, pos, "a key, an integer or a string,")


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
                if type(key) is str and not array and key.isascii():
                    put(f's:{len(key)}:"{key}";')
                else:
                    put(_key(key, array))
            count += 1
            kind = type(item)
            if kind in _LINKED:
                letter = "r"
                identity: object = id(item)
                if kind is PhpReference:
                    letter, item = "R", item.value  # noqa: PLW2901 -- it stands for what it holds
                    kind = type(item)
                if kind in _OBJECTS:
                    identity = item if kind is PhpEnum else id(item)
                number = numbers.get(identity)
                if number:
                    put(f"{letter}:{number};")
                    count -= letter == "R"
                    continue
                numbers[identity] = count
            if kind is str:
                put(f's:{len(item)}:"{item}";' if item.isascii() else _string(item))
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
_LINKED = _OBJECTS | {PhpReference}


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


def _size(data: bytes, text: str, pos: int, start: int, end: int) -> int:
    """The number of `:NUMBER`, where it is none of the small ones."""
    digits = text[start + 1 : end]
    if end < 0 or text[start] != ":" or not digits.isdecimal() or len(digits) > _LONGEST_SIZE:
        _fail(data, start, f"{_SHAPES[text[pos]]} with its size")
    return int(digits)


def _int(data: bytes, text: str, pos: int, end: int) -> int:
    """An integer as PHP reads it: what has more than 64 bits becomes the nearest that has not."""
    digits = text[pos + 2 : end]
    if end < 0 or text[pos + 1] != ":" or not _INT.fullmatch(digits):
        _fail(data, pos, "an integer, i:DIGITS;,")
    if len(digits) > 20:  # int() takes long for thousands of digits, and refuses more
        sign = "-" if digits[0] == "-" else ""
        digits = sign + (digits.lstrip("+-0")[:20] or "0")
    return max(INT_MIN, min(INT_MAX, int(digits)))


def _float(data: bytes, text: str, pos: int, end: int) -> float:
    written = text[pos + 2 : end]
    if end > 0 and text[pos + 1] == ":":
        odd = _ODD_FLOATS.get(written)
        if odd is not None:
            return odd
        if _FLOAT.fullmatch(written):
            value = float(written)
            return value if float_text(value) == written else PhpFloat(written)
    _fail(data, pos, "a float, d:NUMBER;, with NAN, INF and -INF in capitals,")


def _linked(
    data: bytes, text: str, pos: int, end: int, places: list[tuple[dict[Key, Value], Key]]
) -> Value:
    """What `r:` or `R:` stands for."""
    digits = text[pos + 2 : end]
    fits = end > 0 and text[pos + 1] == ":" and digits.isdecimal() and len(digits) <= _LONGEST_SIZE
    number = int(digits) if fits else 0
    if not 0 < number <= len(places):
        _fail(data, pos, "the number of an earlier value")
    container, key = places[number - 1]
    value = container[key]
    if text[pos] == "R":
        if number == 1:  # the outermost value is no variable: those that share it have a cell
            return container.setdefault(1, PhpReference(value))
        if type(value) is not PhpReference:
            value = container[key] = PhpReference(value)
        return value
    if type(value) is PhpReference:
        value = value.value
    if type(value) not in _OBJECTS:
        _fail(data, pos, "the number of an object")
    return value


def _rare(data: bytes, text: str, pos: int) -> tuple[Value, int]:
    """A value of the kinds that are seldom met, and where the text goes on."""
    kind = text[pos]
    if kind == "E":
        name, at = _name(data, text, pos, _ENUM)
        if text[at] != ";":
            _fail(data, at, "a semicolon")
        return PhpEnum(*name.split(":")), at + 1
    if kind == "C":
        name, at = _name(data, text, pos, _CLASS)
        start = text.find(":{", at) + 2
        end = start + _size(data, text, pos, at, start - 2)
        if text[end : end + 1] != "}":
            _fail(data, at, f"{end - start} bytes in braces")
        return PhpCustom(name, data[start:end]), end + 1
    if kind == "S":
        return _escaped(data, pos)
    _fail(data, pos, "a value")


def _name(data: bytes, text: str, pos: int, form: "re.Pattern[str]") -> tuple[str, int]:
    """The name of `O:LENGTH:"Class"`, and where the text goes on."""
    start = text.find(':"', pos) + 2
    end = start + _size(data, text, pos, pos + 1, start - 2)
    name = text[start:end]
    if text[end : end + 1] != '"' or not form.fullmatch(name):
        _fail(data, pos, f"the name of a class, {end - start} bytes in quotes,")
    if not name.isascii():
        name = name.encode("latin-1").decode("utf-8", "surrogateescape")
    return name, end + 1


def _escaped(data: bytes, pos: int) -> tuple[str | bytes, int]:
    """The string of an `S:`, which nobody writes any more: its length counts characters."""
    head = _ESCAPED_HEAD.match(data, pos)
    if not head:
        _fail(data, pos, "a string with its size")
    raw = bytearray()
    at = head.end()
    for _ in range(int(head[1])):
        found = _ESCAPED.match(data, at)
        if not found:
            _fail(data, at, "a byte, or a backslash and two hexadecimal digits,")
        raw += found[2] or bytes.fromhex(found[1].decode())
        at = found.end()
    if data[at : at + 2] != b'";':
        _fail(data, at, "a closing quote and a semicolon")
    return _text(raw.decode("latin-1")), at + 2


def _key(key: Key, array: bool) -> str:
    if type(key) is int and INT_MIN <= key <= INT_MAX:
        return f"i:{key};"
    if isinstance(key, str):
        found = int_key(key) if array else key
        return f"i:{found};" if type(found) is int else _string(key)
    if isinstance(key, bytes):
        return _string(key)
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
    try:
        return len(name) if name.isascii() else len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError as exc:
        raise EncodingError(f"{name!r} is no name of a PHP class; it has no UTF-8") from exc


def _surrogates(data: bytes) -> str:
    """Bytes as text that `.encode("utf-8", "surrogateescape")` turns into the same bytes."""
    return data.decode("utf-8", "surrogateescape")
