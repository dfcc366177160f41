"""Promises of `lara_queue.dotenv`: a `.env` file means here what it means to Laravel."""

import time

import judging
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from lara_queue import dotenv

FILES = [
    "A=b",
    "A=b\nB=c\r\nC=d\rD=e",
    "A=\nB= \nC=''\nD=\"\"",
    "A",
    "A=1\nA=2\nA",
    "A = b \n  B=c",
    "# comment\n  # another\n\nA=b # behind\nB=c#d\nC='#'#e\nD=\"# f\" # g\nE=#",
    "A='b c'\nB=\"c d\"\nC='a\"b'\nD=\"a'b\"",
    'A=\'a\\nb\\\\c\'\nB="a\\nb\\\\c\\"d\\te\\$f"',
    'A=a\\nb\nB=c\'d\nC=e"f"',
    'A="one\ntwo\n  three"\nB=after',
    'A="one\n# no comment\n"\nB=after',
    '# say="hello\nA=swallowed\nB=end" \nC=left',
    "export AA=b\nexport\tBB=c\nexportC=d\nexport=e",
    "'A'=b\n\"B\"=c",
    'A=x\nB=${A}\nC="${A}y"\nD=\'${A}\'\nE=$A\nF=${NONE}\nG=\\${A}\nH="\\${A}"',
    'A=B\nB=x\nC=${${A}}\nD=${A}${B}\nE="${A} ${B} ${C}"\nF=${A\nG=$',
    "A=${B}\nB=x\nC=${A}",
    "A=b=c==\nB=https://x.y/?a=b&c=d",
    "A.B=c\nA_1=d\n1A=e",
    "A=base64:k/x+y=\nB=null\nC=(true)\nD='null'",
    "A=ünïcode\nB=\"日本\"\nC='🎉'",
    "A=  spaced  \nB='  kept  '",
    "A='x'   # y\nB=\"x\"   ",
    'A=$$\nB="$"\nC=${}\nD=${a-b}',
    'A="x\\\\"\nB="\\\\\\""',
    'REDIS_PASSWORD="p@ss#w$rd"\nMAIL_FROM_NAME="${APP_NAME}"',
]
BROKEN = [
    ("A=b\nB=c d", ":2: ", "needs quotes"),
    ("A=b\n=c", ":2: ", "no name"),
    ("A='b\nC=d", ":1: ", "never closed"),
    ('A=b\nB="b\nC=d\n', ":2: ", "never closed"),
    ('A="\\q"', ":1: ", "backslash"),
    ("\n\nno variable", ":3: ", "NAME=value"),
    ("A-B=c", ":1: ", "NAME=value"),
    ("export A=b", ":1: ", "NAME=value"),  # eight letters are too few for phpdotenv
    ("A='b'c", ":1: ", "needs quotes"),
    ('A="1\n2\n3"x', ":1: ", "needs quotes"),
]
WORDS = ["true", "TRUE", "(true)", "false", "(False)", "null", "NULL", "(null)", "empty", "(Empty)",
         "", "0", "1", "'a'", '"a"', "'a\"", "''", "'", "truth", "nullx", " true", "'true'",
         "\"a'b\"", "a\nb", "'a\nb'", "no", "none"]  # fmt: skip
# Each try starts a PHP, and the assertion names the one file anyway.
_UNSHRUNK = [Phase.explicit, Phase.reuse, Phase.generate]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
HARD = st.text("ab \\\"'$#{}=\n\r\t\v\f.A", max_size=12)


def test_real_laravel_env_file_is_read():
    text = (
        'APP_NAME="My Shop"\nAPP_KEY=base64:c2VjcmV0\n\n# queues\nQUEUE_CONNECTION=redis\n'
        'REDIS_PASSWORD=null\nMAIL_FROM_NAME="${APP_NAME}"\nAWS_BUCKET=\n'
    )

    seen = dotenv.load(text, ".env", {})

    assert seen == {
        "APP_NAME": "My Shop",
        "APP_KEY": "base64:c2VjcmV0",
        "QUEUE_CONNECTION": "redis",
        "REDIS_PASSWORD": "null",
        "MAIL_FROM_NAME": "My Shop",
        "AWS_BUCKET": "",
    }


def test_variables_of_the_process_win():
    text = "A=file\nB=${A}\nC\nD=file"

    seen = dotenv.load(text, ".env", {"A": "process", "C": "process"})

    assert seen == {"A": "process", "B": "process", "C": "process", "D": "file"}


@pytest.mark.parametrize(("text", "where", "what"), BROKEN)
def test_broken_entry_is_named_by_file_and_line(text, where, what):
    with pytest.raises(ValueError, match=what) as caught:
        dotenv.load(text, "/srv/app/.env", {})

    assert str(caught.value).startswith(f"/srv/app/.env{where}")


def test_message_about_a_broken_entry_shows_no_value():
    with pytest.raises(ValueError, match=":2: ") as caught:
        dotenv.load("A=b\nPASSWORD=s3cret key\n", ".env", {})

    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "A0=xxxxxxxxxx\n" + "".join(f"A{n}=${{A{n - 1}}}${{A{n - 1}}}\n" for n in range(1, 80)),
        "A=" + "x" * 500_000 + "\n" + "".join(f"B{n}=${{A}}\n" for n in range(1000)),
    ],
)
def test_variables_that_multiply_are_refused(text):
    with pytest.raises(ValueError, match="more than 1000000 characters"):
        dotenv.load(text, ".env", {})


@pytest.mark.parametrize(
    "text",
    [
        "A=" + "$" * 200_000,
        "A=" + "${" * 100_000,
        "A=" + "${A" * 100_000,
        'A="' + "\\$" * 100_000 + '"',
        "A=b\n" * 100_000,
        'A="' + "x\n" * 100_000,
    ],
)
def test_hostile_file_is_read_or_refused_quickly(text):
    start = time.monotonic()

    try:
        dotenv.load(text, ".env", {})
    except ValueError as error:
        assert str(error).startswith(".env:")  # noqa: PT017

    assert time.monotonic() - start < 5


@given(st.one_of(TEXT, HARD))
@example('"\\')
@example("${A}")
def test_quoted_value_is_read_back(text):
    assert dotenv.load(f"X={dotenv.quoted(text)}\n", ".env", {"A": "b"})["X"] == text


@settings(max_examples=10, phases=_UNSHRUNK)
@given(st.lists(st.one_of(TEXT, HARD), min_size=20, max_size=100))
def test_php_reads_quoted_values_too(need, texts):
    need(judging.there(), "PHP with Laravel's classes")

    files = [f"X={dotenv.quoted(text)}\nY=z" for text in texts]

    assert judging.judge("dotenv", files) == [(True, {"X": text, "Y": "z"}) for text in texts]


def test_php_reads_the_same_from_each_file(need):
    need(judging.there(), "PHP with Laravel's classes")

    answers = judging.judge("dotenv", FILES)

    # `A` alone clears a variable: PHP's parse() shows it as null, env() as not there.
    php = [{k: v for k, v in seen.items() if v is not None} for _, seen in answers]
    assert [fine for fine, _ in answers] == [True] * len(FILES)
    assert [dotenv.load(text, ".env", {}) for text in FILES] == php


@settings(max_examples=10, phases=_UNSHRUNK)
@given(
    st.lists(
        st.text("ab=\"'\\$#{}\n _.", max_size=30).map(lambda tail: "A=x\nB=" + tail),
        min_size=50,
        max_size=200,
    )
)
def test_php_reads_the_same_from_any_file(need, files):
    need(judging.there(), "PHP with Laravel's classes")

    for text, (fine, seen) in zip(files, judging.judge("dotenv", files), strict=True):
        try:
            ours = dotenv.load(text, ".env", {})
        except ValueError as error:
            # PHP leaves out silently what is behind a quote that is never closed.
            assert not fine or "never closed" in str(error), text  # noqa: PT017
        else:
            assert fine, text
            assert ours == {k: v for k, v in seen.items() if v is not None}, text


def test_php_agrees_on_what_env_means(need):
    need(judging.there(), "PHP with Laravel's classes")

    answers = judging.judge("env", WORDS)

    assert [(True, dotenv.meant(word)) for word in WORDS] == answers
