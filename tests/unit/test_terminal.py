import io

import pytest

from liteq import terminal
from liteq.terminal import Cell, Column, Screen


class Terminal(io.StringIO):
    """A stream that says it is a terminal; its size is that of COLUMNS."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def fileno(self):
        raise OSError("not a real one")


@pytest.fixture
def seen(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "30")
    return Terminal()


COLUMNS = [Column("ID", number=True), Column("TASK"), Column("NOTE")]


def test_a_pipe_gets_tab_separated_values_without_headings_or_colours():
    pipe = io.StringIO()

    Screen(pipe).table(
        COLUMNS, [[Cell("1,000", "1000"), Cell("add", style="red"), Cell("3 s ago", "09:00")]]
    )

    assert pipe.getvalue() == "1000\tadd\t09:00\n"


def test_a_value_cannot_break_the_lines_and_cells_of_a_pipe():
    pipe = io.StringIO()

    Screen(pipe).table(COLUMNS[:2], [[Cell("1"), Cell("a\tb\nc")]])

    assert pipe.getvalue() == "1\ta b c\n"


def test_a_person_gets_aligned_columns_with_headings(seen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    Screen(seen).table(
        COLUMNS, [[Cell("7"), Cell("add"), Cell("")], [Cell("12"), Cell("b"), Cell("x")]]
    )

    assert seen.getvalue().splitlines() == ["ID  TASK  NOTE", " 7  add", "12  b     x"]


def test_the_last_column_is_cut_at_the_edge_of_the_terminal(seen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    Screen(seen).table(COLUMNS, [[Cell("7"), Cell("add"), Cell("n" * 50)]])

    assert seen.getvalue().splitlines()[1] == " 7  add   " + "n" * 19 + "…"


def test_wide_characters_take_two_columns(seen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    Screen(seen).table(
        COLUMNS, [[Cell("1"), Cell("名前"), Cell("x")], [Cell("2"), Cell("abcd"), Cell("y")]]
    )

    assert seen.getvalue().splitlines()[1:] == [" 1  名前  x", " 2  abcd  y"]


def test_colours_are_for_terminals_that_want_them(seen, monkeypatch):
    assert Screen(seen).paint("x", "red") == "\x1b[31mx\x1b[0m"
    assert Screen(seen).paint("", "red") == ""
    assert Screen(io.StringIO()).paint("x", "red") == "x"
    monkeypatch.setenv("TERM", "dumb")
    assert Screen(seen).paint("x", "red") == "x"
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen(seen).paint("x", "red") == "x"


def test_what_a_job_says_cannot_drive_the_terminal(seen):
    Screen(seen).table([Column("NOTE")], [[Cell("\x1b[2J\x07 Привет")]])

    assert seen.getvalue().splitlines()[1] == r"\x1b[2J\x07 Привет"


def test_marks_are_ascii_where_the_encoding_has_no_others(seen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    assert Screen(seen).mark("fault") == "✗"

    seen.encoding = "ascii"

    assert Screen(seen).mark("fault") == "x"
    assert Screen(io.StringIO()).mark("fault") == "fault"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("名前は", 4, "名…"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
    ],
)
def test_text_is_cut_by_what_it_takes_on_the_screen(text, width, shown):
    assert terminal.cut(text, width) == shown


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.0004, "<1 ms"),
        (0.25, "250 ms"),
        (0.9996, "1.0 s"),
        (9.94, "9.9 s"),
        (42.4, "42 s"),
        (119, "119 s"),
        (120, "2 min"),
        (3540, "59 min"),
        (3599, "1 h"),
        (7500, "2 h 5 min"),
        (86400 * 4, "4 d"),
    ],
)
def test_durations_are_said_in_the_unit_that_matters(seconds, said):
    assert terminal.duration(seconds) == said


@pytest.mark.parametrize(
    ("then", "said"),
    [
        (100.5, "now"),
        (98, "2 s ago"),
        (103, "in 3 s"),
        (100 - 600, "10 min ago"),
        (1000, "in 15 min"),
    ],
)
def test_a_moment_is_said_from_now(then, said):
    assert terminal.ago(then, now=100) == said


@pytest.mark.parametrize("columns", ["", "wide"])
def test_without_a_size_a_terminal_has_80_columns(seen, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)

    assert Screen(seen).width == 80


def test_local_time_is_shown_to_the_second(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()

    assert terminal.local(1769850000.9) == "2026-01-31 09:00:00"
