"""The codec: what goes into `.delay()` comes out in the worker, or is refused at once."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import functools
import json
import math
import os
import pathlib
import sys
import typing
import uuid
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
)
from collections.abc import Set as AbstractSet
from typing import Annotated, Any, Final, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar

import pydantic
import pytest
import typing_extensions
from hypothesis import given
from hypothesis import strategies as st

from liteq import codec as codec_module
from liteq.codec import Codec
from liteq.errors import Cancel, EncodingError, InvalidArguments, PayloadTooLarge, TaskTimeout
from liteq.shapes import Plain, shape_of

LIMIT = 1024 * 1024


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(str, enum.Enum):
    YES = "yes"


class Right(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


class Planet(enum.Enum):
    EARTH = (5.976e24, 6.37814e6)
    MARS = (6.421e23, 3.3972e6)


@dataclasses.dataclass
class Address:
    street: str
    since: dt.date | None = None


@dataclasses.dataclass(frozen=True)
class Person:
    name: str
    born: dt.datetime
    addresses: tuple[Address, ...] = ()
    friends: "list[Person]" = dataclasses.field(default_factory=list)
    initial: str = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", self.name[:1])


@dataclasses.dataclass
class Employee(Address):
    salary: int = 0


@dataclasses.dataclass
class Seeded:
    value: int
    seed: dataclasses.InitVar[int]


@dataclasses.dataclass
class Sequel(Address):
    """Has the same fields as Address, so that only a tag can tell them apart."""


@dataclasses.dataclass
class Late:
    when: "NotDefinedAnywhere"  # noqa: F821
    due: dt.date


class Point(NamedTuple):
    x: decimal.Decimal
    y: decimal.Decimal = decimal.Decimal(0)


class Event(TypedDict, total=False):
    at: dt.datetime
    title: str


class Entry(TypedDict):
    id: uuid.UUID


class Order(pydantic.BaseModel):
    id: int = pydantic.Field(alias="orderId")
    placed: dt.datetime
    lines: list[decimal.Decimal] = []


class Crooked(pydantic.BaseModel):
    id: int = pydantic.Field(validation_alias="in", serialization_alias="out")


class Stranger:
    pass


UserId = NewType("UserId", int)
Moment = NewType("Moment", dt.datetime)
T = TypeVar("T")
Dated = TypeVar("Dated", bound=dt.date)

NAIVE = dt.datetime(2026, 1, 31, 9, 0, 0, 123456)  # noqa: DTZ001 - naive is what is tested
AWARE = NAIVE.replace(tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=30)))
DAY = dt.date(2026, 1, 31)
ID = uuid.UUID("12345678123456781234567812345678")


def of(hint: Any) -> Codec:
    """The codec of a function whose only parameter and whose result are annotated so."""

    def work(value): ...

    work.__annotations__ = {"value": hint, "return": hint}
    return Codec(work)


def there_and_back(hint: Any, value: Any) -> Any:
    """The value as the worker gets it; as a result it must come back alike."""
    codec = of(hint)
    [arrived], rest = codec.call(codec.call_text((value,), {}, LIMIT))
    by_name = codec.call(codec.call_text((), {"value": value}, LIMIT))[1]["value"]
    result = codec.result(codec.result_text(value, LIMIT))
    assert rest == {}
    assert repr(by_name) == repr(result) == repr(arrived)
    assert by_name == result == arrived or arrived != arrived  # noqa: PLR0124 - Decimal's NaN
    return arrived


def as_json(hint: Any, value: Any) -> Any:
    """What the stored argument looks like to a person with an SQL shell."""
    return json.loads(of(hint).call_text((value,), {}, LIMIT))["args"][0]


def refusal(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    with pytest.raises(EncodingError) as caught:
        Codec(function).call_text(args, kwargs, LIMIT)
    assert not isinstance(caught.value, PayloadTooLarge)
    return str(caught.value)


def plain(x, y=None): ...


# --- calls ------------------------------------------------------------------------------------


def test_payload_is_json_that_sql_tools_can_read():
    def send(to: str, subject: str, copies: int = 1): ...

    text = Codec(send).call_text(("user@example.com",), {"subject": "Привет"}, LIMIT)

    assert text == '{"args": ["user@example.com"], "kwargs": {"subject": "Привет"}}'
    assert Codec(send).call(text) == (["user@example.com"], {"subject": "Привет"})


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -(2**70), 1.5, "", 'naïve 🎉 \x00 "quoted"', [], {}, [1, [2, {"a": [None]}]]],
)
def test_plain_data_needs_no_annotation(value):
    codec = Codec(plain)

    [arrived], _ = codec.call(codec.call_text((value,), {}, LIMIT))

    assert arrived == value
    assert type(arrived) is type(value)


def test_tuple_without_annotation_arrives_as_list():
    codec = Codec(plain)

    assert codec.call(codec.call_text(((1, (2,)),), {}, LIMIT)) == ([[1, [2]]], {})


def test_subclass_of_plain_kind_arrives_as_that_kind():
    codec = Codec(plain)
    value = collections.OrderedDict(level=Level.HIGH, word=Word.YES)

    [arrived], _ = codec.call(codec.call_text((value,), {}, LIMIT))

    assert arrived == {"level": 2, "word": "yes"}
    assert [type(arrived), type(arrived["level"]), type(arrived["word"])] == [dict, int, str]


@pytest.mark.parametrize(
    ("args", "kwargs", "why"),
    [
        ((), {}, "missing a required argument: 'to'"),
        (("a",), {}, "missing a required argument: 'subject'"),
        (("a", "b", 1, 2), {}, "too many positional arguments"),
        (("a", "b"), {"to": "c"}, "multiple values for argument 'to'"),
        (("a", "b"), {"cc": "c"}, "got an unexpected keyword argument 'cc'"),
    ],
)
def test_call_that_could_never_run_is_refused(args, kwargs, why):
    def send(to: str, subject: str, *, copies: int = 1) -> None: ...

    with pytest.raises(InvalidArguments) as caught:
        Codec(send).call_text(args, kwargs, LIMIT)

    message = str(caught.value)
    assert message.startswith("send(to: str, subject: str, *, copies: int = 1) cannot be called")
    assert message.endswith(why)


def test_refused_call_stays_refused_after_a_good_one():
    codec = Codec(plain)

    for _ in range(2):
        codec.call_text((1,), {}, LIMIT)
        with pytest.raises(InvalidArguments):
            codec.call_text((1, 2, 3), {}, LIMIT)


def test_every_kind_of_parameter_is_rebuilt():
    def work(a: dt.date, /, b: dt.date, *rest: bytes, c: dt.date, **others: uuid.UUID): ...

    codec = Codec(work)
    args, kwargs = (DAY, DAY, b"1", b"2"), {"c": DAY, "d": ID, "rest": ID, "others": ID, "": ID}

    assert codec.call(codec.call_text(args, kwargs, LIMIT)) == (list(args), kwargs)


def test_none_travels_whatever_the_annotation():
    def work(
        when: dt.datetime = None,  # noqa: RUF013 - people write it
        **others: bytes,
    ) -> dt.datetime: ...

    codec = Codec(work)

    text = codec.call_text((None,), {"a": None}, LIMIT)

    assert codec.call(text) == ([None], {"a": None})
    assert codec.result_text(None, LIMIT) == "null"
    assert codec.result("null") is None


def test_calls_of_endlessly_many_shapes_do_not_fill_memory():
    def work(**others): ...

    codec = Codec(work)

    for number in range(1000):
        codec.call_text((), {f"name{number}": 1}, LIMIT)

    assert 0 < len(codec._plans) <= 256


def test_calls_of_endlessly_many_arguments_do_not_fill_memory():
    def work(*args): ...

    codec = Codec(work)
    args = list(range(10_000))

    assert codec.call(codec.call_text(tuple(args), {}, LIMIT)) == (args, {})
    assert len(codec._plans) == 0


def test_signature_follows_wrapped_functions():
    def real(when: dt.date): ...

    @functools.wraps(real)
    def wrapper(*args, **kwargs): ...

    codec = Codec(wrapper)

    assert codec.call(codec.call_text((DAY,), {}, LIMIT)) == ([DAY], {})
    with pytest.raises(InvalidArguments, match=r"real\(when"):
        codec.call_text((), {}, LIMIT)


def test_async_functions_are_read_like_plain_ones():
    async def fetch(since: dt.date) -> dt.date: ...

    codec = Codec(fetch)

    assert codec.call(codec.call_text((DAY,), {}, LIMIT)) == ([DAY], {})
    assert codec.result(codec.result_text(DAY, LIMIT)) == DAY


def test_function_without_known_signature_takes_any_call():
    class Opaque:
        """Like the functions written in C that do not tell their parameters."""

        @property
        def __signature__(self):
            raise ValueError("no signature found")

        def __call__(self, x): ...

    codec = Codec(Opaque())

    assert codec.call(codec.call_text((1, 2, 3), {"a": 4}, LIMIT)) == ([1, 2, 3], {"a": 4})


def test_callable_object_is_read_by_its_signature():
    class Greeter:
        def __call__(self, name): ...

    codec = Codec(Greeter())

    assert codec.call(codec.call_text(("a",), {}, LIMIT)) == (["a"], {})
    with pytest.raises(InvalidArguments, match=r"Greeter\(name\)"):
        codec.call_text((), {}, LIMIT)


# --- annotations ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "value", "plainly"),
    [
        (dt.datetime, NAIVE, "2026-01-31T09:00:00.123456"),
        (dt.datetime, AWARE, "2026-01-31T09:00:00.123456+05:30"),
        (dt.date, DAY, "2026-01-31"),
        (dt.time, dt.time(9, 30, tzinfo=dt.timezone.utc), "09:30:00+00:00"),
        (dt.timedelta, dt.timedelta(days=-1, microseconds=1), -86399.999999),
        (uuid.UUID, ID, "12345678-1234-5678-1234-567812345678"),
        (decimal.Decimal, decimal.Decimal("1.10"), "1.10"),
        (pathlib.Path, pathlib.Path("/tmp/a"), "/tmp/a"),
        (pathlib.PurePosixPath, pathlib.PurePosixPath("a/b"), "a/b"),
        (os.PathLike, pathlib.Path("a"), "a"),
        (os.PathLike[str], pathlib.Path("a"), "a"),
        (bytes, b"\x00\xff", "AP8="),
        (bytearray, bytearray(b"ab"), "YWI="),
        (Color, Color.RED, "red"),
        (Level, Level.HIGH, 2),
        (Word, Word.YES, "yes"),
        (Right, Right.READ | Right.WRITE, 3),
        (Planet, Planet.MARS, "MARS"),
        (set[int], {1}, [1]),
        (set, {1}, [1]),
        (frozenset[dt.date], frozenset([DAY]), ["2026-01-31"]),
        (AbstractSet[int], {1}, [1]),
        (MutableSet[int], {1}, [1]),
        (collections.deque, collections.deque([1, 2]), [1, 2]),
        (tuple, (1, 2), [1, 2]),
        (tuple[int, ...], (1, 2), [1, 2]),
        (tuple[int, dt.date], (1, DAY), [1, "2026-01-31"]),
        (tuple[()], (), []),
        (list[dt.date], [DAY, None], ["2026-01-31", None]),
        (typing.List[dt.date], [DAY], ["2026-01-31"]),  # noqa: UP006 - the old spelling
        (Sequence[dt.date], [DAY], ["2026-01-31"]),
        (MutableSequence[dt.date], [DAY], ["2026-01-31"]),
        (Iterable[dt.date], [DAY], ["2026-01-31"]),
        (Collection[dt.date], [DAY], ["2026-01-31"]),
        (dict[str, dt.date], {"a": DAY}, {"a": "2026-01-31"}),
        (Mapping[str, dt.date], {"a": DAY}, {"a": "2026-01-31"}),
        (MutableMapping[str, list[dt.date]], {"a": [DAY]}, {"a": ["2026-01-31"]}),
        (
            collections.OrderedDict[str, int],
            collections.OrderedDict(b=1, a=2),
            {"b": 1, "a": 2},
        ),
        (dict[int, str], {1: "a", -2: "b"}, {"1": "a", "-2": "b"}),
        (dict[float, int], {1.5: 1}, {"1.5": 1}),
        (dict[bool, int], {True: 1, False: 0}, {"true": 1, "false": 0}),
        (dict[dt.date, int], {DAY: 1}, {"2026-01-31": 1}),
        (dict[Color, int], {Color.RED: 1}, {"red": 1}),
        (dict[Planet, int], {Planet.MARS: 1}, {"MARS": 1}),
        (dict[Level, int], {Level.LOW: 1}, {"1": 1}),
        (dict[tuple[int, int], int], {(1, 2): 3}, {"[1, 2]": 3}),
        (dict[int | str, int], {1: 1, "1": 2}, {"1": 1, '"1"': 2}),
        (dict[int | None, int], {None: 1}, {"null": 1}),
        (dict[Any, dt.date], {"a": DAY}, {"a": "2026-01-31"}),
        (dict[int, dict[int, uuid.UUID]], {1: {2: ID}}, {"1": {"2": str(ID)}}),
        (Address, Address("a", DAY), {"street": "a", "since": "2026-01-31"}),
        (Point, Point(decimal.Decimal("1.5")), {"x": "1.5", "y": "0"}),
        (Event, {"at": NAIVE, "extra": 1}, {"at": "2026-01-31T09:00:00.123456", "extra": 1}),
        (Entry, {"id": ID}, {"id": str(ID)}),
        (
            Order,
            Order(orderId=1, placed=NAIVE, lines=[decimal.Decimal("1.10")]),
            {"orderId": 1, "placed": "2026-01-31T09:00:00.123456", "lines": ["1.10"]},
        ),
        (UserId, UserId(1), 1),
        (Moment, Moment(NAIVE), "2026-01-31T09:00:00.123456"),
        (Annotated[dt.date, "a note"], DAY, "2026-01-31"),
        (list[Annotated[dt.date, "a note"]], [DAY], ["2026-01-31"]),
        (Final[dt.date], DAY, "2026-01-31"),
        (T, [1], [1]),
        (Dated, DAY, "2026-01-31"),
        (Literal["a", 1], "a", "a"),
        (Literal[Color.RED], Color.RED, "red"),
        (Literal[b"raw"], b"raw", "cmF3"),
        (Optional[dt.date], DAY, "2026-01-31"),  # noqa: UP045 - the old spelling
        (dt.date | None, None, None),
        (object, {"a": [1]}, {"a": [1]}),
        (Callable[[int], int], 1, 1),
        ("dt.date", DAY, "2026-01-31"),
    ],
)
def test_annotated_value_comes_back_as_it_was(hint, value, plainly):
    assert as_json(hint, value) == plainly

    arrived = there_and_back(hint, value)

    assert arrived == value
    assert type(arrived) is type(value)


def test_records_are_rebuilt_to_the_bottom():
    friend = Person("Bob", NAIVE)
    person = Person("Ann", AWARE, (Address("a", DAY), Address("b")), [friend])

    arrived = there_and_back(Person, person)

    assert arrived == person
    assert arrived.friends[0].initial == "B"


def test_utc_may_be_written_as_z():
    def work(when: dt.datetime): ...

    [when], _ = Codec(work).call('{"args": ["2026-01-31T09:00:00Z"]}')

    assert when == dt.datetime(2026, 1, 31, 9, tzinfo=dt.timezone.utc)


def test_list_and_tuple_stand_in_for_each_other():
    assert there_and_back(list[dt.date], (DAY,)) == [DAY]
    assert there_and_back(tuple[dt.date, ...], [DAY]) == (DAY,)
    assert there_and_back(tuple[dt.date, int], [DAY, 1]) == (DAY, 1)


def test_plain_annotation_is_not_enforced():
    assert there_and_back(int, "five") == "five"
    assert there_and_back(list[int], ["a"]) == ["a"]


def test_unresolvable_annotation_costs_only_itself():
    def work(a: "NotDefinedAnywhere", when: "dt.date"): ...  # noqa: F821

    codec = Codec(work)

    assert codec.call(codec.call_text((1, DAY), {}, LIMIT)) == ([1, DAY], {})
    assert (
        "argument 'a' of task function 'work' (whose annotation 'NotDefinedAnywhere' cannot be"
        in (refusal(work, DAY, DAY))
    )


def test_unresolvable_field_costs_only_itself():
    assert there_and_back(Late, Late(1, DAY)) == Late(1, DAY)


def test_unresolvable_return_annotation_is_named():
    def work() -> "NotDefinedAnywhere": ...  # noqa: F821

    with pytest.raises(EncodingError, match="whose annotation 'NotDefinedAnywhere' cannot be"):
        Codec(work).result_text(DAY, LIMIT)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="`type` statements are of Python 3.12")
def test_type_aliases_are_followed():
    space: dict[str, Any] = {"dt": dt}
    exec("type Day = dt.date\ntype Tree = list[Tree] | int", space)

    assert there_and_back(space["Day"], DAY) == DAY
    assert there_and_back(space["Tree"], [[1], 2]) == [[1], 2]


def test_type_aliases_of_typing_extensions_are_followed():
    tree: Any = typing_extensions.TypeAliasType("Tree", list["tree"])
    day = typing_extensions.TypeAliasType("day", dt.date)

    assert there_and_back(day, DAY) == DAY
    assert there_and_back(list[day], [DAY]) == [DAY]
    assert there_and_back(tree, [[], [[]]]) == [[], [[]]]


def test_type_alias_that_names_itself_is_taken_as_plain():
    class TypeAliasType:
        """As Python 3.12 has it; `type Tree = list[Tree]`."""

    tree: Any = TypeAliasType()
    tree.__value__ = list[tree]

    assert there_and_back(tree, [[], [[]]]) == [[], [[]]]


# --- unions -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "value", "plainly"),
    [
        (dt.datetime | str, "2026-01-31", "2026-01-31"),
        (dt.datetime | str, NAIVE, {"$datetime": "2026-01-31T09:00:00.123456"}),
        (str | pathlib.Path, "a", "a"),
        (str | pathlib.Path, pathlib.Path("a"), {"$Path": "a"}),
        (bytes | str | None, b"abc", {"$bytes": "YWJj"}),
        (bytes | str | None, None, None),
        (dt.datetime | dt.date, NAIVE, "2026-01-31T09:00:00.123456"),
        (dt.date | dt.datetime, NAIVE, "2026-01-31T09:00:00.123456"),
        (dt.date | dt.datetime, DAY, "2026-01-31"),
        (int | dt.datetime, 5, 5),
        (int | dt.datetime, NAIVE, "2026-01-31T09:00:00.123456"),
        (int | decimal.Decimal, decimal.Decimal("1.5"), "1.5"),
        (float | decimal.Decimal, 1, 1),
        (Level | int, Level.LOW, {"$Level": 1}),
        (Level | int, 1, 1),
        (Address | Sequel, Address("a"), {"street": "a", "since": None}),
        (Address | Sequel, Sequel("a"), {"$Sequel": {"street": "a", "since": None}}),
        (Address | Point, Point(decimal.Decimal(1)), {"x": "1", "y": "0"}),
        (Entry | Event, {"at": NAIVE}, {"$Event": {"at": "2026-01-31T09:00:00.123456"}}),
        (list[dt.date] | dt.date, [DAY], ["2026-01-31"]),
        (list[int] | list[dt.date], [1], [1]),
        (list[int] | list[dt.date], [DAY], {"$list": ["2026-01-31"]}),
        (list[dt.date] | list[dt.timedelta], [dt.timedelta(1)], [86400.0]),
        (list[dt.date] | list[uuid.UUID] | list[bytes], [b"a"], ["YQ=="]),
        (set[int] | frozenset[int], frozenset([1]), {"$frozenset": [1]}),
        (tuple[dt.date, int] | tuple[dt.date], (DAY,), ["2026-01-31"]),
        (set[dt.date] | set[uuid.UUID], {ID}, [str(ID)]),
        (dt.date | dict[str, Any], {"$date": "x"}, {"$plain": {"$date": "x"}}),
        (dt.date | dict[str, Any], {"$other": "x"}, {"$other": "x"}),
        (dict[str, dt.date] | dt.date, {"a": DAY}, {"a": "2026-01-31"}),
        (list[dt.date | str], [DAY, "a", None], [{"$date": "2026-01-31"}, "a", None]),
        (Literal["never", b"x"] | dt.date, b"x", {"$bytes": "eA=="}),
    ],
)
def test_member_of_union_comes_back_as_that_member(hint, value, plainly):
    assert as_json(hint, value) == plainly

    arrived = there_and_back(hint, value)

    assert arrived == value
    assert type(arrived) is type(value)


def test_members_of_one_name_have_numbered_tags():
    hint = list[uuid.UUID] | list[pathlib.Path] | str

    assert as_json(hint, [ID]) == [str(ID)]
    assert as_json(hint, [pathlib.Path(str(ID))]) == {"$list2": [str(ID)]}
    assert there_and_back(hint, [pathlib.Path(str(ID))]) == [pathlib.Path(str(ID))]


def test_value_of_no_member_is_refused():
    def work(when: dt.datetime | int): ...

    assert refusal(work, b"a") == (
        "argument 'when' of task function 'work' is a bytes, but its annotation says "
        "plain data or datetime; pass that, or annotate it wider"
    )


def test_value_that_only_looks_like_a_member_is_refused():
    def work(days: list[dt.date] | list[uuid.UUID]): ...

    assert "holds a bytes, but its annotation says UUID" in refusal(work, [b"a"])


def test_stored_value_of_no_member_is_refused():
    def work(when: dt.datetime | int): ...

    with pytest.raises(
        EncodingError, match="datetime from 'soon': ValueError: it is none of plain"
    ):
        Codec(work).call('{"args": ["soon"]}')


def test_member_whose_constructor_fails_is_passed_over():
    @dataclasses.dataclass
    class Picky:
        street: str

        def __post_init__(self) -> None:
            if self.street == "b":
                raise RuntimeError("not b")

    @dataclasses.dataclass
    class Easy:
        street: str

    assert there_and_back(Picky | Easy, Easy("b")) == Easy("b")


def test_record_that_was_spoilt_after_it_was_made_is_explained_where_it_is_rebuilt():
    @dataclasses.dataclass
    class Share:
        part: float

        def __post_init__(self) -> None:
            if not 0 <= self.part <= 1:
                raise ValueError(f"{self.part} is no share")

    codec = of(Share | dt.date)
    share = Share(0.5)
    share.part = 5

    text = codec.call_text((share,), {}, LIMIT)

    with pytest.raises(EncodingError, match=r"Share or date from .* 5 is no share"):
        codec.call(text)


def test_union_fits_what_one_of_its_members_fits():
    shape = shape_of(dt.date | bytes)

    assert [shape.fits(value) for value in (DAY, b"", "")] == [True, True, False]


def test_nested_unions_are_one_union():
    Inner = NewType("Inner", Any)
    Inner.__supertype__ = dt.date | str

    assert as_json(Inner | uuid.UUID, "a") == "a"
    assert as_json(Inner | uuid.UUID, ID) == {"$UUID": str(ID)}
    assert there_and_back(Inner | uuid.UUID, DAY) == DAY


# --- refusals ---------------------------------------------------------------------------------


def test_special_value_without_annotation_is_refused_with_the_remedy():
    assert refusal(plain, NAIVE) == (
        "argument 'x' of task function 'plain' is a datetime, which plain JSON cannot carry; "
        "annotate it as datetime (or list[datetime] ...) to have it rebuilt"
    )


def test_special_value_deep_inside_is_refused():
    message = refusal(plain, 1, y={"a": [1, {"b": (DAY,)}]})

    assert message.startswith(
        "argument 'y' of task function 'plain' holds a date, which plain JSON"
    )


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (Stranger(), "is a Stranger, which plain JSON cannot carry; pass an id or plain data, or"),
        (1j, "is a complex, which plain JSON cannot carry; pass plain data instead"),
        ({1, 2}, "is a set, which plain JSON cannot carry; annotate it as set"),
        (b"a", "is a bytes, which plain JSON cannot carry; annotate it as bytes"),
        (Point(decimal.Decimal(1)), "is a Point, which plain JSON cannot carry; annotate it as Po"),
        (Address("a"), "is an Address, which plain JSON cannot carry; annotate it as Address"),
        (Order(orderId=1, placed=NAIVE), "is an Order, which plain JSON cannot carry; annotate"),
        (Color.RED, "is a Color, which plain JSON cannot carry; annotate it as Color"),
        ({1: "a"}, "holds an int as a key (1), and keys in JSON are text; use text, or annotate"),
        ([{None: "a"}], "holds a NoneType as a key (None), and keys in JSON are text"),
        (math.nan, "holds nan or an infinity, for which JSON has no number; pass None or text"),
        ([[-math.inf]], "holds nan or an infinity"),
        ("\ud800", "holds '\\ud800', half of a surrogate pair, which is no text; pass bytes"),
        ({"\udcff": 1}, "holds '\\udcff', half of a surrogate pair"),
        ([Stranger], "holds a type, which plain JSON cannot carry; pass plain data instead"),
    ],
)
def test_what_json_cannot_carry_is_refused(value, said):
    assert f"argument 'x' of task function 'plain' {said}" in refusal(plain, value)
    assert f"argument 'y' of task function 'plain' {said}" in refusal(plain, 1, y=value)


@pytest.mark.skipif(not hasattr(sys, "get_int_max_str_digits"), reason="this Python has no limit")
def test_number_too_long_for_text_is_refused():
    assert "cannot be written as JSON (ValueError: Exceeds the limit" in refusal(plain, 10**5000)


def test_structure_that_holds_itself_is_refused():
    around: list[Any] = []
    around.append(around)
    circle: dict[str, Any] = {}
    circle["a"] = {"b": circle}

    assert "nested deeper than 100 levels, or inside itself" in refusal(plain, around)
    assert "nested deeper than 100 levels, or inside itself" in refusal(plain, circle)


def test_record_that_holds_itself_is_refused():
    def work(person: Person): ...

    person = Person("Ann", NAIVE)
    person.friends.append(person)

    assert refusal(work, person) == (
        "argument 'person' of task function 'work' is nested too deeply, or holds itself; "
        "pass flatter data"
    )


def test_nesting_is_fine_down_to_the_limit():
    deep: Any = 1
    for _ in range(101):
        deep = [deep]

    codec = Codec(plain)

    assert codec.call(codec.call_text((deep,), {}, LIMIT)) == ([deep], {})
    assert "nested deeper" in refusal(plain, [deep])


@pytest.mark.parametrize(
    ("hint", "value", "said"),
    [
        (dt.datetime, "tomorrow", "is a str, but its annotation says datetime; pass that, or"),
        (dt.date, NAIVE, "is a datetime, but its annotation says date"),
        (list[dt.date], DAY, "is a date, but its annotation says list"),
        (list[dt.date], Point(DAY), "is a Point, but its annotation says list"),
        (list[dt.date], [1], "holds an int, but its annotation says date"),
        (set[int], [1], "is a list, but its annotation says set"),
        (tuple[int, dt.date], (1, DAY, 2), "is a tuple, but its annotation says tuple of 2"),
        (tuple[int, dt.date], 5, "is an int, but its annotation says tuple of 2"),
        (dict[int, str], [1], "is a list, but its annotation says dict"),
        (dict[str, dt.date], {1: DAY}, "holds an int as a key (1), and keys in JSON are text"),
        (dict[int, int], {math.nan: 1}, "holds nan or an infinity"),
        (dict[dt.date, int], {"a": 1}, "holds a str, but its annotation says date"),
        (dict[dt.date, int], {None: 1}, "holds a NoneType as a key"),
        (Color, "red", "is a str, but its annotation says Color"),
        (Address, {"street": "a"}, "is a dict, but its annotation says Address"),
        (Address, Employee("a"), "is an Employee, but its annotation says Address"),
        (Seeded, Seeded(1, 2), "that cannot be made again from its fields (missing a required"),
        (Event, [1], "is a list, but its annotation says Event"),
        (Event, {1: 2}, "holds an int as a key"),
        (Event, {"extra": DAY}, "holds a date, which plain JSON cannot carry"),
        (Order, {"orderId": 1}, "is a dict, but its annotation says Order"),
        (Crooked, Crooked(**{"in": 1}), "is a Crooked that does not read its own JSON"),
        (dt.timedelta, dt.timedelta(days=999999, microseconds=1), "centuries, whose microseconds"),
        (pathlib.Path, pathlib.Path("\udcff"), "holds '\\udcff', half of a surrogate pair"),
    ],
)
def test_value_that_its_annotation_cannot_rebuild_is_refused(hint, value, said):
    with pytest.raises(EncodingError) as caught:
        of(hint).call_text((value,), {}, LIMIT)

    assert str(caught.value).startswith("argument 'value' of task function 'work' ")
    assert said in str(caught.value)


def test_name_of_an_argument_must_be_text_too():
    def work(**others): ...

    assert refusal(work, **{"\ud800": 1}).startswith(
        "the call of work(**others) holds '\\ud800', half of a surrogate pair"
    )


def test_extra_argument_is_named_by_its_place():
    def work(first, *rest, **others: dt.date): ...

    assert "argument 'rest[1]' of task function 'work'" in refusal(work, 1, 2, b"3")
    assert "argument 'third' of task function 'work'" in refusal(work, 1, third=b"3")


def test_payload_over_the_limit_is_refused():
    codec = Codec(plain)
    size = len(codec.call_text(("a" * 100, 1), {}, LIMIT))

    assert codec.call_text(("a" * 100, 1), {}, size)
    with pytest.raises(PayloadTooLarge) as caught:
        codec.call_text(("a" * 100, 1), {}, size - 1)

    assert str(caught.value) == (
        f"argument 'x' of task function 'plain', with the others, would take {size} bytes as JSON, "
        f"and payload_limit is {size - 1}; store the data elsewhere and pass where it is"
    )


def test_limit_counts_bytes_not_letters():
    codec = Codec(plain)
    size = len(codec.call_text(("ж" * 100,), {}, LIMIT).encode())

    assert codec.call_text(("ж" * 100,), {}, size)
    with pytest.raises(PayloadTooLarge, match=f"{size} bytes"):
        codec.call_text(("ж" * 100,), {}, size - 1)


def test_call_without_arguments_can_be_over_the_limit_too():
    def work(): ...

    with pytest.raises(PayloadTooLarge, match=r"the call of work\(\) would take 26 bytes"):
        Codec(work).call_text((), {}, 25)


# --- payloads from elsewhere ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("payload", "args", "kwargs"),
    [
        (None, [], {}),
        ("", [], {}),
        ("{}", [], {}),
        ('{"args": [1]}', [1], {}),
        ('{"kwargs": {"x": 1}}', [], {"x": 1}),
        ('{"args": null, "kwargs": null}', [], {}),
        ('  {"args": [1], "kwargs": {}, "trace": "later versions may add to it"}\n', [1], {}),
    ],
)
def test_payload_written_by_hand_is_read(payload, args, kwargs):
    def work(x=0): ...

    assert Codec(work).call(payload) == (args, kwargs)


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ("oops", "is not JSON (Expecting value"),
        ("'{}'", "is not JSON (Expecting value"),
        ('{"args": [1', "is not JSON ("),
        ('{"args": [NaN]}', "is not JSON (NaN is not a JSON number)"),
        ("[" * 100_000, "is not JSON ("),
        (7, "is not JSON ("),
        ("[1]", "is not a JSON object"),
        ('{"to": "a"}', "has neither args nor kwargs"),
        ('{"args": {}}', "has args that are not a list"),
        ('{"args": "ab", "kwargs": {}}', "has args that are not a list"),
        ('{"args": [], "kwargs": [1]}', "has kwargs that are not an object"),
    ],
)
def test_malformed_payload_is_explained(payload, what):
    with pytest.raises(EncodingError) as caught:
        Codec(plain).call(payload)

    message = str(caught.value)
    assert f" for plain(x, y=None) {what}" in message
    assert message.endswith('it should read {"args": [...], "kwargs": {...}}')
    assert len(message) < 400


def test_stored_call_that_does_not_fit_the_signature_is_refused():
    with pytest.raises(InvalidArguments, match=r"plain\(x, y=None\) cannot be called like this"):
        Codec(plain).call('{"args": [1, 2, 3]}')


@pytest.mark.parametrize(
    ("hint", "stored", "why"),
    [
        (dt.datetime, "soon", "cannot be rebuilt as datetime from 'soon': ValueError: Invalid iso"),
        (dt.datetime, 5, "cannot be rebuilt as datetime from 5: "),
        (uuid.UUID, "x", "cannot be rebuilt as UUID from 'x': ValueError: badly formed"),
        (bytes, "%", "cannot be rebuilt as bytes from '%': Error: "),
        (Color, "green", "cannot be rebuilt as Color from 'green': ValueError: 'green' is not a"),
        (Planet, "VENUS", "cannot be rebuilt as Planet from 'VENUS': KeyError"),
        (
            list[dt.date],
            "2026-01-31",
            "as list from '2026-01-31': ValueError: it is a str, not a li",
        ),
        (
            dict[int, str],
            [],
            "cannot be rebuilt as dict from []: ValueError: it is a list, not a d",
        ),
        (tuple[int, dt.date], [1], "cannot be rebuilt as tuple from [1]: ValueError"),
        (Address, {}, "as Address from {}: TypeError: "),
        (Address, {"street": "a", "zip": 1}, "unexpected keyword argument 'zip'"),
        (Order, {"orderId": "x" * 99}, "cannot be rebuilt as Order from {'orderId': 'xxx"),
    ],
)
def test_stored_value_that_cannot_be_rebuilt_is_explained(hint, stored, why):
    codec = of(hint)
    for args, kwargs in ([stored], {}), ([], {"value": stored}):
        with pytest.raises(EncodingError) as caught:
            codec.call(json.dumps({"args": args, "kwargs": kwargs}))
        assert str(caught.value).startswith("argument 'value' of task function 'work' cannot be ")
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)
        assert caught.value.__cause__ is not None

    with pytest.raises(EncodingError) as caught:
        codec.result(json.dumps(stored))
    assert str(caught.value).startswith("the result of task function 'work' cannot be rebuilt")
    assert why in str(caught.value)


# --- results ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, 1, "ж", {"id": 1, "ok": True}, [1], {"a": [{}]}])
def test_plain_result_comes_back(value):
    codec = Codec(plain)

    for _ in range(2):  # the first call reads the annotations
        assert codec.result(codec.result_text(value, LIMIT)) == value


@pytest.mark.parametrize("text", [None, ""])
def test_no_stored_result_is_none(text):
    assert Codec(plain).result(text) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (DAY, "is a date, which plain JSON cannot carry; annotate it as date"),
        ({1: 2}, "holds an int as a key (1)"),
        ({"a": Stranger()}, "holds a Stranger, which plain JSON cannot carry"),
        (math.nan, "holds nan or an infinity"),
        ("\ud800", "holds '\\ud800', half of a surrogate pair"),
    ],
)
def test_result_that_cannot_be_stored_is_refused(value, said):
    codec = Codec(plain)

    for _ in range(2):
        with pytest.raises(EncodingError) as caught:
            codec.result_text(value, LIMIT)
        assert str(caught.value).startswith(f"the result of task function 'plain' {said}")


def test_result_over_the_limit_is_refused():
    codec = Codec(plain)

    assert codec.result_text("a" * 98, 100)
    with pytest.raises(PayloadTooLarge) as caught:
        codec.result_text("a" * 99, 100)

    assert str(caught.value) == (
        "the result of task function 'plain' would take 101 bytes as JSON, and payload_limit is "
        "100; store the data elsewhere and pass where it is"
    )


def test_stored_result_that_is_not_json_is_explained():
    with pytest.raises(EncodingError, match="of task function 'plain' is stored as 'done', which"):
        Codec(plain).result("done")


@pytest.mark.parametrize("alarm", [TaskTimeout("stopped after 1 seconds"), Cancel()])
def test_alarm_that_rings_while_encoding_is_not_taken_for_a_fault_of_the_value(alarm):
    ringing = False

    @dataclasses.dataclass
    class Slow:
        value: int

        def __post_init__(self) -> None:
            if ringing:
                raise alarm

        def __getattribute__(self, name):
            if name == "value" and ringing:
                raise alarm
            return object.__getattribute__(self, name)

    codec, union, value = of(Slow), of(Slow | dt.date), Slow(1)
    text, tagged = codec.result_text(value, LIMIT), union.result_text(value, LIMIT)
    ringing = True

    for encode in (codec.result_text, union.result_text):
        with pytest.raises(type(alarm)):
            encode(value, LIMIT)
    with pytest.raises(type(alarm)):
        codec.result(text)
    with pytest.raises(type(alarm)):
        union.result(tagged)
    with pytest.raises(type(alarm)):
        codec.call_text((value,), {}, LIMIT)


# --- the fast ways ----------------------------------------------------------------------------


def test_encoder_of_pure_python_writes_the_same(monkeypatch):
    value = {"args": [1, "ж", None, 1.5], "kwargs": {"a": [True]}}
    monkeypatch.setattr(codec_module.json_encoder, "c_make_encoder", None)

    assert codec_module._fast_encode()(value) == codec_module._encode(value)


def test_plain_annotations_are_seen_as_plain():
    """Else the fast way would not be taken, which only a benchmark would tell."""
    hints = [int, float, str, bool, None, list, dict, list[int], dict[str, list[int]], Any, object]
    hints += [int | None, Literal["a"], list[str | int] | None, Sequence[str], tuple | Any]

    assert [hint for hint in hints if not isinstance(shape_of(hint), Plain)] == [tuple | Any]


# --- all of it, by chance ---------------------------------------------------------------------

plain_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
offsets = st.integers(-86399, 86399).map(lambda seconds: dt.timezone(dt.timedelta(seconds=seconds)))
leaves: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Any, plain_values),
    (int, st.integers()),
    (str, st.text()),
    (dt.datetime, st.datetimes(timezones=st.none() | offsets)),
    (dt.date, st.dates()),
    (dt.time, st.times()),
    (dt.timedelta, st.timedeltas(dt.timedelta(-99_000), dt.timedelta(99_000))),
    (uuid.UUID, st.uuids()),
    (decimal.Decimal, st.decimals(allow_nan=False)),
    (bytes, st.binary()),
    (pathlib.PurePosixPath, st.text(min_size=1).map(pathlib.PurePosixPath)),
    (Color, st.sampled_from(Color)),
    (Level, st.sampled_from(Level)),
    (Planet, st.sampled_from(Planet)),
    (Address, st.builds(Address, st.text(), st.none() | st.dates())),
    (Sequel, st.builds(Sequel, st.text(), st.none() | st.dates())),
    (Point, st.builds(Point, st.decimals(allow_nan=False), st.decimals(allow_nan=False))),
]
Typed = tuple[Any, st.SearchStrategy[Any]]


def hashable(typed: Typed) -> bool:
    return typed[0] not in (Any, Address, Sequel) and typing.get_origin(typed[0]) is None


def grown(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    """Collections and unions of what there is so far."""
    keys = st.sampled_from([each for each in leaves if hashable(each)])
    return st.one_of(
        inner.map(lambda each: (list[each[0]], st.lists(each[1], max_size=3))),
        inner.map(lambda each: (tuple[each[0], ...], st.lists(each[1], max_size=3).map(tuple))),
        inner.map(lambda each: (each[0] | None, st.none() | each[1])),
        keys.map(lambda each: (set[each[0]], st.sets(each[1], max_size=3))),
        st.tuples(inner, inner).map(
            lambda pair: (tuple[pair[0][0], pair[1][0]], st.tuples(pair[0][1], pair[1][1]))
        ),
        st.tuples(keys, inner).map(
            lambda pair: (
                dict[pair[0][0], pair[1][0]],
                st.dictionaries(pair[0][1], pair[1][1], max_size=3),
            )
        ),
        st.lists(inner, min_size=2, max_size=3).map(
            lambda some: (
                typing.Union[tuple(each[0] for each in some)],  # noqa: UP007 - made at run time
                st.one_of([each[1] for each in some]),
            )
        ),
    )


typed_values = st.recursive(st.sampled_from(leaves), grown, max_leaves=4).flatmap(
    lambda typed: st.tuples(st.just(typed[0]), typed[1])
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of one type to the bottom."""
    return repr(one) == repr(other) or (type(one) is type(other) and one == other)


@given(typed_values)
def test_any_annotated_value_comes_back_as_it_was(typed):
    hint, value = typed

    assert same(there_and_back(hint, value), value)


@given(st.lists(plain_values, max_size=4), st.dictionaries(st.text(), plain_values, max_size=4))
def test_any_plain_call_comes_back_as_it_was(args, kwargs):
    def work(*args, **kwargs): ...

    codec = Codec(work)

    assert codec.call(codec.call_text(tuple(args), kwargs, 2**30)) == (args, kwargs)


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_any_text_as_payload_is_read_or_explained(payload):
    try:
        Codec(plain).call(payload)
    except (EncodingError, InvalidArguments) as error:
        assert "plain(x, y=None)" in str(error)  # noqa: PT017 - no error is fine too


@given(st.sampled_from(leaves), plain_values)
def test_any_stored_value_is_rebuilt_or_explained(typed, stored):
    try:
        of(typed[0]).call(json.dumps({"args": [stored]}))
    except EncodingError as error:
        assert "argument 'value' of task function 'work'" in str(error)  # noqa: PT017 - as above


def test_a_size_is_counted_in_bytes_and_named():
    codec_module.check_size("the arguments", "é" * 5, 10)

    with pytest.raises(PayloadTooLarge, match="the arguments would take 12 bytes"):
        codec_module.check_size("the arguments", "é" * 6, 11)


def test_values_by_name_are_those_that_the_function_takes():
    def few(a: int, b: int = 2, *rest: int) -> None: ...

    def many(a: int, **others: int) -> None: ...

    values = {"a": 1, "rest": 3, "c": 4}

    assert Codec(few).named(values) == {"a": 1}
    assert Codec(many).named(values) == values


def test_call_is_told_by_names_alone():
    def function(a: int, b: int, *, c: int = 3) -> None: ...

    assert Codec(function).by_name([1], {"b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(InvalidArguments, match=r"no names for all of \[1, 2, 3\]"):
        Codec(function).by_name([1, 2, 3], {})
