"""Metrics: how many jobs, how fast, how they ended; as a dict that can also be awaited."""

import time
from collections import Counter, deque
from collections.abc import Generator
from typing import Any

_WINDOW = 60.0  # seconds that the throughput is counted over
_LAST_RUNS = 1000  # whose times the percentiles are of


class Metrics(dict[str, Any]):
    """The figures of one moment. `await` gives the same, for code that awaits `get_metrics()`."""

    def __await__(self) -> Generator[Any, None, "Metrics"]:
        """Itself, at once."""
        return self
        yield


class Meter:
    """Counts what a queue's jobs do. Times are steady seconds."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._ends: deque[tuple[int, int]] = deque()  # (second, runs that ended in it)
        self._times: deque[float] = deque(maxlen=_LAST_RUNS)
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()

    def count(self, event: str, seconds: float, error: str | None) -> None:
        """Count a run that ended as `processed`, `retrying` or `failed`."""
        self._counts[event] += 1
        self._times.append(seconds)
        if error:
            self._errors[error.partition(":")[0]] += 1
        second = int(time.monotonic())
        if self._ends and self._ends[-1][0] == second:
            self._ends[-1] = (second, self._ends[-1][1] + 1)
        else:
            self._ends.append((second, 1))
            self._drop_old(second)

    def read(self, processing: int) -> Metrics:
        """The figures now, with `processing` jobs in hand."""
        now = time.monotonic()
        self._drop_old(int(now))
        ended = sum(number for _, number in list(self._ends))
        times = sorted(self._times)
        return Metrics(
            jobs={
                "processed": self._counts["processed"],
                "retried": self._counts["retrying"],
                "failed": self._counts["failed"],
                "processing": processing,
            },
            performance={
                "throughput_per_second": ended / max(0.001, min(_WINDOW, now - self._since)),
                "average_seconds": sum(times) / len(times) if times else 0.0,
                "p50_seconds": times[len(times) // 2] if times else 0.0,
                "p95_seconds": times[len(times) * 95 // 100] if times else 0.0,
                "uptime_seconds": now - self._since,
            },
            errors=dict(self._errors),
        )

    def _drop_old(self, second: int) -> None:
        while self._ends and self._ends[0][0] < second - _WINDOW:
            self._ends.popleft()
