"""What the contract's tests are played with: the brokers, their faces, a clock, and short verbs."""

import asyncio
import sys
from subprocess import run

from liteq import brokers, lifecycle
from liteq.brokers.base import Awaiting, Clock
from liteq.job import NewJob, Outcome, WorkerInfo

# A new broker adds its line here: its URL, `{}` being a folder of the test's own.
URLS = {
    "memory": "memory://{}",
    "sqlite": "sqlite:///{}/liteq.db",
}
NOON = 1_800_000_000.0
LEASE = 30.0


class FakeClock(Clock):
    """A clock that goes when it is told to."""

    def __init__(self):
        self._wall = NOON
        self._steady = 5000.0

    def wall(self):
        return self._wall

    def steady(self):
        return self._steady

    def advance(self, seconds):
        """Time passes."""
        self._wall += seconds
        self._steady += seconds

    def jump(self, seconds):
        """Somebody sets the wall clock."""
        self._wall += seconds


class AwaitingFace:
    """A broker whose every verb is awaited, as programs with an event loop use it."""

    def __init__(self, broker):
        self._broker = broker
        self._awaiting = Awaiting()
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name):
        attribute = getattr(self._broker, name)
        if not callable(attribute) or isinstance(attribute, Clock):
            return attribute
        return lambda *arguments: self._loop.run_until_complete(
            self._awaiting.call(attribute, *arguments)
        )

    def leave(self):
        self._awaiting._thread.shutdown()
        self._loop.close()


def opened(name, folder):
    """A broker of that kind, empty."""
    return brokers.connect(URLS[name].format(folder))


def new(name="add", queue="default", **fields):
    """A job as a producer hands it over."""
    return NewJob(name, '{"args": [1, 2], "kwargs": {}}', queue, **fields)


def put(broker, *jobs):
    """Enqueue them (none given: one plain job); their ids."""
    return broker.enqueue(jobs or (new(),))


def claim(broker, limit=10, *, worker="w1", queues=("default",), lease=LEASE):
    """What the worker gets."""
    return broker.claim(worker, queues, limit, lease)


def outcome(job, ending="done", **facts):
    """How a run ended, half a second after it began."""
    facts = {"started": NOON + 1, "ended": NOON + 1.5, **facts}
    return Outcome(job.receipt, ending, **facts)


def done(job, result='"ok"'):
    """The change that a good run brings."""
    return lifecycle.succeeded(job, outcome(job, result=result))


def failed(job, wait=10.0, now=NOON, error="ValueError: no"):
    """The change that a bad run brings."""
    return lifecycle.failed(job, outcome(job, "failed", error=error, traceback="tb"), wait, now)


def buried(job, error="ValueError: no"):
    """The change that ends a job as failed, whatever runs it had left."""
    return lifecycle.failed(job, outcome(job, "failed", error=error, final=True), 0, NOON)


def worker(name="w1", **facts):
    """What a worker says of itself."""
    facts = {"queues": ("default",), "concurrency": 2, "pid": 7, "started": NOON, **facts}
    return WorkerInfo(name, "host", machine="boot", born="12", **facts)


def statuses(broker, ids):
    """The state of each job, in order."""
    return [broker.get(id).status for id in ids]


def elsewhere(broker, *lines):
    """Run lines of Python in another process, where `broker` is the same store."""
    program = [
        "from liteq import brokers",
        "from liteq.job import Filter, NewJob",
        f"broker = brokers.connect({broker.url!r})",
        *lines,
    ]
    run([sys.executable, "-c", "\n".join(program)], check=True, timeout=60)
