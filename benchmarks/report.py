"""Report: figures, the arithmetic over rounds, and how they are printed. Measures nothing."""

import math
import statistics
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Sense = Literal["≥", "≤", "<"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is to reach: its value, or its ratio to the raw limit."""

    of: Literal["value", "ratio"]
    sense: Sense
    bound: float

    def met(self, value: float, ratio: float | None) -> bool | None:
        """Whether it is reached; None where the run has not measured it."""
        measured = value if self.of == "value" else ratio
        if measured is None or math.isnan(measured):
            return None
        if self.sense == "≥":
            return measured >= self.bound
        return measured <= self.bound if self.sense == "≤" else measured < self.bound


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table."""

    name: str
    value: float
    unit: str
    raw: float | None = None  # in the same unit
    ratio: float | None = None  # value to raw: the median over the rounds, not of the medians
    targets: tuple[Target, ...] = ()
    how: str = ""  # a footnote: what `value` and `raw` are, and how they were measured

    def verdict(self) -> str:
        """`yes`, `no`, or nothing where there is no target; one word for each target."""
        words = {True: "yes", False: "NO", None: "?"}
        return ", ".join(words[target.met(self.value, self.ratio)] for target in self.targets)


def at_least(bound: float, of: Literal["value", "ratio"] = "value") -> Target:
    """The target `≥ bound`."""
    return Target(of, "≥", bound)


def at_most(bound: float, of: Literal["value", "ratio"] = "value") -> Target:
    """The target `≤ bound`."""
    return Target(of, "≤", bound)


def alternate(rounds: int, *contenders: Callable[[], float]) -> list[list[float]]:
    """What each contender returned in each round; they take turns, so drift hits all alike.

    Every second round goes the other way round: none always follows the same other one.
    """
    results: list[list[float]] = [[] for _ in contenders]
    for turn in range(rounds):
        order = range(len(contenders))
        for index in order if turn % 2 == 0 else reversed(order):
            results[index].append(contenders[index]())
    return results


def ratio(values: Sequence[float], raws: Sequence[float]) -> float:
    """The median of value to raw, round by round."""
    return statistics.median(value / raw for value, raw in zip(values, raws, strict=True))


def compared(
    name: str,
    unit: str,
    values: Sequence[float],
    raws: Sequence[float],
    *targets: Target,
    how: str = "",
) -> Figure:
    """The figure of a contender and its raw limit that were measured in the same rounds."""
    return Figure(
        name,
        statistics.median(values),
        unit,
        statistics.median(raws),
        ratio(values, raws),
        targets,
        how,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` % of the values do not exceed (nearest rank).

    Raises ValueError if there are no values.
    """
    if not values:
        raise ValueError("no percentile of no values")
    rank = math.ceil(percent / 100 * len(values))
    return sorted(values)[max(1, rank) - 1]


def table(figures: Sequence[Figure]) -> str:
    """The figures as aligned text, footnotes below."""
    notes = _notes(figures)
    heads = ("", "measured", "raw limit", "ratio", "target", "met", "note")
    rows = [heads, *(_row(figure, notes) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = [_line(row, widths) for row in rows]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, "", *(_footnote(number, note) for note, number in notes.items())])


def as_data(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """The figures for JSON: all fields, and whether each target is met."""
    return [
        {**asdict(figure), "met": [t.met(figure.value, figure.ratio) for t in figure.targets]}
        for figure in figures
    ]


def _notes(figures: Sequence[Figure]) -> dict[str, int]:
    texts = dict.fromkeys(figure.how for figure in figures if figure.how)
    return {text: number for number, text in enumerate(texts, 1)}


def _footnote(number: int, note: str) -> str:
    return textwrap.fill(f"[{number}] {note}", 100, subsequent_indent="    ")


def _row(figure: Figure, notes: dict[str, int]) -> tuple[str, ...]:
    targets = ", ".join(_said(target, figure) for target in figure.targets)
    return (
        figure.name,
        quantity(figure.value, figure.unit),
        "" if figure.raw is None else quantity(figure.raw, figure.unit),
        "" if figure.ratio is None else _ratio_text(figure.ratio),
        targets,
        figure.verdict(),
        f"[{notes[figure.how]}]" if figure.how else "",
    )


def _line(row: tuple[str, ...], widths: Sequence[int]) -> str:
    name, measured, raw, *rest = (
        cell.ljust(width) if column in {0, 4, 5, 6} else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join((name, measured, raw, *rest)).rstrip()


def _said(target: Target, figure: Figure) -> str:
    if target.of == "value":
        return f"{target.sense} {quantity(target.bound, figure.unit)}"
    return f"{target.sense} {_ratio_text(target.bound)}"


def _ratio_text(number: float) -> str:
    return f"{number * 100:.0f} %" if number < 1 else f"{number:.2f} ×"


def quantity(number: float, unit: str) -> str:
    """`41,234/s`, `0.61 ms`: as many digits as mean something."""
    if math.isnan(number):
        return "-"
    text = f"{number:,.0f}" if number >= 100 else f"{number:.3g}"
    return f"{text}{unit}" if unit.startswith("/") else f"{text} {unit}"
