"""Backoff: how long to wait before the next attempt, and which errors deserve one.

Pure arithmetic; whether attempts are left at all is lifecycle's question.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Strategy = Literal["exponential", "linear", "fixed"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When a failed job runs again. Give it to a task: `@task(retry=RetryPolicy("fixed", 5))`.

    `strategy` is "exponential" (first, first·multiplier, first·multiplier² …), "linear" (first,
    2·first, 3·first …), "fixed" (always first), or a function of the attempt (from 1) that returns
    seconds. No wait is longer than `cap`. `jitter` takes a random share of up to that fraction off
    each wait, so that jobs which failed together do not come back together.

    An error is retried when it is an instance of one of `only` and of none of `never`.
    Raises ValueError for a strategy, time or fraction that makes no sense.
    Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
    """

    strategy: Strategy | Callable[[int], float] = "exponential"
    first: float = 10.0
    cap: float = 300.0
    multiplier: float = 2.0
    jitter: float = 0.1
    only: tuple[type[BaseException], ...] = (Exception,)
    never: tuple[type[BaseException], ...] = ()

    def __post_init__(self) -> None:
        """Refuse what could never work, at the line that wrote it."""
        if not callable(self.strategy) and self.strategy not in ("exponential", "linear", "fixed"):
            raise ValueError(
                f"retry strategy {self.strategy!r} is not known; "
                "use 'exponential', 'linear', 'fixed' or a function of the attempt"
            )
        if self.first < 0 or self.cap < 0 or self.multiplier <= 0:
            raise ValueError(
                f"first={self.first!r} and cap={self.cap!r} must be 0 or more seconds, "
                f"multiplier={self.multiplier!r} more than 0"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter={self.jitter!r} must be a fraction from 0 to 1")

    def wait(self, attempt: int, chance: float = 0.0) -> float:
        """Seconds to wait after run number `attempt` (from 1) has failed.

        `chance` is a random number from 0 to 1 that the caller draws; 0 means no jitter.
        Raises ValueError if attempt < 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts count from 1, not {attempt!r}")
        return self._bare(attempt) * (1 - self.jitter * chance)

    def deserves(self, error: BaseException) -> bool:
        """Whether this error is to be retried at all."""
        return isinstance(error, self.only) and not isinstance(error, self.never)

    def _bare(self, attempt: int) -> float:
        if callable(self.strategy):
            return min(self.cap, max(0.0, float(self.strategy(attempt))))
        if self.strategy == "fixed":
            return min(self.cap, self.first)
        if self.strategy == "linear":
            return min(self.cap, self.first * attempt)
        try:
            return min(self.cap, self.first * self.multiplier ** (attempt - 1))
        except OverflowError:  # an attempt in the thousands
            return self.cap


DEFAULT = RetryPolicy()
