"""The arithmetic of the benchmarks, and the table that they print."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import mixing, report
from benchmarks.report import Figure, at_least, at_most


def test_contenders_take_turns_and_every_second_round_runs_backwards():
    order = []

    def contender(name):
        return lambda: order.append(name) or float(len(order))

    columns = report.alternate(3, contender("a"), contender("b"))

    assert order == ["a", "b", "b", "a", "a", "b"]
    assert columns == [[1.0, 4.0, 5.0], [2.0, 3.0, 6.0]]


def test_the_ratio_is_the_median_of_the_rounds_so_that_drift_cancels():
    assert report.ratio([100, 50, 30], [200, 100, 10]) == 0.5


@pytest.mark.parametrize(
    ("percent", "value"), [(0, 1), (1, 1), (50, 50), (95, 95), (99, 99), (99.5, 100), (100, 100)]
)
def test_percentiles_are_by_nearest_rank(percent, value):
    assert report.percentile(range(100, 0, -1), percent) == value


def test_there_is_no_percentile_of_nothing():
    with pytest.raises(ValueError, match="no values"):
        report.percentile([], 50)


@pytest.mark.parametrize(
    ("target", "value", "ratio", "met"),
    [
        (at_least(10), 10, None, True),
        (at_least(10), 9.9, 2.0, False),
        (at_most(5), 5, None, True),
        (at_most(5), 5.1, None, False),
        (at_least(0.4, "ratio"), 1, 0.4, True),
        (at_least(0.4, "ratio"), 1, 0.39, False),
        (report.Target("ratio", "<", 1.3), 1, 1.3, False),
        (at_least(0.4, "ratio"), 1, None, None),
        (at_least(1), float("nan"), None, None),
    ],
)
def test_a_target_says_whether_it_is_met(target, value, ratio, met):
    assert target.met(value, ratio) is met


def test_the_table_lines_up_and_says_each_note_once():
    figures = [
        Figure("a rate", 41_234.5, "/s", 100_000, 0.41, (at_least(40_000),), "how"),
        Figure("a longer name", 0.512, "ms", 0.25, 2.05, (at_most(0.5),), "how"),
        Figure("plain", 12.3456, "MB"),
    ]

    lines = report.table(figures).splitlines()

    assert lines[2].split() == "a rate 41,234/s 100,000/s 41 % ≥ 40,000/s yes [1]".split()
    assert lines[3].split() == "a longer name 0.512 ms 0.25 ms 2.05 × ≤ 0.5 ms NO [1]".split()
    assert lines[4].split() == "plain 12.3 MB".split()
    assert lines[2].index("≥") == lines[3].index("≤") == lines[0].index("target")
    assert [line for line in lines if line.startswith("[1] ")] == ["[1] how"]


def test_figures_become_json_with_their_verdicts():
    figure = Figure("a", 1.0, "/s", 2.0, 0.5, (at_least(2), at_least(0.4, "ratio")))

    [data] = json.loads(json.dumps(report.as_data([figure])))

    assert data["met"] == [False, True]
    assert (data["name"], data["value"], data["raw"], data["ratio"]) == ("a", 1.0, 2.0, 0.5)


def test_the_ideal_of_first_come_first_served():
    sent = [(0.0, 1.0), (0.0, 3.0), (0.5, 0.0), (0.6, 1.0), (5.0, 0.0)]

    assert mixing.first_come_first_served(sent, 2) == [0.0, 0.0, 1.0, 1.0, 5.0]
