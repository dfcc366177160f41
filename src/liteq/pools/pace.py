"""Pace: how many jobs to have in hand, so that nobody waits for the next and none waits too long.

Pure arithmetic over what it is told. A pool has as many jobs in hand as it has slots, and on top
of that what it will begin within a moment, judged by how fast it went just now: none where jobs
take seconds, hundreds where they take microseconds.
"""

AHEAD = 0.03  # seconds of work in hand beyond what runs: some rounds of the worker's loop
MOST = 1000  # marks.ENTRIES must not be fewer
_WINDOW = 0.02  # seconds over which the speed is measured


class Pace:
    """The pace of one lane of a pool; without `ahead` it has no more in hand than it has slots."""

    def __init__(self, slots: int, *, ahead: bool = True):
        self.slots = slots
        self.ahead = ahead
        self.in_hand = 0
        self._rate = 0.0  # jobs a second
        self._ended = 0
        self._since = 0.0

    def took(self, jobs: int) -> None:
        """So many more are in hand."""
        self.in_hand += jobs

    def ended(self, jobs: int, now: float) -> None:
        """So many have left our hands by this moment of the steady clock."""
        self.in_hand -= jobs
        self._ended += jobs
        elapsed = now - self._since
        if elapsed >= _WINDOW:
            self._rate = (self._rate + self._ended / elapsed) / 2
            self._ended, self._since = 0, now

    def stalled(self) -> None:
        """Nothing has ended for long: how fast it went before says nothing any more."""
        self._rate, self._ended = 0.0, 0

    def closed(self) -> bool:
        """Whether it has all that it may have."""
        return self.in_hand >= self._allowed()

    def hungry(self) -> bool:
        """Whether a slot stands empty."""
        return self.in_hand < self.slots

    def room(self) -> int:
        """How many more jobs to take; nothing until half is used up, so that batches are large."""
        allowed = self._allowed()
        if self.in_hand >= self.slots and self.in_hand > allowed // 2:
            return 0
        return max(0, allowed - self.in_hand)

    def _allowed(self) -> int:
        return min(MOST, self.slots + int(self._rate * AHEAD * 2)) if self.ahead else self.slots


def share(plain: Pace, coroutine: Pace) -> tuple[int, Pace | None]:
    """How many more jobs to take, and the lane that wants none of them, if it is only one.

    While one kind (plain functions, coroutines) has all that it may have in hand and slots of the
    other stand empty, only that other kind is wanted.
    """
    if plain.closed() and coroutine.closed():
        return 0, None
    if plain.closed() or coroutine.closed():
        wanted, full = (coroutine, plain) if plain.closed() else (plain, coroutine)
        return (wanted.room(), full) if wanted.hungry() else (0, None)
    # They may all turn out to be of one kind.
    if not plain.ahead:
        return min(plain.room(), coroutine.room()), None
    most = MOST - max(plain.in_hand, coroutine.in_hand)
    return min(most, max(plain.room(), coroutine.room())), None
