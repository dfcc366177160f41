"""Shapes: what an annotation says about a value: how it becomes plain JSON and is rebuilt from it.

Read from type hints, at the first call of a task. What each call does with them is codec's
business. `None` is never given to a shape: it travels as `null`, whatever the annotation.

    what                                             as JSON
    str, int, float, bool, None, list, dict, Any     itself
    datetime, date, time                             ISO-8601 text, with its offset if it is aware
    timedelta                                        seconds
    UUID, Decimal, Path                              text
    bytes, bytearray                                 base64 text
    Enum                                             its value, or its name if that is no atom
    tuple, set, frozenset, deque                     list
    dataclass, NamedTuple, TypedDict, pydantic model object
    dict with keys that are not text                 object; its keys are text, or JSON in text
"""

import collections
import collections.abc
import dataclasses
import enum
import functools
import inspect
import json
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar, Union

from liteq.errors import Cancel, TaskTimeout

ATOMS = frozenset({str, int, float, bool, type(None)})
MAX_DEPTH = 100  # readers of JSON bear more (Python and SQLite about 1000), people do not


class Unfit(ValueError):
    """A value that does not fit its shape. The message is said of it: "is a set, which ..."."""

    def __init__(self, value: object, why: str, remedy: str) -> None:
        super().__init__(f"{a_kind(value)}{why}; {remedy}")
        self.value = value


class Shape(Protocol):
    """How the values of one annotation travel."""

    @property
    def name(self) -> str:
        """The type's name, for people."""

    @property
    def is_text(self) -> bool:
        """Whether a value always becomes a JSON string, so that it can be a key as it is."""

    def fits(self, value: Any) -> bool:
        """Whether, at first sight, this is a value of the annotated type."""

    def dump(self, value: Any) -> Any:
        """The value as plain JSON data. Raises Unfit."""

    def load(self, plain: Any) -> Any:
        """The value again. Raises whatever the type's own constructor raises."""


def shape_of(hint: Any) -> Shape:
    """The shape that an annotation asks for; `ANYTHING` where it asks for nothing that we know."""
    try:
        return _shape(hint)
    except RecursionError:  # a type alias that names itself
        return ANYTHING


def hints_of(annotated: Any) -> dict[str, Any]:
    """The type hints of a function or class, less those that cannot be resolved."""
    try:
        return typing.get_type_hints(annotated)
    except Exception:  # an annotation may be any expression, so resolving it may raise anything
        return _hints_one_by_one(annotated)


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """The signature, its annotations resolved or not; anything goes where C code does not tell."""
    try:
        if sys.version_info >= (3, 14):  # pragma: no cover
            from annotationlib import Format  # names may be known to type checkers only

            return inspect.signature(function, annotation_format=Format.STRING)
        return inspect.signature(function)
    except ValueError:
        anything = inspect.Parameter("args", inspect.Parameter.VAR_POSITIONAL)
        named = inspect.Parameter("kwargs", inspect.Parameter.VAR_KEYWORD)
        return inspect.Signature([anything, named])


def told(signature: inspect.Signature) -> str:
    """The parameters as a person would write them."""
    signature = signature.replace(return_annotation=signature.empty)
    if sys.version_info >= (3, 14):  # pragma: no cover
        return signature.format(quote_annotation_strings=False)
    return str(signature)


def check(value: Any, depth: int = 0) -> None:
    """Refuse what JSON cannot carry, or would change on the way. Raises Unfit."""
    if type(value) in ATOMS:
        return
    if depth > MAX_DEPTH:
        raise _too_deep(value)
    if isinstance(value, dict):
        _check_keys(value)
        members: Iterable[Any] = value.values()
    elif _is_sequence(value):
        members = value
    elif isinstance(value, (str, int, float)):
        return
    else:
        raise _stranger(value)
    if not ATOMS.issuperset(map(type, members)):
        for member in members:
            check(member, depth + 1)


def a_kind(value: object) -> str:
    """The value's type with its article, for messages: "a datetime"."""
    name = type(value).__name__
    return f"an {name}" if name[0] in "aeiouAEIO" else f"a {name}"


class Plain(NamedTuple):
    """What JSON carries as it is. The annotation is not enforced, only that JSON can carry it."""

    kinds: tuple[type, ...]
    name: str = "plain data"
    is_text: bool = False

    def fits(self, value: Any) -> bool:
        """Whether the value is of one of the kinds."""
        return isinstance(value, self.kinds)

    def dump(self, value: Any) -> Any:
        """The value itself."""
        check(value)
        return value

    def load(self, plain: Any) -> Any:
        """The value itself."""
        return plain


ANYTHING = Plain((object,))


class _Leaf(NamedTuple):
    """A type that becomes text or a number."""

    kind: type
    write: Callable[[Any], Any]
    read: Callable[[Any], Any]
    is_text: bool = True
    but: tuple[type, ...] = ()  # subclasses that are something else

    @property
    def name(self) -> str:
        return self.kind.__name__

    def fits(self, value: Any) -> bool:
        return isinstance(value, self.kind) and not isinstance(value, self.but)

    def dump(self, value: Any) -> Any:
        if not self.fits(value):
            raise _mismatch(value, self.name)
        return self.write(value)

    def load(self, plain: Any) -> Any:
        return self.read(plain)


class _Items(NamedTuple):
    """A collection of items that are all alike."""

    kind: type
    family: tuple[type, ...]  # taken as well: a tuple for a list, as in everyday Python
    item: Shape
    build: Callable[[Any], Any]
    is_text: bool = False

    @property
    def name(self) -> str:
        return self.kind.__name__

    def fits(self, value: Any) -> bool:
        return isinstance(value, self.kind)

    def dump(self, value: Any) -> Any:
        is_kin = isinstance(value, self.family) and not hasattr(value, "_fields")
        if not is_kin:
            raise _mismatch(value, self.name)
        return [_dump(self.item, each) for each in value]

    def load(self, plain: Any) -> Any:
        return self.build([_load(self.item, each) for each in _must_be(list, plain)])


class _Fixed(NamedTuple):
    """A tuple of known length."""

    items: tuple[Shape, ...]
    name: str = "tuple"
    is_text: bool = False

    def fits(self, value: Any) -> bool:
        return isinstance(value, tuple) and len(value) == len(self.items)

    def dump(self, value: Any) -> Any:
        if not _is_sequence(value) or len(value) != len(self.items):
            raise _mismatch(value, f"tuple of {len(self.items)}")
        return [_dump(shape, each) for shape, each in zip(self.items, value, strict=True)]

    def load(self, plain: Any) -> Any:
        return tuple(
            _load(shape, each)
            for shape, each in zip(self.items, _must_be(list, plain), strict=True)
        )


class _Mapping(NamedTuple):
    """A mapping whose keys or values need rebuilding."""

    kind: type
    key: Shape
    value: Shape
    build: Callable[[Any], Any]
    is_text: bool = False

    @property
    def name(self) -> str:
        return self.kind.__name__

    def fits(self, value: Any) -> bool:
        return isinstance(value, self.kind)

    def dump(self, value: Any) -> Any:
        if not isinstance(value, collections.abc.Mapping):
            raise _mismatch(value, self.name)
        return {self._key_text(key): _dump(self.value, each) for key, each in value.items()}

    def load(self, plain: Any) -> Any:
        pairs = _must_be(dict, plain).items()
        return self.build({self._key(key): _load(self.value, each) for key, each in pairs})

    def _key_text(self, key: Any) -> str:
        plain = _dump(self.key, key)
        if not self.key.is_text:
            return json.dumps(plain, ensure_ascii=False, allow_nan=False)
        if not isinstance(plain, str):
            raise _key_refused(key)
        return plain

    def _key(self, text: str) -> Any:
        return _load(self.key, text if self.key.is_text else json.loads(text))


class _Record:
    """A dataclass or a NamedTuple: an object of its fields."""

    is_text = False

    def __init__(self, kind: type, fields: Sequence[str]) -> None:
        self.kind = kind
        self.name = kind.__name__
        self._fields = fields

    @functools.cached_property
    def _shapes(self) -> dict[str, Shape]:
        """The fields' shapes; read late, because a record may hold its own kind."""
        hints = hints_of(self.kind)
        return {name: shape_of(hints.get(name, Any)) for name in self._fields}

    @functools.cached_property
    def _obstacle(self) -> str:
        """Why the fields alone cannot make one again, or nothing."""
        try:
            signature_of(self.kind).bind(**dict.fromkeys(self._fields))
        except TypeError as error:
            return str(error)
        return ""

    def fits(self, value: Any) -> bool:
        return type(value) is self.kind

    def dump(self, value: Any) -> Any:
        if not self.fits(value):
            raise _mismatch(value, self.name)
        if self._obstacle:
            raise Unfit(
                value,
                f" that cannot be made again from its fields ({self._obstacle})",
                "pass plain data and make it in the task",
            )
        return {name: _dump(shape, getattr(value, name)) for name, shape in self._shapes.items()}

    def load(self, plain: Any) -> Any:
        shapes = self._shapes
        pairs = _must_be(dict, plain).items()
        return self.kind(**{name: _load(shapes.get(name, ANYTHING), each) for name, each in pairs})


class _TypedDict:
    """A dict whose known keys have shapes; others go as they are."""

    is_text = False

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        self.name: str = kind.__name__

    @functools.cached_property
    def _shapes(self) -> dict[str, Shape]:
        return {name: shape_of(hint) for name, hint in hints_of(self.kind).items()}

    def fits(self, value: Any) -> bool:
        return isinstance(value, dict) and value.keys() >= self.kind.__required_keys__

    def dump(self, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _mismatch(value, self.name)
        _check_keys(value)
        return self._each(_dump, value)

    def load(self, plain: Any) -> Any:
        return self._each(_load, _must_be(dict, plain))

    def _each(self, way: Callable[[Shape, Any], Any], members: dict[str, Any]) -> dict[str, Any]:
        shapes = self._shapes
        return {name: way(shapes.get(name, ANYTHING), each) for name, each in members.items()}


class _Model(NamedTuple):
    """A pydantic model, by its own rules; pydantic itself is never imported here."""

    kind: Any
    is_text: bool = False

    @property
    def name(self) -> str:
        return str(self.kind.__name__)

    def fits(self, value: Any) -> bool:
        return type(value) is self.kind

    def dump(self, value: Any) -> Any:
        if not self.fits(value):
            raise _mismatch(value, self.name)
        plain = value.model_dump(mode="json", by_alias=True, round_trip=True)
        try:
            self.load(plain)  # aliases and serializers may go one way only: see it here, not there
        except ValueError as error:
            raise Unfit(
                value, f" that does not read its own JSON ({_line(error)})", "mend its aliases"
            ) from None
        return plain

    def load(self, plain: Any) -> Any:
        return self.kind.model_validate(plain)


class _Enum(NamedTuple):
    """An enumeration: its members by value, or by name where JSON has no such value."""

    kind: type[enum.Enum]
    by_value: bool
    is_text: bool

    @property
    def name(self) -> str:
        return self.kind.__name__

    def fits(self, value: Any) -> bool:
        return isinstance(value, self.kind)

    def dump(self, value: Any) -> Any:
        if not self.fits(value):
            raise _mismatch(value, self.name)
        return value.value if self.by_value else value.name

    def load(self, plain: Any) -> Any:
        return self.kind(plain) if self.by_value else self.kind[plain]


class _Union:
    """One of several kinds. What would come back as another kind travels under a tag.

    Rebuilding tries plain data first, then the other members as written. So text stays text, and
    a datetime in `datetime | str` travels as `{"$datetime": "2026-01-31T09:00:00"}`.
    """

    is_text = False

    def __init__(self, members: Sequence[Shape]) -> None:
        self.members = {_tag(member, members): member for member in members}
        self.name = " or ".join(member.name for member in members)
        # Plain data comes last here: an IntEnum is an int, but an int is not an IntEnum.
        self._dumpers = sorted(self.members.items(), key=lambda each: isinstance(each[1], Plain))

    def fits(self, value: Any) -> bool:
        return any(member.fits(value) for member in self.members.values())

    def dump(self, value: Any) -> Any:
        misfit = None
        for tag, member in self._dumpers:
            if not member.fits(value):
                continue
            try:
                plain = member.dump(value)
            except Unfit as error:
                misfit = error
                continue
            return plain if self._reader(plain) == tag else {tag: plain}
        raise misfit or _mismatch(value, self.name)

    def load(self, plain: Any) -> Any:
        if self._is_tagged(plain):
            [(tag, inner)] = plain.items()
            return _load(self.members[tag], inner)
        return self._read(plain)[1]

    def _is_tagged(self, plain: Any) -> bool:
        return isinstance(plain, dict) and len(plain) == 1 and plain.keys() <= self.members.keys()

    def _reader(self, plain: Any) -> str:
        """The tag of the member that would take this, were it not tagged; "" when none would."""
        try:
            return "" if self._is_tagged(plain) else self._read(plain)[0]
        except ValueError:
            return ""

    def _read(self, plain: Any) -> tuple[str, Any]:
        for tag, member in self.members.items():
            if isinstance(member, Plain) and not member.fits(plain):
                continue
            try:
                return tag, _load(member, plain)
            except (Cancel, TaskTimeout):  # the alarm of the run that we are in
                raise
            except Exception:  # noqa: S112 - a user's constructor may raise anything; try the next
                continue
        raise ValueError(f"it is none of {self.name}")


def _shape(hint: Any) -> Shape:
    hint = _bare(hint)
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    if origin is Union or origin is types.UnionType:
        return _union([_shape(each) for each in args])
    if origin is Literal:
        return _union([_shape(type(each)) for each in args])
    if not isinstance(origin, type):
        return ANYTHING
    if origin is tuple:
        return _tuple(args)
    if origin in _ITEMS:
        return _items(origin, _shape(args[0]) if args else ANYTHING)
    if origin in _MAPPINGS:
        return _mapping(origin, [_shape(each) for each in args])
    return _class(origin)


def _bare(hint: Any) -> Any:
    """The hint without what only says more about it: Annotated, NewType, a type alias …"""
    while True:
        origin = typing.get_origin(hint)
        if origin is typing.Annotated or getattr(origin, "_name", "") in _QUALIFIERS:
            hint = typing.get_args(hint)[0]
        elif isinstance(hint, typing.NewType):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":  # `type X = ...`, Python 3.12
            hint = hint.__value__
        elif isinstance(hint, TypeVar):
            hint = hint.__bound__ or Any
        else:
            return hint


def _union(members: Sequence[Shape]) -> Shape:
    flat: list[Shape] = []
    for member in members:
        flat.extend(member.members.values() if isinstance(member, _Union) else [member])
    kinds = tuple(kind for each in flat if isinstance(each, Plain) for kind in each.kinds)
    others = [each for each in flat if not isinstance(each, Plain)]
    if not others:
        return Plain(kinds)
    if not set(kinds) <= {type(None)}:  # None travels by itself
        others.insert(0, Plain(kinds))
    return others[0] if len(others) == 1 else _Union(others)


def _tag(member: Shape, members: Sequence[Shape]) -> str:
    if isinstance(member, Plain):
        return "$plain"
    alike = [each for each in members if each.name == member.name]
    number = [each is member for each in alike].index(True) + 1
    return f"${member.name}" if number == 1 else f"${member.name}{number}"


def _tuple(args: tuple[Any, ...]) -> Shape:
    if not args or args[-1] is ...:
        return _Items(tuple, (list, tuple), _shape(args[0]) if args else ANYTHING, tuple)
    return _Fixed(tuple(_shape(each) for each in args if each != ()))


def _items(origin: type, item: Shape) -> Shape:
    kind, family, build = _ITEMS[origin]
    if build is list and isinstance(item, Plain):
        return Plain((list, tuple))
    return _Items(kind, family, item, build)


def _mapping(origin: type, shapes: Sequence[Shape]) -> Shape:
    key, value = (*shapes, ANYTHING)[:2] if shapes else (ANYTHING, ANYTHING)
    if isinstance(key, Plain) and (object in key.kinds or key.kinds == (str,)):
        key = _TEXT
    build = _MAPPINGS[origin]
    if build is dict and key is _TEXT and isinstance(value, Plain):
        return Plain((dict,))
    return _Mapping(origin, key, value, build)


@functools.cache
def _class(kind: type) -> Shape:
    """The shape of a class; one for each, so that a record may hold its own kind."""
    if kind is float:
        return Plain((float, int), "float")
    if kind is str:
        return _TEXT
    if kind in ATOMS:
        return Plain((kind,), kind.__name__)
    if issubclass(kind, enum.Enum):
        return _enum(kind)
    if dataclasses.is_dataclass(kind):
        return _Record(kind, [field.name for field in dataclasses.fields(kind) if field.init])
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return _Record(kind, kind._fields)
    if hasattr(kind, "__required_keys__"):
        return _TypedDict(kind)
    if hasattr(kind, "model_validate") and hasattr(kind, "model_dump"):
        return _Model(kind)
    return _leaf(kind) or ANYTHING


def _enum(kind: type[enum.Enum]) -> Shape:
    values = {type(each.value) for each in kind}
    by_value = values <= ATOMS - {type(None)}
    return _Enum(kind, by_value, not by_value or values == {str})


def _leaf(kind: type) -> Shape | None:
    """The shape of a kind of one of `_LEAVES`. Nothing is imported: who names it, has done so."""
    if kind is os.PathLike:
        from pathlib import Path, PurePath

        return _Leaf(PurePath, str, Path)
    for module, base, make in _LEAVES:
        if module in sys.modules and issubclass(kind, getattr(sys.modules[module], base)):
            return make(kind)
    return None


def _moment(kind: Any) -> Shape:
    return _Leaf(kind, kind.isoformat, functools.partial(_read_moment, kind))


def _date(kind: Any) -> Shape:
    moment: type = sys.modules["datetime"].datetime  # a date too, by inheritance only
    return _Leaf(kind, kind.isoformat, kind.fromisoformat, but=(moment,))


def _timedelta(kind: Any) -> Shape:
    return _Leaf(kind, _seconds, lambda seconds: kind(seconds=seconds), is_text=False)


def _bytes(kind: Any) -> Shape:
    from base64 import b64decode, b64encode

    return _Leaf(
        kind,
        lambda octets: b64encode(octets).decode("ascii"),
        lambda text: kind(b64decode(text, validate=True)),
    )


def _decimal(kind: Any) -> Shape:
    return _Leaf(kind, str, lambda plain: kind(str(plain)))


def _by_text(kind: Any) -> Shape:
    return _Leaf(kind, str, kind)


def _read_moment(kind: Any, text: str) -> Any:
    # Python 3.10 does not read the Z, which other programs write.
    return kind.fromisoformat(text[:-1] + "+00:00" if text[-1:] == "Z" else text)


def _seconds(span: Any) -> float:
    seconds: float = span.total_seconds()
    if type(span)(seconds=seconds) != span:
        raise Unfit(span, " of centuries, whose microseconds would be lost", "round it to seconds")
    return seconds


def _line(error: Exception) -> str:
    return " ".join(str(error).split())  # pydantic speaks in several lines


def _dump(shape: Shape, value: Any) -> Any:
    return None if value is None else shape.dump(value)


def _load(shape: Shape, plain: Any) -> Any:
    return None if plain is None else shape.load(plain)


def _must_be(kind: type, plain: Any) -> Any:
    if not isinstance(plain, kind):
        raise ValueError(f"it is {a_kind(plain)}, not a {kind.__name__}")
    return plain


def _is_sequence(value: Any) -> bool:
    """A list, or a tuple without names: JSON has no place for the names."""
    return isinstance(value, list) or (
        isinstance(value, tuple) and not hasattr(type(value), "_fields")
    )


def _check_keys(mapping: dict[Any, Any]) -> None:
    for key in mapping:
        if not isinstance(key, str):
            raise _key_refused(key)


def _key_refused(key: object) -> Unfit:
    return Unfit(
        key,
        f" as a key ({key!r:.40}), and keys in JSON are text",
        f"use text, or annotate it as dict[{type(key).__name__}, ...] to have the keys rebuilt",
    )


def _mismatch(value: object, name: str) -> Unfit:
    return Unfit(value, f", but its annotation says {name}", "pass that, or annotate it wider")


def _too_deep(value: object) -> Unfit:
    return Unfit(
        value, f" nested deeper than {MAX_DEPTH} levels, or inside itself", "pass flatter data"
    )


def _stranger(value: object) -> Unfit:
    kind = type(value)
    if not isinstance(shape_of(kind), Plain):
        remedy = f"annotate it as {kind.__name__} (or list[{kind.__name__}] ...) to have it rebuilt"
    elif kind.__module__ == "builtins":
        remedy = "pass plain data instead: text, numbers, lists, dicts"
    else:
        remedy = f"pass an id or plain data, or make {kind.__name__} a dataclass and annotate it so"
    return Unfit(value, ", which plain JSON cannot carry", remedy)


def _hints_one_by_one(annotated: Any) -> dict[str, Any]:
    """Each hint by itself, so that one unknown name costs one annotation and not all."""
    module = vars(sys.modules.get(getattr(annotated, "__module__", ""), typing))
    space = getattr(annotated, "__globals__", module)
    hints: dict[str, Any] = {}
    for name, hint in _annotations(annotated).items():
        alone = types.SimpleNamespace(__annotations__={name: hint})
        try:
            hints |= typing.get_type_hints(alone, space)
        except Exception:  # noqa: S112 - as above
            continue
    return hints


def _annotations(annotated: Any) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):  # pragma: no cover
        import annotationlib

        found: dict[str, Any] = annotationlib.get_annotations(
            annotated, format=annotationlib.Format.FORWARDREF
        )
        return found
    return getattr(annotated, "__annotations__", {})


_LEAVES: tuple[tuple[str, str, Callable[[Any], Shape]], ...] = (
    ("datetime", "datetime", _moment),
    ("datetime", "date", _date),
    ("datetime", "time", _moment),
    ("datetime", "timedelta", _timedelta),
    ("uuid", "UUID", _by_text),
    ("decimal", "Decimal", _decimal),
    ("pathlib", "PurePath", _by_text),
    ("builtins", "bytes", _bytes),
    ("builtins", "bytearray", _bytes),
)
_QUALIFIERS = ("Required", "NotRequired", "ReadOnly", "Final", "ClassVar")
_TEXT = Plain((str,), "str", is_text=True)
_ITEMS: dict[Any, tuple[type, tuple[type, ...], Callable[[Any], Any]]] = {
    list: (list, (list, tuple), list),
    collections.abc.Sequence: (list, (list, tuple), list),
    collections.abc.MutableSequence: (list, (list, tuple), list),
    collections.abc.Iterable: (list, (list, tuple), list),
    collections.abc.Collection: (list, (list, tuple), list),
    set: (set, (set, frozenset), set),
    collections.abc.Set: (collections.abc.Set, (set, frozenset), set),
    collections.abc.MutableSet: (set, (set, frozenset), set),
    frozenset: (frozenset, (set, frozenset), frozenset),
    collections.deque: (collections.deque, (collections.deque,), collections.deque),
}
_MAPPINGS: dict[Any, Callable[[Any], Any]] = {
    dict: dict,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
    collections.OrderedDict: collections.OrderedDict,
}
