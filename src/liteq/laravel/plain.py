"""What a Python user sees of PHP's values, and what Python's values become for PHP.

`plain` and `properties` read, `php` and `job` write. How PHP's text looks is phpserialize's
business.
"""

import dataclasses
import os
import re
from collections import deque
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from itertools import count
from operator import eq
from typing import Any, NamedTuple, NoReturn, Optional
from uuid import UUID
from zoneinfo import ZoneInfo

from liteq.errors import EncodingError
from liteq.laravel.phpserialize import (
    DEPTH,
    INT_MAX,
    INT_MIN,
    Key,
    PhpCustom,
    PhpEnum,
    PhpFloat,
    PhpObject,
    PhpReference,
    Value,
    int_key,
)

# What Laravel's traits (Queueable, Batchable, InteractsWithQueue) keep in a job, as of Laravel 13.
LARAVEL_PROPERTIES = frozenset(
    "job connection queue delay afterCommit middleware chained chainConnection chainQueue "
    "chainCatchCallbacks messageGroup deduplicator debounceOwner uniqueLockOwner batchId "
    "fakeBatch".split()
)
CARBON = "Illuminate\\Support\\Carbon"  # of Laravel's now(): a Carbon\Carbon and a DateTime as well
MODEL = "Illuminate\\Contracts\\Database\\ModelIdentifier"

_DEEPEST = DEPTH - 1  # as deep as can be read, and the job object is a level too
_ATOMS = frozenset({type(None), bool, int, float, str, bytes})
_ITEMS = "\0*\0items"
_COLLECTION = frozenset({_ITEMS, "\0*\0escapeWhenCastingToString"})
_INTERVAL = frozenset("y m d h i s f invert days".split())
_STORAGE = frozenset({"ArrayObject", "ArrayIterator"})
_UUIDS = (
    "Ramsey\\Uuid\\Uuid",
    "Ramsey\\Uuid\\Lazy\\",
    "Ramsey\\Uuid\\Rfc4122\\Uuid",
    "Symfony\\Component\\Uid\\Uuid",
)
_OFFSET = re.compile(r"([+-])(\d\d):(\d\d)(?::(\d\d))?", re.ASCII)
_SURE = frozenset({bool, float, type(None)})
_CLASS = re.compile(r"[^\W\d]\w*(?:\\[^\W\d]\w*)*")
# Hours east of UTC, of the abbreviations that people meet and PHP and they agree on.
_ABBREVIATIONS = {
    "UTC": 0, "Z": 0, "GMT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2,
    "EEST": 3, "MSK": 3, "SAST": 2, "JST": 9, "AEST": 10, "AEDT": 11, "NZST": 12, "NZDT": 13,
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
    "AKST": -9, "AKDT": -8, "HST": -10,
}  # fmt: skip


class _Place(NamedTuple):
    """Where a value stands, for messages: of `data['a'][3]` the last step, and what is above."""

    above: Optional["_Place"]
    step: str
    depth: int


def plain(value: Value) -> Any:
    """The value in Python's own types, as a user expects it; what only PHP can use is left out.

    A PHP array with the keys 0, 1, 2 … is a list, any other a dict with str keys; an object is a
    dict by the plain names of its properties, see `names`. Dates are aware datetimes and intervals
    timedeltas (dicts, where Python knows no such moment, zone or length), collections are what is
    in them, UUID objects are UUIDs, enums the names of their cases, `Serializable` objects
    `{"class": ..., "data": ...}`. Strings that are not UTF-8 are bytes; in a key each bad byte is
    written `\\xff`. What is shared in PHP is shared here, and what holds itself does so here.
    """
    made: dict[int, Any] = {}  # by the id of what it was made from
    todo: list[tuple[Mapping[Any, Value], Any]] = []  # to be filled: no depth is too deep then

    def turned(item: Value) -> Any:
        kind = type(item)
        if kind in _ATOMS:
            return item
        if kind is PhpReference:
            return turned(item.value)
        if kind is not dict and kind is not PhpObject:
            return _single(item)
        known = made.get(id(item))
        if known is None:
            known = made[id(item)] = _object(item) if kind is PhpObject else _array(item)
        return known

    def _array(item: dict[Key, Value]) -> Any:
        target: Any = [] if all(map(eq, item, count())) else {}
        todo.append((item, target))
        return target

    def _object(item: PhpObject) -> Any:
        found = _special(item)
        if found is not None:
            return found
        inside = _inside(item)
        if inside is not None:
            return turned(inside)
        target: dict[str, Any] = {}
        todo.append((names(item), target))
        return target

    result = turned(value)
    while todo:
        source, target = todo.pop()
        if type(target) is list:
            target.extend([v if type(v) in _ATOMS else turned(v) for v in source.values()])
        else:
            for key, v in source.items():
                target[_key_text(key)] = v if type(v) in _ATOMS else turned(v)
    return result


def properties(job: PhpObject) -> dict[str, Any]:
    """What a job's class was given by its user, in Python's own types, by plain names.

    Without what Laravel's traits keep in each job, `LARAVEL_PROPERTIES`.
    """
    own = {name: v for name, v in names(job).items() if name not in LARAVEL_PROPERTIES}
    return plain(own) if own else {}


def names(found: PhpObject) -> dict[str, Value]:
    """The properties of an object by their plain names, in order, values as they are.

    A private property of a parent class has its plain name as well, unless another property has
    it already: then it is `App\\Parent::name`.
    """
    taken: dict[str, Value] = {}
    hidden: list[tuple[str, str, Value]] = []
    for key, value in found.properties.items():
        name = _key_text(key)
        if name[:1] == "\0":
            _, owner, *rest = name.split("\0", 2)
            if not rest:
                pass  # no name that PHP writes: it stays as it is
            elif owner == "*" or owner.lower() == found.class_name.lower():
                name = rest[0]
            else:
                hidden.append((owner, rest[0], value))
                continue
        taken[name] = value
    for owner, name, value in hidden:
        taken[f"{owner}::{name}" if name in taken else name] = value
    return taken


def php(value: object, name: str = "data") -> Value:
    """A Python value as PHP's, ready for `dumps`.

    None, bool, int, float, str and bytes stay. Lists, tuples, sets and deques are arrays; so are
    mappings, dataclasses and pydantic models, with keys as PHP makes them ("7" is 7). A datetime
    is a Carbon object (a naive one is local time), a date that of midnight UTC, a time its ISO
    text, a timedelta its seconds. Decimal, UUID and paths are text, enums their value. PhpObject,
    PhpEnum and their like stay, converted inside; use `carbon` and `PhpObject.of` for other
    classes than the usual.

    Raises EncodingError for what PHP cannot hold, naming the place, `data['rows'][3]`.
    """
    return _converted(value, name, {})


def job(class_name: str, data: Mapping[str, object]) -> PhpObject:
    """A job of a Laravel class, with a property for each item; the rest takes its defaults.

    Whether a property is public, protected or private is known to PHP alone, and a class with the
    trait SerializesModels wants it to be said. So each is written in all three ways: PHP takes
    what it has declared and leaves the others. Names that are mangled already are written just so;
    a PhpObject says it all itself.
    """
    class_name = class_name.removeprefix("\\")
    if not _CLASS.fullmatch(class_name):
        raise EncodingError(_NO_CLASS.format(class_name))
    values, has_objects = _properties(data)
    if has_objects:
        # Each way has objects of its own: an `r:` to one in the same property is refused.
        values = [*values, *_properties(data)[0], *_properties(data)[0]]
    else:
        values *= 3
    return PhpObject(class_name, dict(zip(_three_ways(class_name, *data), values, strict=True)))


def _properties(data: Mapping[str, object]) -> tuple[list[Value], bool]:
    """The values, converted, and whether there are objects among them or within."""
    values: list[Value] = []
    made: dict[int, tuple[Value, Value]] = {}
    for name, value in data.items():
        if not isinstance(name, str) or not name:
            raise EncodingError(f"data[{name!r}]: the name of a property is text")
        if type(value) in _SURE or (type(value) is str and value.isascii()):
            values.append(value)  # as it would come back from there, four times as fast
        else:
            values.append(_converted(value, f"data[{name!r}]", made))
    return values, bool(made)


@lru_cache(256)
def _three_ways(class_name: str, *names: str) -> list[Key]:
    """The names as public, protected and private ones; such as are mangled already stay."""
    ways = ("", "\0*\0", f"\0{class_name}\0")
    return [name if name[0] == "\0" else way + name for way in ways for name in names]


def carbon(when: datetime, class_name: str = CARBON) -> PhpObject:
    """A PHP object of this moment, to the microsecond; a naive datetime is local time.

    By the name of the zone where it has one, else by its offset. `class_name` is any class of
    Carbon's or PHP's own: `Carbon\\CarbonImmutable`, `DateTimeImmutable`.
    """
    try:
        kind, zone, when = _zoned(when if when.tzinfo else when.astimezone())
    except OverflowError as exc:
        raise EncodingError(f"{when!r} is not within the years 1 to 9999 in UTC") from exc
    text = when.replace(tzinfo=None).isoformat(" ", "microseconds")
    return PhpObject(class_name, {"date": text, "timezone_type": kind, "timezone": zone})


def model(class_name: str, id: object, connection: str | None = None) -> PhpObject:
    """What stands for an Eloquent model in a job: the worker loads it by its id (or ids)."""
    return PhpObject(
        MODEL,
        {
            "class": class_name.removeprefix("\\"),
            "id": php(id, "id"),
            "relations": {},
            "connection": connection,
            "collectionClass": None,
        },
    )


def _single(item: Value) -> Any:
    """What holds nothing else."""
    if type(item) is PhpFloat:
        return float(item)
    if type(item) is PhpEnum:
        return item.case
    if type(item) is PhpCustom:
        return _custom(item)
    raise EncodingError(f"{type(item).__name__} is nothing that PHP's text can hold")


def _custom(item: PhpCustom) -> Any:
    if item.class_name.startswith(_UUIDS):
        found = _uuid(item.data)
        if found is not None:
            return found
    try:
        return {"class": item.class_name, "data": item.data.decode()}
    except UnicodeDecodeError:
        return {"class": item.class_name, "data": item.data}


def _special(item: PhpObject) -> Any:
    """A moment, a length of time, a UUID or text, where an object is just that; else None."""
    said = item.properties
    if "timezone_type" in said and "date" in said:
        return _moment(said)
    if "invert" in said and said.keys() >= _INTERVAL:
        return _length(said)
    if item.class_name.startswith(_UUIDS) and len(said) == 1:
        return _uuid(*said.values())
    if item.class_name == "Illuminate\\Support\\Stringable" and len(said) == 1:
        return said.get("\0*\0value")
    return None


def _inside(item: PhpObject) -> "dict[Key, Value] | None":
    """The array of a collection or an ArrayObject, None for other objects."""
    found = None
    if _ITEMS in item.properties and item.properties.keys() <= _COLLECTION:
        found = item.properties[_ITEMS]
    elif item.class_name in _STORAGE:
        found = item.properties.get(1)
    if type(found) is PhpReference:
        found = found.value
    return found if type(found) is dict else None


def _moment(said: Mapping[Key, Value]) -> datetime | None:
    text, zone = said["date"], _zone(said["timezone_type"], said.get("timezone"))
    if zone is None or type(text) is not str:
        return None
    try:
        # Of an hour that comes twice the first: PHP's text does not tell, and PHP itself takes the
        # one or the other, by zone.
        return datetime.fromisoformat(text).replace(tzinfo=zone)
    except ValueError:  # before the year 1, or after 9999
        return None


def _zone(kind: Value, name: Value) -> tzinfo | None:
    if type(name) is not str:
        return None
    if kind == 1:
        return _offset(name)
    hours = _ABBREVIATIONS.get(name.upper())
    if hours == 0 or (kind == 2 and hours is not None):
        return timezone(timedelta(hours=hours), name) if hours else timezone.utc
    if kind != 3:
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):  # unknown, no name, the name of a folder
        return None


def _offset(text: str) -> tzinfo | None:
    found = _OFFSET.fullmatch(text)
    if not found:
        return None
    hours, minutes, seconds = int(found[2]), int(found[3]), int(found[4] or 0)
    size = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if size >= timedelta(days=1):
        return None
    return timezone(-size if found[1] == "-" else size)


def _length(said: Mapping[Key, Value]) -> timedelta | None:
    """An interval whose length is known: without months and years, or between two dates."""
    y, m, d, h, i, s, f, days = (said[name] for name in "y m d h i s f days".split())
    if not all(type(part) in {int, float} for part in (y, m, d, h, i, s, f)):
        return None
    if type(days) is int:
        y, m, d = 0, 0, days
    if y or m:
        return None
    try:
        found = timedelta(days=d, hours=h, minutes=i, seconds=s + f)
    except (OverflowError, ValueError):
        return None
    return -found if said["invert"] else found


def _uuid(said: Value) -> UUID | None:
    """A UUID from its text or its 16 bytes, as the versions of the libraries write it."""
    raw = said.encode() if type(said) is str else said
    if type(raw) is not bytes:
        return None
    try:
        return UUID(bytes=raw) if len(raw) == 16 else UUID(raw.decode())
    except ValueError:
        return None


def _key_text(key: Key) -> str:
    return key.decode("utf-8", "backslashreplace") if isinstance(key, bytes) else str(key)


_BASES: tuple[type[Any], ...] = (int, float, bytes, list, tuple, set, frozenset, deque)
_NO_CLASS = "{!r} is no name of a PHP class, as 'App\\\\Jobs\\\\SendReport' is"
_AS_THEY_ARE = frozenset({type(None), bool, float, bytes, PhpFloat, PhpEnum, PhpCustom})
_GROUPS = frozenset({dict, list, tuple, set, frozenset, deque, PhpObject, PhpReference})
_PHP = _AS_THEY_ARE | _GROUPS | {str, int}


def _converted(value: object, step: str, made: dict[int, tuple[Value, Value]]) -> Value:
    """`php`, with what has been converted before by its id, kept alive beside what it became."""
    todo: list[tuple[Any, Any, _Place]] = []

    def turned(item: Any, above: _Place | None, step: str) -> Value:
        kind = type(item)
        while kind not in _PHP:
            item = _simpler(item, above, step)
            kind = type(item)
        if kind is str:
            return item if item.isascii() else _utf8(item, above, step)
        if kind is int:
            if not INT_MIN <= item <= INT_MAX:
                _refuse(above, step, f"{item} has more than the 64 bits of PHP's int; give text")
            return item
        if kind in _AS_THEY_ARE:
            return item
        place = _Place(above, step, above.depth + 1 if above else 1)
        if place.depth > _DEEPEST:
            _refuse(above, step, f"it is nested more than {_DEEPEST} levels deep, or holds itself")
        if kind is PhpObject or kind is PhpReference:
            if kind is PhpObject and not _CLASS.fullmatch(item.class_name):
                _refuse(above, step, _NO_CLASS.format(item.class_name))
            if id(item) not in made:
                new = PhpObject(item.class_name, {}) if kind is PhpObject else PhpReference(None)
                made[id(item)] = (item, new)
                todo.append((item, new, place))
            return made[id(item)][1]
        array: dict[Key, Value] = {}
        todo.append((item, array, place))
        return array

    result = turned(value, None, step)
    while todo:
        source, target, place = todo.pop()
        kind = type(source)
        if kind is dict:
            for key, v in source.items():
                target[_array_key(key, place)] = turned(v, place, f"[{key!r}]")
            if len(target) < len(source):
                _refuse(place.above, place.step, "two of its keys are one in PHP, as '7' and 7 are")
        elif kind is PhpObject:
            for key, v in source.properties.items():
                target.properties[key] = turned(v, place, f".{_short(key)}")
        elif kind is PhpReference:
            target.value = turned(source.value, place, ".value")
        else:
            for number, v in enumerate(source):
                target[number] = turned(v, place, f"[{number}]")
    return result


def _simpler(item: Any, above: _Place | None, step: str) -> Any:
    """The same in a type that is nearer to PHP's."""
    if isinstance(item, Enum):
        return item.value
    if isinstance(item, datetime):
        return carbon(item)
    if isinstance(item, date):
        return carbon(datetime(item.year, item.month, item.day, tzinfo=timezone.utc))
    if isinstance(item, time):
        return item.isoformat()
    if isinstance(item, timedelta):
        whole = item // timedelta(seconds=1)
        return item.total_seconds() if item.microseconds else whole
    if isinstance(item, Decimal):  # plain digits: bcmath knows no exponents
        near = item.is_finite() and abs(item.adjusted()) <= 100
        return f"{item:f}" if near else str(item)
    if isinstance(item, UUID):
        return str(item)
    if isinstance(item, os.PathLike):
        return os.fspath(item)
    if isinstance(item, (bytearray, memoryview)):
        return bytes(item)
    if isinstance(item, str):
        return str.__str__(item)
    for kind in _BASES:
        if isinstance(item, kind):
            return kind(item)
    if isinstance(item, Mapping):
        return dict(item)
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
    if not isinstance(item, type) and hasattr(item, "model_dump"):
        return item.model_dump()
    _refuse(above, step, f"PHP has nothing like {type(item).__name__}; give plain data, "
            "or a PhpObject of the class that PHP knows")  # fmt: skip


def _zoned(when: datetime) -> tuple[int, str, datetime]:
    """PHP's type and name of a moment's zone, and the moment in it."""
    name = "UTC" if when.tzinfo is timezone.utc else getattr(when.tzinfo, "key", None)
    offset = _east(when)
    # Which of an hour that comes twice is meant, or of one that does not come, PHPs disagree on.
    if name and _east(when.replace(fold=1)) == _east(when.replace(fold=0)):
        return 3, name, when
    if offset % timedelta(minutes=1):  # as before 1900: PHP 8.1 and older know no such offsets
        return 3, "UTC", when.astimezone(timezone.utc)
    hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
    return 1, f"{'-' if offset < timedelta(0) else '+'}{hours:02}:{minutes:02}", when


def _east(when: datetime) -> timedelta:
    """How far its zone is ahead of UTC."""
    offset = when.utcoffset()
    if offset is None:
        raise EncodingError(f"{when!r} has a zone that tells no offset; give an aware datetime")
    return offset


def _array_key(key: Any, place: _Place) -> Key:
    if isinstance(key, Enum):
        key = key.value
    if type(key) is int and INT_MIN <= key <= INT_MAX:
        return key
    if isinstance(key, str):
        return int_key(_utf8(str.__str__(key), place, f"[{key!r}]"))
    if type(key) is bytes:
        return key
    _refuse(place, f"[{key!r}]", "a key of a PHP array is text or an int of 64 bits; give text")


def _utf8(text: str, above: _Place | None, step: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        _refuse(above, step, "text with half a surrogate pair has no UTF-8; give bytes")
    return text


def _short(name: Key) -> str:
    """A property's name without its class, for messages."""
    return _key_text(name).rpartition("\0")[2]


def _refuse(above: _Place | None, step: str, why: str) -> NoReturn:
    steps = [step]
    while above:
        steps.append(above.step)
        above = above.above
    path = "".join(reversed(steps))
    if len(path) > 120:
        path = f"{path[:60]}…{path[-59:]}"
    raise EncodingError(f"{path}: {why}")
