"""Backoff: how long to wait before the next attempt, and which errors deserve one.

Pure arithmetic; whether attempts are left at all is lifecycle's question.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

_ENDLESS = float("inf")

Strategy = Literal["exponential", "linear", "fixed"]


class _Policy(NamedTuple):
    strategy: Strategy | Callable[[int], float] = "exponential"
    first: float = 10.0
    cap: float = 300.0
    multiplier: float = 2.0
    jitter: float = 0.1
    only: tuple[type[BaseException], ...] = (Exception,)
    never: tuple[type[BaseException], ...] = ()


class RetryPolicy(_Policy):
    """When a failed job runs again. Give it to a task: `@task(retry=RetryPolicy("fixed", 5))`.

    `strategy` is "exponential" (first, first·multiplier, first·multiplier² …), "linear" (first,
    2·first, 3·first …), "fixed" (always first), or a function of the attempt (from 1) that returns
    seconds. No wait is longer than `cap`. `jitter` takes a random share of up to that fraction off
    each wait, so that jobs which failed together do not come back together.

    An error is retried when it is an instance of one of `only` and of none of `never`.
    Raises ValueError for a strategy, time, fraction or error that makes no sense.
    Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
    """

    # A named tuple, not a dataclass: `import liteq` makes it, and dataclasses take 9 ms to import.
    __slots__ = ()

    def __new__(  # noqa: PYI034 - Self is of Python 3.11
        cls,
        strategy: Strategy | Callable[[int], float] = "exponential",
        first: float = 10.0,
        cap: float = 300.0,
        multiplier: float = 2.0,
        jitter: float = 0.1,
        only: tuple[type[BaseException], ...] = (Exception,),
        never: tuple[type[BaseException], ...] = (),
    ) -> "RetryPolicy":
        """Refuse what could never work, at the line that wrote it."""
        self = super().__new__(cls, strategy, first, cap, multiplier, jitter, only, never)
        if not callable(self.strategy) and self.strategy not in ("exponential", "linear", "fixed"):
            raise ValueError(
                f"retry strategy {self.strategy!r} is not known; "
                "use 'exponential', 'linear', 'fixed' or a function of the attempt"
            )
        if not (0 <= self.first < _ENDLESS and 0 <= self.cap < _ENDLESS and self.multiplier > 0):
            raise ValueError(
                f"first={self.first!r} and cap={self.cap!r} must be 0 or more seconds, "
                f"multiplier={self.multiplier!r} more than 0"
            )
        if not 0 <= self.jitter <= 1:
            raise ValueError(f"jitter={self.jitter!r} must be a fraction from 0 to 1")
        for errors in (self.only, self.never):
            if not isinstance(errors, tuple) or not all(map(_is_error, errors)):
                raise ValueError(f"{errors!r} is not a tuple of exceptions such as (OSError,)")
        return self

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
            wanted = float(self.strategy(attempt))
            return max(0.0, wanted) if wanted <= self.cap else self.cap  # so nan is the cap
        if self.strategy == "fixed":
            return min(self.cap, self.first)
        if self.strategy == "linear":
            return min(self.cap, self.first * attempt)
        try:
            return min(self.cap, self.first * self.multiplier ** (attempt - 1))
        except OverflowError:  # an attempt in the thousands
            return self.cap


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseException)


DEFAULT = RetryPolicy()
