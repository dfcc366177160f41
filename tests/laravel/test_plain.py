"""What Python users see of PHP's values, and what PHP sees of theirs. PHP is the judge."""

import enum
import time
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone, tzinfo
from datetime import time as clock
from decimal import Decimal
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_phpserialize import VECTORS

from liteq.errors import EncodingError
from liteq.laravel.phpserialize import (
    INT_MAX,
    INT_MIN,
    PhpCustom,
    PhpEnum,
    PhpFloat,
    PhpObject,
    PhpReference,
    dumps,
    loads,
)
from liteq.laravel.plain import (
    _ABBREVIATIONS,
    LARAVEL_PROPERTIES,
    carbon,
    job,
    model,
    names,
    plain,
    properties,
)
from liteq.laravel.plain import php as to_php  # `php` is the fixture, PHP itself

PARIS = ZoneInfo("Europe/Paris")
UUID = uuid.UUID("11111111-2222-4333-8444-555555555555")


def seen(name):
    return plain(loads(VECTORS[name]))


def of(class_name, **said):
    return PhpObject(class_name, said)


def moment(date="2026-01-02 03:04:05.000000", kind=3, zone="UTC", class_name="DateTime"):
    return of(class_name, date=date, timezone_type=kind, timezone=zone)


def length(y=0, m=0, d=0, h=0, i=0, s=0, f=0.0, invert=0, days=False):
    return of("DateInterval", y=y, m=m, d=d, h=h, i=i, s=s, f=f, invert=invert, days=days)


# PHP to Python


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (0.5, 0.5),
        (PhpFloat("0.10000000000000001"), 0.1),
        ("text", "text"),
        (b"\xff", b"\xff"),
        ({}, []),
        ({0: "a", 1: "b"}, ["a", "b"]),
        ({1: "a", 0: "b"}, {"1": "a", "0": "b"}),
        ({0: "a", 2: "b"}, {"0": "a", "2": "b"}),
        ({"a": 1, 7: 2, b"\xff": 3}, {"a": 1, "7": 2, "\\xff": 3}),
        ({"rows": {0: {"id": 1}, 1: {"id": 2}}}, {"rows": [{"id": 1}, {"id": 2}]}),
        (PhpEnum("App\\Suit", "Hearts"), "Hearts"),
        (PhpReference({0: 1}), [1]),
        (PhpCustom("V\\Old", b"own text"), {"class": "V\\Old", "data": "own text"}),
        (PhpCustom("V\\Old", b"\xff"), {"class": "V\\Old", "data": b"\xff"}),
    ],
)
def test_values_are_pythons_own(value, expected):
    found = plain(value)

    assert found == expected
    assert type(found) is type(expected)


def test_an_object_is_a_dict_by_plain_names():
    text = b'O:1:"X":4:{s:1:"a";i:1;s:4:"\0*\0b";i:2;s:4:"\0X\0c";i:3;i:0;i:4;}'

    assert plain(loads(text)) == {"a": 1, "b": 2, "c": 3, "0": 4}


def test_a_private_property_of_a_parent_class_is_told_apart_where_its_name_is_taken():
    found = PhpObject(
        "App\\Child",
        {
            "\0App\\Parent\0id": "parent's",
            "\0app\\child\0id": "own",
            "\0App\\Parent\0only": 1,
            "\0App\\Grandparent\0only": 2,
        },
    )

    assert names(found) == {
        "id": "own",
        "App\\Parent::id": "parent's",
        "only": 1,
        "App\\Grandparent::only": 2,
    }


def test_a_name_that_php_never_writes_stays_as_it_is():
    assert names(PhpObject("X", {"\0odd": 1, b"\0*\0\xff": 2})) == {"\0odd": 1, "\\xff": 2}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("DateTime UTC", datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)),
        ("DateTimeImmutable region", datetime(2026, 7, 2, 3, 4, 5, 678901, tzinfo=PARIS)),
        ("CarbonImmutable", datetime(2026, 1, 2, 3, 4, 5, 500000, tzinfo=ZoneInfo("Asia/Tokyo"))),
        ("Collection", {"a": 1, "b": [2]}),
        ("Stringable", "txt"),
        ("ArrayObject", {"a": 1}),
        ("enum backed", "Paid"),
        (
            "ModelIdentifier",
            {
                "class": "App\\Models\\User",
                "id": 5,
                "relations": ["posts", "posts.tags"],
                "connection": "mysql",
                "collectionClass": None,
            },
        ),
    ],
)
def test_what_laravel_jobs_hold_is_seen_as_meant(name, expected):
    found = seen(name)

    assert found == expected
    assert type(found) is type(expected)


def test_a_closure_is_opaque():
    found = seen("closure signed")

    assert set(found["serializable"]) == {"serializable", "hash"}


@pytest.mark.parametrize(
    ("value", "utc", "offset"),
    [
        (moment(kind=1, zone="+05:30"), "2026-01-01T21:34:05", 5.5),
        (moment(kind=1, zone="-03:00"), "2026-01-02T06:04:05", -3),
        (moment(kind=2, zone="EDT"), "2026-01-02T07:04:05", -4),
        (moment(kind=2, zone="Z"), "2026-01-02T03:04:05", 0),
        (moment(kind=2, zone="GMT"), "2026-01-02T03:04:05", 0),
        (moment(kind=3, zone="UTC"), "2026-01-02T03:04:05", 0),
        (moment(kind=3, zone="Asia/Kolkata"), "2026-01-01T21:34:05", 5.5),
        (moment(class_name="App\\OurDate"), "2026-01-02T03:04:05", 0),
    ],
)
def test_dates_are_aware_in_their_own_zone(value, utc, offset):
    found = plain(value)

    assert found.astimezone(timezone.utc).isoformat()[:19] == utc
    assert found.utcoffset() == timedelta(hours=offset)


def test_dates_that_php_has_are_the_same_moments_here(php_dates):
    for text, stamp in php_dates:
        found = plain(loads(text))

        # of an hour that comes twice PHP takes the one or the other
        assert stamp in {found.timestamp(), found.replace(fold=1).timestamp()}, text


@pytest.fixture
def php_dates(php):
    zones = "UTC Z +05:30 -11:00 Europe/Paris America/New_York Asia/Kathmandu Australia/Lord_Howe"
    short = " ".join(_ABBREVIATIONS)
    rows = php.evaluate(
        f"""
        $rows = [];
        $days = ['2026-03-08 06:00', '2026-03-29 00:00', '2026-10-25 00:00', '2026-11-01 05:00'];
        foreach (explode(' ', '{zones} {short}') as $zone)
            foreach ($days as $day)  // about the ends of summer time: an hour comes twice, or never
                for ($half = 0; $half < 6; $half++) {{
                    $date = (new DateTime("$day UTC"))->modify("+$half hours 30 minutes")
                        ->setTimezone(new DateTimeZone($zone));
                    $rows[] = [serialize($date), unserialize(serialize($date))->getTimestamp()];
                }}
        return $rows;
        """
    )
    assert len(rows) > 500
    return [(text.encode(), stamp) for text, stamp in rows]


@pytest.mark.parametrize(
    "value",
    [
        moment(date="-0001-11-30 00:00:00.000000"),
        moment(date="12026-01-02 03:04:05.000000"),
        moment(date=5),
        moment(zone="Mars/Olympus"),
        moment(zone="../../etc/passwd"),
        moment(zone="Europe"),
        moment(zone=5),
        moment(kind=1, zone="Paris"),
        moment(kind=1, zone="+99:00"),
        moment(kind=2, zone="ADT"),
        moment(kind=4, zone="Europe/Paris"),
    ],
)
def test_a_moment_that_python_does_not_know_stays_a_dict(value):
    assert plain(value) == value.properties


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (length(d=3, h=4, i=5, s=6, f=0.5), timedelta(3, 6.5, hours=4, minutes=5)),
        (length(h=1, invert=1), -timedelta(hours=1)),
        (length(m=2, d=4, days=63), timedelta(days=63)),
    ],
)
def test_an_interval_of_known_length_is_a_timedelta(value, expected):
    assert plain(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        length(m=1),
        length(y=1),
        length(h="1"),
        length(d=10**12),
        length(f=float("nan")),
        of("DateInterval", from_string=True, date_string="3 days ago"),
    ],
)
def test_other_intervals_stay_dicts(value):
    assert str(plain(value)) == str(value.properties)


def test_intervals_of_carbon_are_seen_as_well(php):
    text = php.evaluate("return serialize(Carbon\\CarbonInterval::hours(3)->invert());")

    assert plain(loads(text.encode())) == -timedelta(hours=3)


@pytest.mark.parametrize(
    "value",
    [
        of("Ramsey\\Uuid\\Lazy\\LazyUuidFromString", string=str(UUID)),
        of("Ramsey\\Uuid\\Uuid", bytes=UUID.bytes),
        of("Ramsey\\Uuid\\Rfc4122\\UuidV4", bytes=UUID.bytes),
        PhpObject("Symfony\\Component\\Uid\\UuidV4", {"\0*\0uid": str(UUID)}),
        PhpCustom("Ramsey\\Uuid\\Uuid", str(UUID).encode()),
        PhpCustom("Ramsey\\Uuid\\Lazy\\LazyUuidFromString", UUID.bytes),
    ],
)
def test_uuid_objects_are_uuids(value):
    assert plain(value) == UUID


def test_other_objects_of_uuid_libraries_are_shown_as_any_other():
    assert plain(of("Ramsey\\Uuid\\Uuid", string="odd")) == {"string": "odd"}
    assert plain(of("Ramsey\\Uuid\\Uuid", string=5)) == {"string": 5}
    assert plain(of("Ramsey\\Uuid\\Uuid", a=1, b=2)) == {"a": 1, "b": 2}
    assert plain(of("Ramsey\\Uuid\\Type\\Hexadecimal", string="0" * 32)) == {"string": "0" * 32}
    assert plain(PhpCustom("Ramsey\\Uuid\\Uuid", b"odd")) == {
        "class": "Ramsey\\Uuid\\Uuid",
        "data": "odd",
    }


def test_a_collection_whose_items_are_shared_or_odd_is_seen_too():
    items = {0: 1}

    assert plain(PhpObject("Collection", {"\0*\0items": PhpReference(items)})) == [1]
    assert plain(PhpObject("Collection", {"\0*\0items": 5})) == {"items": 5}
    assert plain(PhpObject("Bag", {"\0*\0items": items, "owner": 1})) == {"items": [1], "owner": 1}


def test_what_is_shared_in_php_is_shared_here():
    root = seen("object recursion")

    assert root["self"] is root
    assert root["kids"][0] is root["kids"][1]
    assert root["kids"][0]["self"]["kids"] is root["kids"]


def test_an_array_that_holds_itself_does_so_here():
    found = seen("array recursion")

    assert found["me"]["me"] is found["me"]


def test_a_collection_that_holds_itself_does_so_here():
    items = {}
    found = PhpObject("Collection", {"\0*\0items": items})
    items[0] = found

    seen = plain(found)

    assert seen[0] is seen


def test_no_depth_is_too_deep():
    value = 5
    for _ in range(4000):
        value = {0: PhpObject("X", {"a": value})}

    found = plain(value)
    levels = 0
    while found != 5:
        found = found[0]["a"]
        levels += 1

    assert levels == 4000


def test_what_is_no_value_of_php_is_refused():
    with pytest.raises(EncodingError, match="object is nothing that PHP's text can hold"):
        plain({"a": object()})


def test_a_users_data_comes_without_what_laravel_keeps_in_a_job():
    assert properties(loads(VECTORS["job without SerializesModels"])) == {"n": 5}
    assert properties(loads(VECTORS["job delay as Carbon"])) == {"n": 1}
    assert properties(PhpObject("App\\Jobs\\X", {"queue": None})) == {}
    assert "chained" in LARAVEL_PROPERTIES


def test_a_users_data_is_a_dict_even_where_it_looks_like_a_date():
    assert properties(moment()) == moment().properties


# Python to PHP


class Row(NamedTuple):
    a: int
    b: int


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()


class Count(int):
    pass


@dataclass
class Address:
    city: str
    lines: list[str]


class Order(pydantic.BaseModel):
    id: int
    when: datetime


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (5, 5),
        (INT_MIN, INT_MIN),
        (0.5, 0.5),
        ("Zürich", "Zürich"),
        (b"\xff", b"\xff"),
        (bytearray(b"\xff"), b"\xff"),
        (memoryview(b"\xff"), b"\xff"),
        ([1, [2]], {0: 1, 1: {0: 2}}),
        ((1, 2), {0: 1, 1: 2}),
        ({5}, {0: 5}),
        (frozenset({5}), {0: 5}),
        (deque([5]), {0: 5}),
        (Row(1, 2), {0: 1, 1: 2}),
        ({"a": 1, "7": 2, "07": 3, -1: 4, b"\xff": 5}, {"a": 1, 7: 2, "07": 3, -1: 4, b"\xff": 5}),
        (OrderedDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        ({Colour.RED: 1, Level.HIGH: 2, Name("n"): 3}, {"red": 1, 3: 2, "n": 3}),
        (Colour.RED, "red"),
        (Level.HIGH, 3),
        (Name("n"), "n"),
        (Count(3), 3),
        (Decimal("1.50"), "1.50"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E+999999"), "1E+999999"),
        (Decimal("NaN"), "NaN"),
        (UUID, str(UUID)),
        (PurePosixPath("/a/b"), "/a/b"),
        (clock(9, 30), "09:30:00"),
        (timedelta(hours=1), 3600),
        (timedelta(seconds=-1), -1),
        (timedelta(milliseconds=1500), 1.5),
        (Address("Zürich", ["a"]), {"city": "Zürich", "lines": {0: "a"}}),
        (PhpEnum("App\\Suit", "Hearts"), PhpEnum("App\\Suit", "Hearts")),
        (PhpFloat("1.50"), 1.5),
    ],
)
def test_values_become_what_php_has_for_them(value, expected):
    found = to_php(value)

    assert found == expected
    assert type(found) in {type(expected), PhpFloat}


def test_pydantic_models_are_arrays_of_their_fields():
    found = to_php(Order(id=5, when=datetime(2026, 1, 2, tzinfo=timezone.utc)))

    assert found["id"] == 5
    assert plain(found["when"]) == datetime(2026, 1, 2, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("when", "kind", "zone"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=timezone.utc), 3, "UTC"),
        (datetime(2026, 7, 2, tzinfo=PARIS), 3, "Europe/Paris"),
        (datetime(2026, 7, 2, tzinfo=timezone(timedelta(hours=-5, minutes=-30))), 1, "-05:30"),
        (datetime(2026, 7, 2, tzinfo=timezone(timedelta(hours=5, minutes=45))), 1, "+05:45"),
        (datetime(2026, 10, 25, 2, 30, tzinfo=PARIS), 1, "+02:00"),
        (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=PARIS), 1, "+01:00"),
        (datetime(2026, 7, 2, tzinfo=timezone(timedelta(seconds=561))), 3, "UTC"),
        (datetime(1850, 7, 2, tzinfo=PARIS), 3, "Europe/Paris"),
        (datetime(1, 1, 1, tzinfo=timezone.utc), 3, "UTC"),
    ],
)
def test_a_datetime_is_a_carbon_of_the_same_moment(when, kind, zone, php):
    made = carbon(when)
    told = php.unserialize(dumps(made))

    assert made.class_name == told["@class"] == "Illuminate\\Support\\Carbon"
    assert (made.properties["timezone_type"], made.properties["timezone"]) == (kind, zone)
    assert plain(made).timestamp() == when.timestamp()
    if when.year > 1900:  # Python cannot read the offset of seconds that PHP tells
        assert datetime.fromisoformat(told["@date"]).timestamp() == when.timestamp()


def test_a_naive_datetime_is_local_time(monkeypatch):
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        made = to_php(datetime(2026, 7, 2, 12))  # noqa: DTZ001
    finally:
        monkeypatch.undo()
        time.tzset()

    assert plain(made) == datetime(2026, 7, 2, 16, tzinfo=timezone.utc)


def test_a_date_is_midnight_in_utc():
    assert plain(to_php(date(2026, 7, 2))) == datetime(2026, 7, 2, tzinfo=timezone.utc)


def test_other_classes_of_dates_can_be_asked_for(php):
    made = carbon(datetime(2026, 7, 2, tzinfo=PARIS), "DateTimeImmutable")

    assert php.unserialize(dumps(made))["@class"] == "DateTimeImmutable"


class Nowhere(tzinfo):
    def utcoffset(self, when):
        return None


@pytest.mark.parametrize(
    ("when", "message"),
    [
        (datetime(2026, 1, 1, tzinfo=Nowhere()), "tells no offset"),
        (
            datetime(1, 1, 1, tzinfo=timezone(timedelta(seconds=561))),
            "not within the years 1 to 9999",
        ),
    ],
)
def test_a_datetime_that_is_no_moment_is_refused(when, message):
    with pytest.raises(EncodingError, match=message):
        to_php({"at": when})


def itself():
    found = []
    found.append(found)
    return found


def deep(levels):
    found = 5
    for _ in range(levels):
        found = [found]
    return found


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, 2, 3, 2**63]}, r"data\['a'\]\[3\]: 9223372036854775808 has more than the 64"),
        ({"a": {"b": object()}}, r"data\['a'\]\['b'\]: PHP has nothing like object; .*PhpObject"),
        ([int], r"data\[0\]: PHP has nothing like type"),
        ([Order], r"data\[0\]: PHP has nothing like ModelMetaclass"),
        ([1j], r"data\[0\]: PHP has nothing like complex"),
        ({"a": "\ud800"}, r"data\['a'\]: text with half a surrogate pair .* give bytes"),
        ({"\ud800": 1}, r"data\['\\ud800'\]: text with half a surrogate pair"),
        ({"a": {None: 1}}, r"data\['a'\]\[None\]: a key of a PHP array is text"),
        ({True: 1}, r"data\[True\]: a key"),
        ({2**63: 1}, r"data\[9223372036854775808\]: a key"),
        ({"7": 1, 7: 2}, r"data: two of its keys are one in PHP"),
        (itself(), r"data\[0\].*….*: it is nested more than 511 levels deep, or holds itself"),
        (PhpObject("App\\X", {"\0*\0a": [2**63]}), r"data\.a\[0\]: "),
        (PhpObject("no class", {}), r"data: 'no class' is no name of a PHP class"),
        (PhpReference([2**63]), r"data\.value\[0\]: "),
    ],
)
def test_what_php_cannot_hold_is_refused_naming_the_place(value, message):
    with pytest.raises(EncodingError, match=message):
        to_php(value)


def test_the_deepest_that_is_written_can_be_read():
    found = loads(dumps(job("App\\Jobs\\X", {"a": deep(511)})))

    assert properties(found) == {"a": deep(511)}
    with pytest.raises(EncodingError, match="more than 511 levels deep"):
        job("App\\Jobs\\X", {"a": deep(512)})


def test_objects_are_converted_inside_and_shared_as_they_were():
    inner = PhpObject.of("App\\Data\\X", {"rows": [1]}, private={"at": date(2026, 7, 2)})
    cell = PhpReference([1])
    inner.properties["self"] = inner

    found = to_php([inner, inner, cell, cell])

    assert found[0] is found[1] is found[0].properties["self"]
    assert found[0] is not inner
    assert found[0].properties["rows"] == {0: 1}
    assert found[2] is found[3]
    assert found[2].value == {0: 1}
    assert loads(dumps(found))[0].properties["\0App\\Data\\X\0at"].class_name.endswith("Carbon")


def test_dates_that_are_made_up_on_the_way_stay_apart():
    days = [date(2026, 1, 1) + timedelta(days=n) for n in range(200)]

    found = plain(to_php([{"day": day} for day in days]))

    assert [each["day"].date() for each in found] == days


DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(INT_MIN, INT_MAX)
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.uuids().map(str)
    | st.datetimes(
        min_value=datetime(1902, 1, 1),  # noqa: DTZ001 -- Hypothesis wants them naive
        max_value=datetime(2035, 1, 1),  # noqa: DTZ001
        timezones=st.sampled_from([timezone.utc, PARIS, ZoneInfo("America/New_York")]),
    ),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text("abcäß ", min_size=1, max_size=5), inner, min_size=1, max_size=4)
    ),
    max_leaves=10,
)


def moments(value):
    """The same, with the instants of datetimes, so that an hour that comes twice is compared."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, list):
        return [moments(each) for each in value]
    return {key: moments(v) for key, v in value.items()} if isinstance(value, dict) else value


@settings(max_examples=4 * settings.default.max_examples)
@given(value=DATA)
def test_data_comes_back_from_php_as_it_was_given(php, value):
    made = dumps(to_php(value))

    assert moments(plain(loads(php.reserialize(made)))) == moments(value)


# Jobs

CLASSES = r"""
    namespace Made;
    use Illuminate\Queue\SerializesModels;
    trait Told { function told() { return get_object_vars($this); } }
    trait Properties {
        use Told;
        public $open = 'default'; protected $guarded = 'default'; private $own = 'default';
        public ?int $typed = null; protected array $rows = []; private readonly int $once;
        protected ?\Illuminate\Support\Carbon $at = null; private ?object $inner = null;
    }
    class Bare { use Properties; }
    class Models { use Properties, SerializesModels; }
    class Promoted {
        use SerializesModels, Told;
        public function __construct(
            public int $id, protected readonly string $name, private ?\Carbon\Carbon $at = null,
        ) {}
    }
    class Strict { use Told; public function __construct(protected \DateTimeInterface $at) {} }
"""


@pytest.fixture(scope="module")
def made(php):
    """What PHP's class `Made\\X` has of its properties after it read a text."""
    php.evaluate(CLASSES)
    return lambda text: php.evaluate(
        f"return unserialize(hex2bin('{text.hex()}'))->told();",
    )


@pytest.mark.parametrize("class_name", ["Made\\Bare", "Made\\Models"])
def test_a_job_reaches_properties_of_every_visibility(made, class_name):
    when = datetime(2026, 7, 2, tzinfo=timezone.utc)
    data = {
        "open": "a",
        "guarded": "b",
        "own": "c",
        "typed": 5,
        "rows": [1, {"x": None}],
        "once": 7,
        "at": when,
        "inner": PhpObject.of("App\\Address", {"city": "Bern"}, private={"code": "x"}),
    }

    found = made(dumps(job(class_name, data)))

    assert found.pop("at")["@date"] == "2026-07-02T00:00:00.000000+00:00"
    assert found.pop("inner") == {
        "@class": "App\\Address",
        "+city": "Bern",
        "#zip": "8001",
        "-code": "x",
        "+next": None,
    }
    del data["at"], data["inner"]
    assert found == data


@pytest.mark.parametrize("class_name", ["Made\\Bare", "Made\\Models"])
def test_properties_that_are_left_out_take_their_defaults(made, class_name):
    found = made(dumps(job(class_name, {"open": "a"})))

    assert (found["open"], found["guarded"], found["own"]) == ("a", "default", "default")


def test_promoted_and_typed_properties_are_reached(made):
    when = datetime(2026, 7, 2, tzinfo=PARIS)

    found = made(dumps(job("Made\\Promoted", {"id": 5, "name": "n", "at": when})))
    strict = made(dumps(job("Made\\Strict", {"at": carbon(when, "DateTimeImmutable")})))

    assert (found["id"], found["name"]) == (5, "n")
    assert found["at"]["@date"] == "2026-07-02T00:00:00.000000+02:00"
    assert strict["at"]["@class"] == "DateTimeImmutable"


def test_a_job_is_seen_by_python_as_it_was_given():
    data = {"id": 5, "rows": [{"a": 1}], "at": datetime(2026, 7, 2, tzinfo=PARIS)}

    assert properties(loads(dumps(job("App\\Jobs\\X", data)))) == data


def test_objects_that_items_of_a_job_share_stay_one():
    inner = PhpObject.of("App\\Address", {"city": "Bern"})

    found = loads(dumps(job("App\\Jobs\\X", {"a": inner, "b": [inner]})))

    assert found.properties["a"] is found.properties["b"][0]
    assert found.properties["\0*\0a"] is found.properties["\0*\0b"][0]


def test_a_name_that_tells_its_visibility_is_written_just_so():
    assert job("\\App\\Jobs\\X", {"\0*\0id": 5}).properties == {"\0*\0id": 5}
    assert job("\\App\\Jobs\\X", {}).class_name == "App\\Jobs\\X"


@pytest.mark.parametrize("class_name", ["", "App.Jobs.X", "App\\", "7\\X", "a b", 'X";'])
def test_a_job_of_no_class_is_refused(class_name):
    with pytest.raises(EncodingError, match="no name of a PHP class"):
        job(class_name, {})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({5: 1}, r"data\[5\]: the name of a property is text"),
        ({"": 1}, r"data\[''\]: the name of a property is text"),
        ({"a": [object()]}, r"data\['a'\]\[0\]: PHP has nothing like object"),
    ],
)
def test_data_that_no_job_can_have_is_refused(data, message):
    with pytest.raises(EncodingError, match=message):
        job("App\\Jobs\\X", data)


def test_a_model_is_told_by_its_id(php):
    found = php.unserialize(dumps(model("\\App\\Invoice", [1, 2], "mysql")))

    assert found == {
        "@class": "Illuminate\\Contracts\\Database\\ModelIdentifier",
        "+class": "App\\Invoice",
        "+id": [1, 2],
        "+relations": [],
        "+connection": "mysql",
        "+collectionClass": None,
    }
