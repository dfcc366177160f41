"""PHP's serialize format, with PHP itself as judge. What Python users see of it: test_plain.py."""

import base64
import contextlib
import json
import math
import pickle
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from told import told

from liteq.errors import EncodingError, UnreadablePayload
from liteq.laravel.phpserialize import (
    INT_MAX,
    INT_MIN,
    PhpCustom,
    PhpEnum,
    PhpFloat,
    PhpObject,
    PhpReference,
    dumps,
    float_text,
    loads,
)
from liteq.laravel.plain import plain

VECTORS = {
    each["name"]: base64.b64decode(each["serialized_b64"])
    for each in json.loads(
        Path(__file__).with_name("php_serialize_vectors.json").read_text("utf-8")
    )["vectors"]
    if "serialized_b64" in each
}
MEANT = {
    "null": None,
    "true": True,
    "false": False,
    "int 9223372036854775807": INT_MAX,
    "int -9223372036854775808": INT_MIN,
    "float 0.1": 0.1,
    "float 1.0": 1.0,
    "float INF": math.inf,
    "float -INF": -math.inf,
    "float 1e100": 1e100,
    "float 1.5e-7": 1.5e-7,
    "float min denormal": 5e-324,
    "float 0.1 at precision 17": 0.1,
    "string empty": "",
    "string tricky": 'a";s:3:"b";}',
    "string 4-byte emoji": "🎉",
    "string invalid utf-8": b"\xff\xfe\x00\x80",
    "array empty": {},
    "array mixed keys": {"x": 1, 7: 2, "07": 3, -5: 4, "": 5},
    "enum pure": PhpEnum("V\\Suit", "Hearts"),
    "legacy S: string": "a\0b",
}


def read(text, **limits):
    return loads(text.encode("latin-1") if isinstance(text, str) else text, **limits)


# Values


@pytest.mark.parametrize("name", [name for name in VECTORS if "S:" not in name])  # only ever read
def test_what_php_wrote_is_written_back_byte_for_byte(name):
    assert dumps(loads(VECTORS[name])) == VECTORS[name]


@pytest.mark.parametrize(("name", "value"), MEANT.items())
def test_what_php_wrote_is_read_as_it_was_meant(name, value):
    found = loads(VECTORS[name])

    assert found == value
    assert isinstance(found, type(value))


def test_minus_zero_and_nan_stay_what_they_are():
    assert math.copysign(1, loads(VECTORS["float -0.0"])) == -1
    assert math.isnan(loads(VECTORS["float NAN"]))


def test_the_order_of_an_array_is_kept():
    assert list(loads(VECTORS["array mixed keys"])) == ["x", 7, "07", -5, ""]


def test_an_object_keeps_its_class_and_the_names_that_tell_of_visibility():
    found = read('O:5:"App\\X":3:{s:1:"a";i:1;s:4:"\0*\0b";i:2;s:8:"\0App\\X\0c";i:3;}')

    assert found.class_name == "App\\X"
    assert found.properties == {"a": 1, "\0*\0b": 2, "\0App\\X\0c": 3}


def test_objects_are_made_from_plain_names_by_visibility():
    made = PhpObject.of("App\\X", {"a": 1}, protected={"b": 2}, private={"c": 3})

    assert made.properties == {"a": 1, "\0*\0b": 2, "\0App\\X\0c": 3}


def test_numeric_names_of_properties_stay_text_and_those_of_serialize_stay_numbers():
    assert loads(VECTORS["stdClass"]).properties == {"a": 1, "1": "numeric name"}
    assert list(loads(VECTORS["object __serialize"]).properties) == ["renamed", 0, "nested"]


def test_a_serializable_object_keeps_its_own_bytes():
    found = loads(VECTORS["object Serializable C:"])

    assert (found.class_name, found.data) == ("V\\OldSer", b'a:1:{s:1:"a";i:1;}')
    assert type(found) is PhpCustom


def test_classes_may_have_names_that_are_no_utf8():
    for name in ("Größe".encode(), "Größe".encode("latin-1")):
        text = b'O:%d:"%s":0:{}' % (len(name), name)

        assert dumps(loads(text)) == text


def test_bytes_that_are_no_text_may_be_keys():
    text = b'a:1:{s:2:"\xff\xfe";i:1;}'

    assert loads(text) == {b"\xff\xfe": 1}
    assert dumps(loads(text)) == text


def test_what_follows_after_the_value_is_ignored():
    assert read("i:5;i:6;") == 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("i:9223372036854775808;", INT_MAX),
        ("i:-9223372036854775809;", INT_MIN),
        ("i:18446744073709551617;", INT_MAX),
        ("i:99999999999999999999;", INT_MAX),
        ("i:-99999999999999999999;", INT_MIN),
        (f"i:{'9' * 5000};", INT_MAX),
        (f"i:-{'9' * 5000};", INT_MIN),
        (f"i:-{'0' * 5000}7;", -7),
        (f"i:{'0' * 5000};", 0),
        ("i:+5;", 5),
        ("i:-0;", 0),
    ],
)
def test_an_integer_of_more_than_64_bits_is_the_nearest_that_has_not(text, value, php):
    assert read(text) == value
    if len(text) < 100:  # of longer ones PHP says the same, with a warning
        assert php.evaluate(f"return @unserialize('{text}');") == value


def test_the_last_of_two_equal_keys_wins():
    assert read('a:2:{s:1:"7";i:1;i:7;i:2;}') == {7: 2}


def test_the_text_of_a_float_that_is_not_php_8s_is_kept():
    found = read("d:0.10000000000000001;")

    assert found == 0.1
    assert dumps([found][0]) == b"d:0.10000000000000001;"
    assert dumps(pickle.loads(pickle.dumps(found))) == b"d:0.10000000000000001;"
    assert type(read("d:1.5E+25;")) is float
    assert type(read("d:1.50;")) is PhpFloat


def test_floats_are_written_as_php_writes_them(php):
    edges = [10.0**power for power in range(-8, 22)] + [5e-324, 2**53 + 1.0, 1e15 + 0.3, 1.7e308]
    some = [*edges, *(-each * 1.2345678901234567 for each in edges[:-1])]

    assert [float_text(each) for each in some] == php.evaluate(
        f"return array_map(fn ($f) => substr(serialize($f), 2, -1), {json.dumps(some)});"
    )


# Objects and variables that are shared


def test_an_object_seen_before_is_the_same_object():
    root = loads(VECTORS["object recursion"])

    assert root.properties["self"] is root
    kids = root.properties["kids"]
    assert kids[0] is kids[1]
    assert kids[0].properties["self"] is root


def test_a_variable_that_is_shared_is_one_cell():
    found = loads(VECTORS["array reference"])

    assert type(found[0]) is PhpReference
    assert found[0] is found[2]
    assert found[0].value == "one"

    found[0].value = 5
    assert dumps(found) == b'a:3:{i:0;i:5;i:1;s:3:"two";i:2;R:2;}'


def test_an_array_may_hold_itself():
    found = loads(VECTORS["array recursion"])

    assert found["me"].value["me"] is found["me"]


@pytest.mark.parametrize(
    "text",
    [
        'O:1:"A":1:{s:4:"self";r:1;}',
        'O:1:"A":1:{s:4:"self";R:1;}',
        'O:1:"A":2:{s:1:"a";R:1;s:1:"b";R:1;}',
        'O:1:"A":2:{s:1:"a";O:1:"B":0:{}s:1:"b";R:2;}',
        'O:1:"A":3:{s:1:"a";O:1:"B":0:{}s:1:"b";R:2;s:1:"c";r:2;}',
        'a:3:{i:0;O:1:"B":0:{}i:1;r:2;i:2;r:2;}',
        'a:4:{i:0;O:1:"B":0:{}i:1;r:2;i:2;O:1:"C":0:{}i:3;r:4;}',
        'a:4:{i:0;i:5;i:1;R:2;i:2;O:1:"C":0:{}i:3;r:3;}',
        'a:3:{i:0;E:6:"S:Case";i:1;r:2;i:2;R:2;}',
        'a:2:{i:0;E:6:"S:Case";i:1;E:6:"S:Else";}',
        'a:2:{i:0;C:1:"A":5:{R:9;r}i:1;r:2;}',
        "a:3:{i:0;a:1:{i:0;i:5;}i:1;R:3;i:2;R:2;}",
    ],
)
def test_numbers_of_values_are_counted_as_php_counts(text):
    assert dumps(read(text)) == text.encode()


def test_who_shares_the_outermost_value_shares_a_cell():
    found = read("a:2:{i:0;R:1;i:1;R:1;}")

    assert found[0] is found[1]
    assert found[0].value is found
    assert len(dumps(found)) < 60


# Faults


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "at byte 0 of 0, the data ends where a value belongs"),
        ("x:1;", "at byte 0 of 4, found b'x:1;' where a value belongs"),
        ("}", "a value"),
        ("N:", "a value"),
        ("N", "a value"),
        ("b:2;", "a value"),
        ("b:1", "a value"),
        ("i:5", "an integer"),
        ("i:;", "an integer"),
        ("i5;", "an integer"),
        ("i:1_0;", "an integer"),
        ("i: 1;", "an integer"),
        ("i:\xb2;", "an integer"),
        ("d:inf;", "a float, .* INF and -INF in capitals"),
        ("d:nan;", "a float"),
        ("d:-NAN;", "a float"),
        ("d:1_0;", "a float"),
        ("d:.;", "a float"),
        ("d:1", "a float"),
        ("d1;", "a float"),
        ('s:3:"ab";', "a string of 3 bytes"),
        ('s:1:"ab";', "a string of 1 bytes"),
        ('s:1:"a"', "a string of 1 bytes"),
        ("s:1:", "a string with its size"),
        ('s:-1:"";', "a string with its size"),
        ('s:99999999999:"a";', "a string with its size"),
        ('s1:"a";', "a string with its size"),
        ('s:+1:"a";', "a string with its size"),
        ('s:300:"a";', "a string of 300 bytes"),
        ("a:1:{i:0;N;", "a closing brace"),
        ("a:1:{i:0;N;i:1;N;}", "a closing brace"),
        ("a:2:{i:0;N;}", "a key"),
        ("a:1:{b:1;N;}", "a key"),
        ("a:1:{N;N;}", "a key"),
        ("a:1:{d:1;N;}", "a key"),
        ("a:1:{i:x;N;}", "an integer"),
        ('a:1:{s:1:"ab";N;}', "a key of 1 bytes"),
        ('a:1:{s:x:"a";N;}', "a string with its size"),
        ("a:1:i:0;N;}", "an array with its size"),
        ("a:-1:{}", "an array with its size"),
        ("a:999999999:{i:0;N;}", "room for, not 999999999"),
        ("O:8:stdClass:0:{}", "an object with its size"),
        ('O:0:"":0:{}', "the name of a class"),
        ('O:3:"a b":0:{}', "the name of a class"),
        ('O:9:"stdClass":0:{}', "the name of a class"),
        ('O:8:"stdClass":x:{}', "an object with its size"),
        ('O:8:"stdClass"', "an object with its size"),
        ('E:1:"A";', "the name of a class"),
        ('E:3:"A:B"', "a semicolon"),
        ('E:5:"A:B:C";', "the name of a class"),
        ('C:1:"A":5:{ab}', "5 bytes in braces"),
        ('C:1:"A":x:{ab}', "an object with its size"),
        ('C:1:"A";', "an object with its size"),
        ("r:1;", "the number of an earlier value"),
        ("a:1:{i:0;r:1;}", "the number of an object"),
        ('a:2:{i:0;s:1:"x";i:1;r:2;}', "the number of an object"),
        ("a:2:{i:0;i:1;i:1;R:9;}", "the number of an earlier value"),
        ("a:2:{i:0;i:1;i:1;R:0;}", "the number of an earlier value"),
        ("a:2:{i:0;i:1;i:1;R:x;}", "the number of an earlier value"),
        ("a:2:{i:0;i:1;i:1;R:2", "the number of an earlier value"),
        ('S:1:"\\6";', "a backslash and two hexadecimal digits"),
        ('S:2:"a";', "a backslash and two hexadecimal digits|a closing quote"),
        ('S:1:"ab";', "a closing quote"),
        ("S:x", "a string with its size"),
        ('o:8:"stdClass":0:{}', "a value"),
    ],
)
def test_damaged_text_is_refused_saying_where_and_what_was_expected(text, message):
    with pytest.raises(UnreadablePayload, match=message):
        read(text)


@pytest.mark.parametrize("text", ['a:1:{S:1:"7";i:1;}', 'a:1:{S:2:"\\37";i:1;}'])
def test_escaped_text_is_read_as_a_key_too(text):
    assert read(text.replace("S:2", "S:1")) == {7: 1}


def test_escaped_names_and_bytes_stay_as_they_are():
    assert read('O:1:"A":1:{S:1:"7";i:1;}').properties == {"7": 1}
    assert read('a:1:{S:1:"\\ff";i:1;}') == {b"\xff": 1}


def test_text_is_bounded_in_size():
    with pytest.raises(UnreadablePayload, match=r"5 bytes .* limit of 4"):
        read("i:10;", limit=4)

    assert read("i:10;", limit=5) == 10


def test_nesting_is_bounded():
    def nested(levels):
        return "a:1:{i:0;" * levels + "N;" + "}" * levels

    assert dumps(read(nested(512))) == nested(512).encode()
    with pytest.raises(UnreadablePayload, match="less than 513 levels"):
        read(nested(513))
    assert dumps(read(nested(4096), depth=4096)) == nested(4096).encode()
    with pytest.raises(EncodingError, match="deeper than the 4096 levels"):
        dumps({0: read(nested(4096), depth=4096)})


@pytest.mark.parametrize("value", [INT_MAX + 1, INT_MIN - 1, {0: {"a": 10**40}}])
def test_an_int_beyond_64_bits_is_not_written(value):
    with pytest.raises(EncodingError, match=r"more than the 64 bits of PHP's int; pass it as text"):
        dumps(value)


def test_half_a_surrogate_pair_is_not_written():
    with pytest.raises(EncodingError, match="half a surrogate pair"):
        dumps({"a": "\ud800"})
    with pytest.raises(EncodingError, match="no name of a PHP class"):
        dumps(PhpObject("\ud800", {}))


@pytest.mark.parametrize("key", [True, None, 1.5, 2**63])
def test_what_is_no_key_in_php_is_not_written(key):
    with pytest.raises(EncodingError, match="is no key of a PHP array"):
        dumps({key: 1})


def test_keys_become_what_php_makes_of_them():
    assert dumps({"7": 1, "07": 2, "-0": 3, "-5": 4, "9223372036854775808": 5}) == (
        b'a:5:{i:7;i:1;s:2:"07";i:2;s:2:"-0";i:3;i:-5;i:4;s:19:"9223372036854775808";i:5;}'
    )


@pytest.mark.parametrize("value", [[1], {1}, object(), PhpReference(PhpReference(1))])
def test_only_what_is_read_can_be_written(value):
    with pytest.raises(EncodingError, match="has no form in PHP"):
        dumps(value)


def test_damaged_texts_are_read_or_refused_and_nothing_else():
    mutants = Path(__file__).with_name("mutants.py")

    done = subprocess.run(
        [sys.executable, mutants, "100000", "8"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr[-2000:]  # also where it took more than 100 MB
    went = json.loads(done.stdout)
    assert went["worst"] < 1
    assert 10_000 < went["read"] < 90_000


@pytest.mark.parametrize(
    "text",
    [
        b"a:1:{i:0;" * 1_000_000,
        b'O:1:"A":1:{s:1:"a";' * 500_000,
        b"a:999999999:{",
        b"s:9999999999:" + b"x" * 1_000_000,
        b"i:" + b"9" * 4_000_000 + b";",
        b"d:" + b"9" * 1_000_000 + b"x;",
        b"d:" + b"1" * 1_000_000 + b";",
        b'S:9999999999:"' + b"x" * 300_000,
        b"a:100000:{" + b"i:0;i:1;" * 30_000,
        b"a:30000:{i:0;N;" + b"i:1;R:2;" * 29_999 + b"}",
    ],
    ids=lambda text: text[:12].decode(),
)
def test_hostile_text_costs_little_time(text):
    began = time.process_time()

    with contextlib.suppress(UnreadablePayload):
        loads(text)

    assert time.process_time() - began < 1


# PHP as judge

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(INT_MIN, INT_MAX),
    st.floats(),
    st.text(max_size=30),
    st.binary(max_size=20),
    st.sampled_from([PhpEnum("App\\Suit", "Hearts"), PhpEnum("App\\Mood", "Calm")]),
)
KEYS = st.one_of(st.integers(INT_MIN, INT_MAX), st.integers(0, 5), st.text(max_size=8))
WORDS = st.text("abcxyzäß_0", min_size=1, max_size=5).filter(lambda word: not word[0].isdigit())
NAMES = st.one_of(WORDS, WORDS.map("\0*\0{}".format), WORDS.map("\0Made\\Up\0{}".format))


def canonical(value):
    """As reading gives it: bytes that are text are text, "7" is the key 7."""
    if isinstance(value, bytes):
        return loads(b's:%d:"%s";' % (len(value), value))
    return value


@st.composite
def shared(draw, values):
    """An array that holds some of its values several times, as objects and as variables."""
    members = draw(st.lists(values, min_size=1, max_size=4))
    objects = [PhpObject("Made\\Up", {"member": each}) for each in members]
    objects[0].properties["self"] = objects[-1]
    cells = [PhpReference(canonical(each)) for each in [*members, *objects]]
    chosen = draw(st.lists(st.sampled_from([*objects, *cells]), max_size=8))
    return dict(enumerate(chosen))


VALUES = st.recursive(
    SCALARS.map(canonical),
    lambda inner: st.one_of(
        st.lists(inner, max_size=5).map(lambda items: dict(enumerate(items))),
        st.dictionaries(KEYS, inner, max_size=5).map(lambda d: loads(dumps(d))),
        st.dictionaries(NAMES, inner, max_size=5).map(lambda d: PhpObject("Made\\Up", d)),
        shared(inner),
    ),
    max_leaves=12,
)


@settings(max_examples=10 * settings.default.max_examples)
@given(value=VALUES)
def test_php_reads_what_is_written_as_it_is_meant(php, value):
    text = dumps(value)

    assert php.unserialize(text) == told(value)
    assert php.reserialize(text) == text
    assert dumps(loads(text)) == text
    plain(loads(text))


RANDOM = r"""
    mt_srand(%d);
    $any = fn ($from) => $from[array_rand($from)];
    $bytes = fn ($n) => implode('', array_map(fn () => chr(mt_rand(0, 255)), range(1, $n)));
    $text = fn () => mt_rand(0, 3)
        ? substr(str_shuffle('abc";:{}0123äöü日本🎉'), 0, mt_rand(0, 12)) : $bytes(mt_rand(1, 9));
    $leaf = fn () => $any([
        null, true, false, mt_rand(), -mt_rand(), PHP_INT_MAX, mt_rand() / mt_getrandmax(),
        unpack('d', $bytes(8))[1], 10.0 ** mt_rand(-30, 30), $text(), $text(), "ünïcode",
        App\Suit::Spades, App\Mood::Wild, new stdClass, new App\Address, collect([1, $text()]),
        new DateTimeImmutable('@'.mt_rand()),
        Carbon\Carbon::createFromTimestamp(mt_rand(), 'Asia/Tokyo'),
    ]);
    $value = function ($depth) use (&$value, $any, $text, $leaf, &$seen) {
        if ($depth > 4 || mt_rand(0, 3) == 0) {
            return $seen[] = $leaf();
        }
        $items = [];
        for ($n = mt_rand(0, 4); $n > 0; $n--) {
            $key = $any([mt_rand(0, 4), -mt_rand(), $text(), (string) mt_rand(0, 9)]);
            $items[$key] = $value($depth + 1);
            if (mt_rand(0, 4) == 0 && $seen) { $items["again$n"] = $any($seen); }
            if (mt_rand(0, 4) == 0) { $items["shared$n"] = &$items[$key]; }
            if (mt_rand(0, 9) == 0) { $items["itself$n"] = &$items; }
        }
        if (mt_rand(0, 2)) {
            return $items;
        }
        $named = array_filter($items, fn ($k) => is_int($k) || $k > "\1", ARRAY_FILTER_USE_KEY);

        return $seen[] = mt_rand(0, 1) ? new ArrayObject($items) : (object) $named;
    };
    $texts = [];
    for ($n = 0; $n < %d; $n++) {
        $seen = [];
        $texts[] = bin2hex(serialize($value(0)));
    }
    return $texts;
"""


@pytest.mark.parametrize("seed", range(4))
def test_what_php_makes_up_is_written_back_byte_for_byte(php, seed):
    texts = [bytes.fromhex(text) for text in php.evaluate(RANDOM % (seed, 500))]

    assert [text for text in texts if dumps(loads(text)) != text] == []
    assert len({len(text) for text in texts}) > 100
