"""Promises of `lara_queue.phpconfig` and `slugs`: what is known is what PHP would say."""

import time

import judging
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from lara_queue import phpconfig, slugs
from lara_queue.phpconfig import Scope, Table, Unknown

ENV = {"APP_NAME": "My Café", "N": "12", "NOTHING": "null", "YES": "true", "EMPTY": "", "ZERO": "0"}
SCOPE = Scope(ENV, "/srv/app", "/srv/app/config")
KNOWN = [
    "'a'",
    "'it\\'s \\\\ \\n'",
    '"a\\n\\t\\x41\\101\\u{e9}\\$x\\\\ \\q"',
    "1",
    "-5",
    "0x1F",
    "0b101",
    "0777",
    "1_000",
    "1.5",
    ".5",
    "1e3",
    "true",
    "NULL",
    "[]",
    "array()",
    "[1, 'a' => 2, 3, '7' => 4, 5, null => 6, true => 7, 1.7 => 8,]",
    "array('a' => array(1, 2), 'b' => [['c' => []]],)",
    "[1, ...[5, 6], 'x' => 1, ...['x' => 2, 'y' => 3]]",
    "env('APP_NAME')",
    "env('NOT_THERE', 'default')",
    "env('NOT_THERE')",
    "env('NOTHING', 'default')",
    "env('YES', 'default')",
    "env('EMPTY', 'default')",
    "\\env('N', 1)",
    "(int) env('N', 3)",
    "(int) '12abc'",
    "(int) 'abc'",
    "(int) null",
    "(integer) ' 7'",
    "(string) 12",
    "(string) null",
    "(string) true",
    "(string) 1.0",
    "'' . 1 / 3",
    "(bool) '0'",
    "(boolean) 'x'",
    "(float) 2",
    "(array) 'x'",
    "(bool) env('NOT_THERE')",
    "! env('YES')",
    "Str::slug(env('APP_NAME', 'laravel'), '_').'_database_'",
    "Str::slug((string) env('NOT_THERE', 'laravel')).'-database-'",
    "\\Illuminate\\Support\\Str::slug('A_B c')",
    "\\Illuminate\\Support\\Env::get('N')",
    "'a' . 1 . 'b'.null.true.false",
    "60 * 60 + 1",
    "2 + 3 * 4 - 1",
    "(2 + 3) * 4",
    "7 / 2",
    "6 / 2",
    "-7 % 3",
    "env('N') * 2",
    "'a'.(1 + 2).'b'",
    "true ? 'y' : 'n'",
    "null ?: 'other'",
    "'0' ?: 'other'",
    "null ?? false ?? 'x'",
    "env('NOT_THERE') ?? 'x'",
    "env('APP_NAME') === 'My Café' ? 'yes' : 'no'",
    "1 === 1.0",
    "'a' == 'b'",
    "3 != 4",
    "2 > 1 && 1 >= 1 || false",
    "1 < 2 ? (2 <= 1 ? 'a' : 'b') : 'c'",
    "false || true && false",
    "!true == false",
    "['a' => ['b' => 3]]['a']['b']",
    "[...array_filter(explode(',', (string) env('NOT_THERE', 'a,,b,0')))]",
    "array_filter(['a' => 1, 'b' => null, 'c' => ''])",
    "array_merge(['a' => 1, 5], ['a' => 2, 6], [])",
    "['a' => 1] + ['a' => 2, 'b' => 3]",
    'trim(" x\\n")',
    "dirname('/a/b/c')",
    "database_path('database.sqlite')",
    "storage_path('framework/cache')",
    "base_path()",
    "App\\Models\\User::class",
    "Str::class",
    "PHP_EOL.DIRECTORY_SEPARATOR",
    "@env('N')",
    "'a' /* comment */ . 'b' // more\n . 'c' # and more\n",
    '"plain $ and \\$name {x}"',
]
UNKNOWN = [
    ("my_prefix()", "my_prefix()"),
    ("env('NOT_THERE', foo(1, [2]))", "foo(1, [2])"),
    ("'a'.config('app.name')", "config('app.name')"),
    ("app()->version()", "app()->version()"),
    ("Str::of('x')->slug('_')", "Str::of('x')->slug('_')"),
    ('"a {$b} c"', '"a {$b} c"'),
    ('"a$b"', '"a$b"'),
    ("fn () => 1", "fn () => 1"),
    ("function ($x) { return [1, 2]; }", "function ($x) { return [1, 2]; }"),
    ("new Foo(1)", "new Foo(1)"),
    ("PHP_VERSION_ID >= 80500 ? 1 : 2", "PHP_VERSION_ID"),
    ("extension_loaded('x') ? [1] : []", "extension_loaded('x')"),
    ("$nowhere['x'] ?? 1", "$nowhere['x']"),
    ("match(true) { default => 1 }", "match(true) { default => 1 }"),
    ("require 'x.php'", "require 'x.php'"),
    ("env(key: 'N')", "env(key: 'N')"),
    ("'1' == '01'", "'1' == '01'"),
    ("9999999999999999999", "9999999999999999999"),
    ("1 << 3", "1 << 3"),
    ("Str::slug('日本')", "Str::slug('日本')"),
    ("Str::slug('x', '.')", "Str::slug('x', '.')"),
    ("Redis::SERIALIZER_PHP", "Redis::SERIALIZER_PHP"),
    ("<<<'X'\ntext\nX", "<<<'X' text X"),
    ("`ls`", "`ls`"),
    ('"\\xff"', '"\\xff"'),
    ('"\\u{d800}"', '"\\u{d800}"'),
    ("(int) '1e3'", "(int) '1e3'"),
    ("env(f())", "f()"),
    ("explode('', 'a')", "explode('', 'a')"),
    ("explode(',', f())", "f()"),
    ("trim(f())", "f()"),
    ("dirname('relative')", "dirname('relative')"),
    ("dirname(f())", "f()"),
    ("base_path(f())", "f()"),
    ("storage_path([])", "storage_path([])"),
    ("array_filter([f()])", "array_filter([f()])"),
    ("array_filter(f())", "f()"),
    ("array_merge([], f())", "f()"),
    ("[1][f()]", "[1][f()]"),
    ("1 ? 2", "1 ? 2"),
]
FILES = {
    "imports": ("use A\\B;\nuse C\\D as E;\nreturn [B::class, E::class];", ["A\\B", "C\\D"]),
    "no import": ("use A\\B;\nreturn [\\B::class];", ["B"]),
    "a variable": ("$a = env('N');\nreturn [$a . '!'];", ["12!"]),
    "a declaration": ("declare(strict_types=1);\nreturn [1];", [1]),
    "a function": ("function f() { return 2; }\nreturn [1];", [1]),
    "a closing tag": ("return [1]; ?>\n", [1]),
    "an array by steps": ("$a = ['x' => [1, 2]];\nreturn $a['x'];", [1, 2]),
}  # fmt: skip
ATOMS = st.sampled_from(
    "'a' '' '0' '7' 'x_Y z' 0 1 -3 2.5 true false null [] [1,'k'=>'v'] env('N') env('APP_NAME') "
    "env('NOTHING') env('NO') env('ZERO')".replace("'x_Y z'", "'x_Y~z'").split()
).map(lambda atom: atom.replace("~", " "))


def composed(parts):
    two = st.tuples(parts, parts)
    operators = st.sampled_from(". + - * / % === !== == != < > <= >= && || ?? ?:".split())
    return st.one_of(
        st.tuples(parts, operators, parts).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        st.tuples(parts, parts, parts).map(lambda p: f"({p[0]} ? {p[1]} : {p[2]})"),
        st.tuples(st.sampled_from(["(int)", "(string)", "(bool)", "!", "-", "(array)"]), parts).map(
            lambda p: f"({p[0]} {p[1]})"
        ),
        two.map(lambda p: f"[{p[0]}, 'k' => {p[1]}]"),
        two.map(lambda p: f"[{p[0]}, ...[{p[1]}]]"),
        two.map(lambda p: f"env('NO', {p[0]})"),
        parts.map(lambda p: f"Str::slug((string) {p})"),
        st.lists(parts, max_size=3).map(lambda p: " . ".join(["'x'", *p])),
        st.lists(parts, min_size=1, max_size=4).map(" + ".join),
    )


EXPRESSIONS = st.recursive(ATOMS, composed, max_leaves=8)


def value_of(expression):
    text = f"<?php\n\nuse Illuminate\\Support\\Str;\n\nreturn {expression};\n"
    return phpconfig.read(text, "config/x.php", SCOPE)


def read(code):
    return phpconfig.read(f"<?php\n{code}", "config/x.php", SCOPE)


def shown(value):
    """As the judge shows it."""
    if isinstance(value, Table):
        assert value.rest is None
        return ["array", [[key, shown(each)] for key, each in value.entries.items()]]
    return value


def known(value):
    """Whether nothing in it is unknown."""
    if isinstance(value, Table):
        return value.rest is None and all(known(each) for each in value.entries.values())
    return not isinstance(value, Unknown)


def same(one, other):
    """Equal, and of one type: PHP tells 1, 1.0 and true apart."""
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@pytest.mark.parametrize("expression", KNOWN)
def test_what_config_files_are_made_of_is_known(expression):
    assert known(value_of(expression))


def test_php_says_the_same_of_what_is_known(need):
    need(judging.there(), "PHP with Laravel's classes")

    answers = judging.judge("value", KNOWN, ENV)

    for expression, answer in zip(KNOWN, answers, strict=True):
        assert same(list(answer), [True, shown(value_of(expression))]), expression


# Without shrinking: each try starts a PHP, and the assertion names the one expression anyway.
@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.lists(EXPRESSIONS, min_size=50, max_size=150))
def test_php_says_the_same_of_any_expression_that_is_known(need, expressions):
    need(judging.there(), "PHP with Laravel's classes")

    for expression, (fine, php) in zip(
        expressions, judging.judge("value", expressions, ENV), strict=True
    ):
        ours = value_of(expression)
        if known(ours) and fine:  # what makes PHP fail says nothing
            assert same(shown(ours), php), expression


@pytest.mark.parametrize(("expression", "source"), UNKNOWN)
def test_anything_else_is_unknown_and_remembers_its_text_and_line(expression, source):
    assert value_of(expression) == Unknown(source, "config/x.php", 5)


@pytest.mark.parametrize(("expression", "source"), UNKNOWN)
def test_what_is_unknown_hides_nothing_around_it(expression, source):
    value = value_of(f"['before' => 1, 'odd' => {expression}, 'after' => [2, 'x' => {expression}]]")

    assert value.get("before") == 1
    assert value.get("odd").source == source
    assert value.get("after").get(0) == 2


@pytest.mark.parametrize("name", FILES)
def test_statements_before_the_return_are_followed(name):
    code, entries = FILES[name]

    assert list(read(code).entries.values()) == entries


@pytest.mark.parametrize(
    "code",
    [
        "if (x()) { return [1]; }\nreturn [2];",
        "foreach ($a as $b): return [1]; endforeach;\nreturn [2];",
        "$a = 1;\nchange($a);\nreturn $a;",
        "$a = 1;\nif (x()) { $a = 2; }\nreturn $a;",
        "$a['x'] = 1;\nreturn $a;",
        "echo 1;",
        "",
    ],
)
def test_file_whose_value_is_in_doubt_is_unknown(code):
    assert isinstance(read(code), Unknown)


def test_entries_before_an_unknown_spread_are_unknown():
    value = value_of("['a' => 1, ...require 'more.php', 'b' => 2]")

    assert isinstance(value.get("a"), Unknown)
    assert value.get("b") == 2
    assert isinstance(value.get("c"), Unknown)


@pytest.mark.parametrize(
    "expression",
    [
        "array_merge(['a' => 1], [...f(), 'b' => 2])",
        "[...f(), 'b' => 2] + ['a' => 1]",
        "[...['a' => 1], ...[...f(), 'b' => 2]]",
    ],
)
def test_what_an_unknown_part_may_replace_is_unknown(expression):
    value = value_of(expression)

    assert isinstance(value.get("a"), Unknown)
    assert value.get("b") == 2


def test_directory_of_the_file_is_known():
    assert value_of("__DIR__.'/../x'") == "/srv/app/config/../x"


def test_entry_under_an_unknown_key_leaves_others_known():
    value = value_of("[(PHP_VERSION_ID > 80500 ? \\Pdo\\Mysql::A : \\PDO::B) => 1, 'x' => 2]")

    assert value.get("x") == 2
    assert isinstance(value.get("y"), Unknown)


@pytest.mark.parametrize(
    ("code", "line", "what"),
    [
        ("return f(1 => 2);", 2, "comma is missing"),
        ("return ['a' => 'b", 2, "string is never closed"),
        ('return [\n"b];\n', 3, "string is never closed"),
        ("/* return [];", 2, "comment is never closed"),
        ("return <<<X\nabc\n", 2, "string is never closed"),
        ("return [\n1, [2, 3];", 2, "`\\[` is never closed"),
        ("return [1, 2);", 2, "without its opening bracket"),
        ("return [1 => 2 => 3];", 2, "comma is missing"),
        ("return [,];", 2, "value is missing"),
        ("return", 2, "value is missing"),
        ("return " + "[" * 51 + "]" * 51 + ";", 2, "nested deeper than 50"),
        ("return " + "(" * 51 + "1" + ")" * 51 + ";", 2, "nested deeper than 50"),
    ],
)
def test_broken_file_is_named_with_its_line(code, line, what):
    with pytest.raises(ValueError, match=what) as caught:
        read(code)

    assert str(caught.value).startswith(f"config/x.php:{line}: ")


@pytest.mark.parametrize("text", ["", "return [];", "hello <?php return [];", "<? return [];"])
def test_file_that_is_no_php_is_refused(text):
    with pytest.raises(ValueError, match=r"config/x.php:1: .* <\?php"):
        phpconfig.read(text, "config/x.php", SCOPE)


@pytest.mark.parametrize(
    "expression",
    [
        "[" * 100_000 + "]" * 100_000,
        "(" * 100_000 + "1" + ")" * 100_000,
        "'" + "\\'" * 300_000,
        '"' + "a" * 500_000,
        "/*" * 200_000,
        "!" * 200_000 + "1",
        "'a'" + ".'a'" * 100_000,
        "1" + "?1:1" * 50_000,
        "null" + "??null" * 50_000,
        "9" * 500_000,
        "0x" + "f" * 500_000,
        "[" + "$x->y," * 50_000 + "]",
        "[" + "[" * 48 + "x()" + "]->a" * 48 + "]",
        "f(" * 49 + "1" + ")->x" * 49,
        "a::" * 100_000 + "b",
        "<<<A\n" * 50_000,
    ],
    ids=lambda expression: expression[:10],
)
def test_hostile_file_is_read_or_refused_quickly(expression):
    start = time.monotonic()

    try:
        value_of(expression)
    except ValueError as error:
        assert str(error).startswith("config/x.php:")  # noqa: PT017

    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    "code",
    [
        "$a = 'x';" + "$a = $a . $a;" * 60 + "return $a;",
        "$a = [1];" + "$a = array_merge($a, $a);" * 60 + "return $a;",
        "$a = [1];" + "$a = [...$a, ...$a];" * 60 + "return $a;",
    ],
)
def test_values_that_multiply_become_unknown(code):
    assert not known(read(code))


@settings(max_examples=300)
@given(st.text("$'\"[](){}<?php>=>,;.:/*#\\ \nenv1a", max_size=60))
def test_any_text_gives_a_value_or_a_clear_error(text):
    try:
        phpconfig.read("<?php return " + text, "config/x.php", SCOPE)
    except ValueError as error:
        assert str(error).startswith("config/x.php:")  # noqa: PT017


@pytest.mark.parametrize("separator", ["-", "_"])
def test_php_makes_the_same_slug_of_each_letter_that_is_known(need, separator):
    need(judging.there(), "PHP with Laravel's classes")
    letters = [chr(code) for code in [*range(1, 0x250), *range(0x2010, 0x2070), 0x20AC, 0x1F389]]
    names = [f"{first}{letter}{last}" for letter in letters for first in ("", "a") for last in "b "]

    answers = judging.judge("slug", [[name, separator] for name in names])

    ours = [slugs.slug(name, separator) for name in names]
    told = [(name, slug) for name, slug in zip(names, ours, strict=True) if slug is not None]
    assert len(told) > 1000
    assert told == [
        (name, php)
        for name, (_, php), slug in zip(names, answers, ours, strict=True)
        if slug is not None
    ]


@pytest.mark.parametrize("name", ["日本", "Привет", "Ω", "shop 🎉", "½"])
def test_slug_of_letters_that_are_not_known_is_none(name):
    assert slugs.slug(name) is None
