"""Processes: the pool of child processes, seen from the worker. Their own side is `child`.

All children read their jobs from one socket per lane: whichever is free takes the next, so a
short job never waits behind a long one while another slot is idle. Each child tells its outcomes
on a stream of its own, and notes in its marks which runs it has begun: when it dies, that is what
the runs are judged by.
"""

import contextlib
import heapq
import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from liteq import registry
from liteq.backoff import RetryPolicy
from liteq.config import Settings
from liteq.job import Ending, Job, Outcome
from liteq.pools import child as inside
from liteq.pools import marks, pace, wire
from liteq.pools.base import Limits, Watcher, over_time
from liteq.pools.child import ASYNC, PLAIN, Seat
from liteq.pools.marks import Marks
from liteq.pools.pace import MOST, Pace

logger = logging.getLogger("liteq.worker")

_LANES = (PLAIN, ASYNC)
_SETTLE = 0.25  # seconds: far longer than a live child takes from reading a job to marking it
_RESPAWN = RetryPolicy("exponential", first=0.1, cap=5.0)
_LARGE = 16_000  # characters; what is longer may travel as a file in memory, up to 1 MB …
_LARGE_AHEAD = 8  # … so not many more of them on their way than can run
_FEED_AGAIN = 0.02
_SEND_BUFFER = 1024 * 1024  # bytes asked of the kernel, for jobs on their way to the children


class _InHand(NamedTuple):
    job: Job
    lane: int
    limit: float | None  # seconds


class _Child:
    """One pool process and our ends of what connects us."""

    def __init__(
        self,
        process: BaseProcess,
        results: Sequence[Connection],
        orders: Connection,
        marks_: Marks,
    ):
        self.process = process
        self.pid = process.pid or 0
        self.results = results
        self.orders = orders
        self.streams = [wire.Stream(connection.fileno()) for connection in results]
        self.marks = marks_
        self.born = time.monotonic()
        self.executioner: str | None = None  # the receipt for which we killed it
        self.relieved = False  # it takes no more jobs, and has a successor
        self.pidfd = _pidfd(self.pid)


class ProcessPool:
    """Runs each plain function alone in a process, coroutines many to a process."""

    name = "processes"

    def __init__(
        self,
        worker: str,
        concurrency: int,
        limits: Limits,
        settings: Settings,
        *,
        ahead: bool = True,
    ):
        self.slots = concurrency
        self._worker = worker
        self._limits = limits
        self._settings = settings
        definitions = registry.definitions()
        self._has_async = any(definition.is_async for definition in definitions)
        self._has_plain = not all(definition.is_async for definition in definitions)
        lanes = concurrency, concurrency * settings.async_limit
        self._lanes = [_Lane(slots, ahead=ahead) for slots in lanes]
        self._children: list[_Child] = []
        self._in_hand: dict[str, _InHand] = {}
        self._ended: list[Outcome] = []
        self._deadlines: list[tuple[float, str]] = []  # a heap of (look at it then, receipt)
        self._stopped: dict[str, float] = {}  # receipt → when it is to be killed
        self._verdicts: dict[str, Outcome] = {}  # of runs whose process we have killed for it
        self._missing: list[tuple[float, set[str]]] = []  # may have died unmarked; look again then
        self._vacant: list[float] = []  # when a seat that fell empty is to be filled again
        self._stillborn = 0
        self._seats = 0
        self._spills = 0
        self._feed_at = float("inf")  # when to try again what could not be sent
        self._closing = False
        self._method = _start_method(settings.start_method)

    # ── what the worker calls ──

    def start(self, watcher: Watcher) -> None:
        """Open the lanes and start the processes."""
        self._watcher = watcher
        self._relics = Marks(marks.path(self._worker, "relics"))
        for lane in self._lanes:
            lane.open()
        for _ in range(self.slots):
            self._seat_one()

    def room(self) -> tuple[int, Collection[str]]:
        """How many more jobs it would take now, and task names of which it wants none."""
        plain, coroutine = (lane.pace for lane in self._lanes)
        if not self._has_async:
            return plain.room(), ()
        if not self._has_plain:
            return coroutine.room(), ()
        room, full = pace.share(plain, coroutine)
        if full is None:
            return room, ()
        return room, [d.name for d in registry.definitions() if d.is_async == (full is coroutine)]

    def put(self, jobs: Sequence[Job]) -> None:
        """Run these, in this order as slots get free."""
        now = time.monotonic()
        for job in jobs:
            number = self._lane_of(job)
            limit = job.timeout or self._limits.timeout
            self._in_hand[job.receipt] = _InHand(job, number, limit)
            if limit:
                self._look_at(job.receipt, now + limit)
            lane = self._lanes[number]
            lane.pace.took(1)
            lane.backlog.append(job.receipt)
        for lane in self._lanes:
            self._feed(lane)
        if len(self._deadlines) > 4 * MOST:  # mostly of runs that have long ended
            self._deadlines = [each for each in self._deadlines if each[1] in self._in_hand]
            heapq.heapify(self._deadlines)

    def collect(self, ready: Collection[int]) -> list[Outcome]:
        """The runs that ended, those of processes that died among them."""
        for child in list(self._children):
            for connection, stream in zip(child.results, child.streams, strict=True):
                if connection.fileno() in ready:
                    self._hear(stream)
                    self._relieve(child)
            if child.pidfd in ready or (child.pidfd < 0 and not child.process.is_alive()):
                self._bury(child)
        for lane in self._lanes:
            if lane.backlog and lane.way_in.fileno() in ready:
                self._feed(lane)
        return self._counted()

    def stop_run(self, receipt: str) -> None:
        """Stop this run: by an exception inside, and by force if that does not end it."""
        held = self._in_hand.get(receipt)
        if held is None or receipt in self._stopped:
            return
        child = self._who_runs(receipt)
        if child is None:
            self._withdraw(receipt)
            return
        self._stopped[receipt] = time.monotonic() + self._settings.timeout_grace
        if held.lane == PLAIN:
            child.marks.order_stop(receipt)
            os.kill(child.pid, signal.SIGALRM)
        else:
            with contextlib.suppress(OSError):
                wire.send(child.orders.fileno(), wire.order_frame("stop", receipt))

    def take_back(self) -> list[Outcome]:
        """What has not begun, as released."""
        for lane in self._lanes:
            for receipt in self._recalled(lane):
                self._ended.append(Outcome(receipt, "released"))
            lane.backlog.clear()
        return self._counted()

    def crowded(self) -> bool:
        """Whether jobs have been waiting here, in vain, since the last call."""
        return any([lane.crowded() for lane in self._lanes])  # noqa: C419 - ask every lane

    def tend(self) -> float:
        """Kill what is over its limit, look for the missing, refill seats; seconds to the next."""
        now = time.monotonic()
        for receipt, kill_at in list(self._stopped.items()):
            if receipt not in self._in_hand:
                del self._stopped[receipt]
            elif now >= kill_at:
                self._kill_for(receipt, "cancelled", "Cancel: cancelled while it ran")
        while self._deadlines and self._deadlines[0][0] <= now:
            self._judge(heapq.heappop(self._deadlines)[1], now)
        if self._missing and self._missing[0][0] <= now:
            self._give_up(self._missing.pop(0)[1])
        while self._vacant and self._vacant[0] <= now and not self._closing:
            self._vacant.pop(0)
            self._refill(now)
        if self._feed_at <= now:
            self._feed_at = float("inf")
            for lane in self._lanes:
                self._feed(lane)
        return self._rest(now)

    def close(self) -> list[Outcome]:
        """Let idle processes end, kill the others; what was cut off, as released."""
        self._closing = True
        idle = not self._in_hand
        for lane in self._lanes:
            lane.close()
        deadline = time.monotonic() + (1.0 if idle else 0.0)
        for child in self._children:
            child.process.join(max(0.0, deadline - time.monotonic()))
            if child.process.is_alive():
                child.process.kill()
                child.process.join()
            for stream in child.streams:
                self._hear(stream)
            self._ended += [
                _cut_off(receipt, child, "released", "its worker stopped before it ended")
                for receipt in child.marks.receipts() & self._in_hand.keys()
            ]
            self._dispose(child)
        self._children.clear()
        self._ended += [Outcome(receipt, "released") for receipt in self._in_hand]
        marks.remove_of(self._worker)
        return self._counted()

    # ── children ──

    def _seat_one(self) -> None:
        self._seats += 1
        path = marks.path(self._worker, str(self._seats))
        ours, theirs = zip(*(wire.pipe() for _ in _LANES), strict=True)
        orders_out, orders_in = wire.pipe()
        seat = Seat(
            jobs=(self._lanes[PLAIN].way_out, self._lanes[ASYNC].way_out),
            results=(theirs[PLAIN], theirs[ASYNC]),
            orders=orders_out,
            marks_path=path,
            limits=self._limits,
            async_limit=self._settings.async_limit,
            has_async=self._has_async,
            max_jobs=self._settings.max_jobs,
            max_memory_mb=self._settings.max_memory_mb,
            memory_limit_mb=self._settings.memory_limit_mb,
            parent=os.getpid(),
            modules=() if self._method == "fork" else _modules(),
            definitions=() if self._method == "fork" else _portable(),
        )
        note = Marks(path)  # before the process, so that it can be read whatever happens
        strangers = self._our_ends([*ours, orders_in]) if self._method == "fork" else []
        process = _context(self._method).Process(
            target=inside.main, args=(seat, strangers), name=f"liteq-{self._seats}"
        )
        try:
            process.start()
        except OSError:
            note.remove()
            raise
        for end in (*theirs, orders_out):
            end.close()
        child = _Child(process, ours, orders_in, note)
        self._children.append(child)
        for connection in child.results:
            self._watcher.watch(connection.fileno())
        if child.pidfd >= 0:
            self._watcher.watch(child.pidfd)

    def _refill(self, now: float) -> None:
        try:
            self._seat_one()
        except OSError as error:  # no memory, no room for marks, too many processes
            logger.error("cannot start a pool process, trying again in 5 s: %s", error)
            self._vacant.append(now + 5.0)

    def _our_ends(self, ours: Iterable[Connection]) -> list[socket.socket | Connection]:
        """The ends that a forked child gets a copy of, and must not hold open."""
        others = [end for child in self._children for end in (*child.results, child.orders)]
        return [*ours, *others, *(lane.way_in for lane in self._lanes)]

    def _relieve(self, child: _Child) -> None:
        """See to a successor as soon as a process is worn: what it still runs may take long."""
        if not child.relieved and child.marks.retiring():
            child.relieved = True
            self._vacant.insert(0, time.monotonic())

    def _bury(self, child: _Child) -> None:
        """Hear its last words, judge what it was running, and see to a successor."""
        child.process.join()
        for stream in child.streams:
            self._hear(stream)
        told = {outcome.receipt for outcome in self._ended}
        begun = child.marks.receipts() & self._in_hand.keys()
        self._remember(begun)
        victims = begun - told
        exitcode = child.process.exitcode or 0
        how = "was stopped by us" if child.executioner else _how_it_ended(exitcode)
        for receipt in victims:
            self._ended.append(self._fate(receipt, child, how))
        self._verdicts.pop(child.executioner or "", None)  # it had just ended by itself
        if victims or exitcode:
            logger.warning(
                "pool process %d %s; it was running %d job(s)",
                child.pid,
                how,
                len(victims),
                extra={"pid": child.pid},
            )
        self._children.remove(child)
        self._dispose(child)
        self._search()
        if child.relieved:
            return
        early = time.monotonic() - child.born < 1.0 and not victims and exitcode
        self._stillborn = self._stillborn + 1 if early else 0
        wait = _RESPAWN.wait(self._stillborn) if self._stillborn else 0.0
        self._vacant.append(time.monotonic() + wait)
        self._vacant.sort()

    def _remember(self, begun: Collection[str]) -> None:
        """Keep the marks of runs whose process is gone, but whose end is not on record yet.

        If we die before it is, whoever recovers these runs must know that they had begun.
        """
        for receipt in begun:
            self._relics.begin(PLAIN, receipt)

    def _fate(self, receipt: str, child: _Child, how: str) -> Outcome:
        """What became of a run whose process is gone."""
        if receipt in self._verdicts:
            return self._verdicts.pop(receipt)
        if child.executioner is not None:
            return _cut_off(receipt, child, "released", "killed for the sake of another run")
        return _cut_off(receipt, child, "lost", f"the pool process {how} while it ran")

    def _dispose(self, child: _Child) -> None:
        for connection in child.results:
            self._watcher.unwatch(connection.fileno())
            connection.close()
        child.orders.close()
        if child.pidfd >= 0:
            self._watcher.unwatch(child.pidfd)
            os.close(child.pidfd)
        child.marks.remove()
        child.process.close()

    def _who_runs(self, receipt: str) -> _Child | None:
        return next((c for c in self._children if c.marks.begun(receipt) is not None), None)

    # ── limits ──

    def _look_at(self, receipt: str, began: float) -> None:
        heapq.heappush(self._deadlines, (began + self._settings.timeout_grace, receipt))

    def _judge(self, receipt: str, now: float) -> None:
        """Kill the process of a run that is over its limit and grace; or look again later."""
        held = self._in_hand.get(receipt)
        if held is None or not held.limit:
            return
        child = self._who_runs(receipt)
        began = None if child is None else child.marks.begun(receipt)
        if began is None:
            self._look_at(receipt, now + held.limit)
        elif now < began + held.limit + self._settings.timeout_grace:
            self._look_at(receipt, began + held.limit)
        else:
            error = over_time(held.limit)
            self._kill_for(receipt, "timeout", f"TaskTimeout: {error}, by killing its process")

    def _kill_for(self, receipt: str, ending: Ending, error: str) -> None:
        self._stopped.pop(receipt, None)
        child = self._who_runs(receipt)
        if child is None or child.executioner is not None:
            return
        self._verdicts[receipt] = _cut_off(receipt, child, ending, error)
        child.executioner = receipt
        child.process.kill()

    def _withdraw(self, receipt: str) -> None:
        """Take out a run that has not begun, and cancel it."""
        for lane in self._lanes:
            receipts = self._recalled(lane)
            if receipt in receipts:
                receipts.remove(receipt)
                self._ended.append(
                    Outcome(receipt, "cancelled", error="Cancel: cancelled before it ran")
                )
            lane.backlog = deque(receipts)
            self._feed(lane)

    # ── jobs on their way ──

    def _lane_of(self, job: Job) -> int:
        definition = registry.get(job.name)
        if definition is None:  # it fails wherever it runs, so let it not wait behind long ones
            return PLAIN if self._lanes[PLAIN].pace.hungry() or not self._has_async else ASYNC
        return ASYNC if self._has_async and definition.is_async else PLAIN

    def _feed(self, lane: "_Lane") -> None:
        """Send what the kernel will take; the rest when it has room again."""
        while lane.backlog:
            held = self._in_hand.get(lane.backlog[0])
            if held is not None and not self._sent(lane, held.job):
                return
            lane.backlog.popleft()
        if lane.watched:
            self._watcher.unwatch(lane.way_in.fileno())
            lane.watched = False

    def _sent(self, lane: "_Lane", job: Job) -> bool:
        """Whether the job is on its way; if not, there is a time to try again."""
        large = len(job.payload) > _LARGE
        if large and len(lane.large) >= lane.pace.slots + _LARGE_AHEAD:
            self._feed_at = time.monotonic() + _FEED_AGAIN
            return False
        try:
            message = wire.job_message(job, self._spill_path)
        except OSError as error:  # no room for the file that a large job travels in
            logger.error("job %d cannot be handed out, trying again: %s", job.id, error)
            self._feed_at = time.monotonic() + _FEED_AGAIN
            return False
        if not lane.send(message):
            wire.read_job(memoryview(message))  # or the file of a large one would stay
            self._watcher.watch(lane.way_in.fileno(), write=True)
            lane.watched = True
            return False
        if large:
            lane.large.add(job.receipt)
        return True

    def _spill_path(self) -> str:
        """A new file for a job that is too large for a message."""
        self._spills += 1
        return marks.spill_path(self._worker, self._spills)

    def _recalled(self, lane: "_Lane") -> list[str]:
        """What no child has read yet, in order, taken out of the lane."""
        sent = [job.receipt for job in lane.drain()]
        lane.large.difference_update(sent)
        return [receipt for receipt in (*sent, *lane.backlog) if receipt in self._in_hand]

    def _hear(self, stream: wire.Stream) -> None:
        for fields in stream.read():
            self._ended.append(Outcome._make(fields))

    def _search(self) -> None:
        """A child may die between reading a job and marking it: then nobody has the job."""
        for lane in self._lanes:
            lane.backlog = deque(self._recalled(lane))
        waiting = {receipt for lane in self._lanes for receipt in lane.backlog}
        missing = set(self._in_hand) - waiting - self._begun()
        if missing:
            self._missing.append((time.monotonic() + _SETTLE, missing))
        for lane in self._lanes:
            self._feed(lane)

    def _give_up(self, missing: set[str]) -> None:
        for receipt in (missing & set(self._in_hand)) - self._begun():
            self._ended.append(Outcome(receipt, "released"))

    def _begun(self) -> set[str]:
        return {receipt for child in self._children for receipt in child.marks.receipts()}

    def _counted(self) -> list[Outcome]:
        """The outcomes at hand, each run once, and taken off the books."""
        ended, self._ended = self._ended, []
        outcomes, numbers = [], [0] * len(_LANES)
        for outcome in ended:
            held = self._in_hand.pop(outcome.receipt, None)
            if held is not None:
                numbers[held.lane] += 1
                outcomes.append(outcome)
        now = time.monotonic()
        for lane, number in zip(self._lanes, numbers, strict=True):
            if number:
                lane.large &= self._in_hand.keys()
                self._feed_at = min(self._feed_at, now) if lane.backlog else self._feed_at
                lane.pace.ended(number, now)
                lane.moved = True
        return outcomes

    def _rest(self, now: float) -> float:
        moments = [now + 60.0, self._feed_at, *self._vacant[:1], *self._stopped.values()]
        if self._deadlines:
            moments.append(self._deadlines[0][0])
        if self._missing:
            moments.append(self._missing[0][0])
        return max(0.0, min(moments) - now)


class _Lane:
    """The way of one kind of jobs to the children: a backlog here, then the kernel's queue."""

    def __init__(self, slots: int, *, ahead: bool):
        self.pace = Pace(slots, ahead=ahead)
        self.backlog: deque[str] = deque()
        self.large: set[str] = set()  # sent, and not ended yet
        self.watched = False
        self.moved = False

    def open(self) -> None:
        """Make the sockets; the children read from `way_out`, and so do we to recall jobs."""
        self.way_in, self.way_out = socket.socketpair(socket.AF_UNIX, wire.MESSAGES)
        self.way_in.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)

    def send(self, message: bytes) -> bool:
        """Whether the kernel had room for it."""
        try:
            self.way_in.send(message, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == 55:  # ENOBUFS, which is how macOS says the same
                return False
            raise
        return True

    def drain(self) -> list[Job]:
        """The jobs that nobody has read yet."""
        jobs: list[Job] = []
        buffer = bytearray(2 * wire.LARGEST)
        while True:
            try:
                size = self.way_out.recv_into(buffer, 0, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return jobs
            if not size:
                return jobs
            jobs.append(wire.read_job(memoryview(buffer)[:size]))

    def crowded(self) -> bool:
        """Whether more is in hand than runs, and nothing has ended since the last call."""
        moved, self.moved = self.moved, False
        if moved or self.pace.in_hand <= self.pace.slots:
            return False
        self.pace.stalled()  # or the same jobs would be claimed ahead again
        return True

    def close(self) -> None:
        """No more jobs: idle children see the end of the lane and go."""
        self.way_in.close()
        self.way_out.close()


def _pidfd(pid: int) -> int:
    """A descriptor that becomes readable when the process ends; -1 where there is none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or one before 5.3
        return -1


def _cut_off(receipt: str, child: _Child, ending: Ending, error: str) -> Outcome:
    """The outcome of a run whose process is gone, or about to go."""
    now, began = time.time(), child.marks.begun(receipt) or time.monotonic()
    return Outcome(receipt, ending, now - (time.monotonic() - began), now, error=error)


def _start_method(wanted: str) -> str:
    """fork shares the app's memory and starts in milliseconds, but not with other threads about."""
    if wanted != "auto":
        return wanted
    return "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"


def _context(method: str) -> Any:
    """multiprocessing's way to start processes; Any, as its type says nothing of Process."""
    return multiprocessing.get_context(method)


def _modules() -> list[str]:
    """What a process that was not forked must import to know the tasks."""
    names = {definition.function.__module__ for definition in registry.definitions()}
    return sorted(names - {"__main__"})


def _portable() -> list[registry.Definition]:
    """What it must be sent, because importing registers it nowhere."""
    # How long to wait is the worker's to say, and may be a function that cannot travel.
    return [
        each._replace(retry=each.retry._replace(strategy="fixed"))
        for each in registry.definitions()
        if each.codec.portable
    ]


def _how_it_ended(status: int) -> str:
    """The exit status in words."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    hint = {
        "SIGKILL": " (by a person, or by the kernel for want of memory)",
        "SIGSEGV": " (a crash in C code)",
        "SIGABRT": " (C code gave up)",
    }
    return f"was killed by {name}{hint.get(name, '')}"
