"""Consumers in Python: programs that run Laravel's `Counted` jobs and note each run; and a crew.

As a program: `consumers.py SPEC`, a JSON object, see `Crew.start`. As an app: the task that a
`liteq worker` runs. Notes go into two files, a line each, whole or not at all: what has begun into
BEGUN as "ID PID TIME" (steady clock), what has ended into COUNTED as PHP's own jobs do it.
"""

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import redis
import redis.asyncio

import lara_queue
from liteq import context, machine, task

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
COUNTED = "App\\Jobs\\Counted"
PATIENCE = 30.0  # seconds; only a broken promise ever takes as long
KINDS = ("queue", "aqueue", "liteq")
TROUBLE = (
    "Traceback",
    "Exception ignored",
    "Warning:",
    "never awaited",
    "never retrieved",
    "was destroyed",
)


# ── the program ──


def main(text):
    """Consume as the spec says, until told to stop."""
    spec = json.loads(text)
    logging.basicConfig(level="INFO", format="%(asctime)s %(name)s %(levelname)s %(message)s")
    if spec["kind"] == "aqueue":
        asyncio.run(_alisten(spec))
    else:
        _listen(spec)
    print("ended", file=sys.stderr)


def _listen(spec):
    client = None if "database" in spec else redis.Redis.from_url(spec["redis"], **spec["client"])
    place = lara_queue.database(spec["database"]) if client is None else client
    queue = lara_queue.Queue(place, spec["queue"], **spec["settings"])
    queue.handler(handle)
    queue.listen()
    if client is not None:
        client.close()


async def _alisten(spec):
    client = None
    if "database" not in spec:
        client = redis.asyncio.Redis.from_url(spec["redis"], **spec["client"])
    place = lara_queue.database(spec["database"]) if client is None else client
    queue = lara_queue.AsyncQueue(place, spec["queue"], **spec["settings"])
    queue.handler(ahandle)
    if spec.get("cancel"):
        listening = asyncio.create_task(queue.listen())
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, listening.cancel)
        try:
            await listening
        except asyncio.CancelledError:
            print("cancelled", file=sys.stderr)
    else:
        await queue.listen()
    if client is not None:
        await client.aclose()


def handle(job):
    """A plain handler."""
    run(job["data"]["id"], job["data"].get("milliseconds", 0))


async def ahandle(job):
    """A coroutine."""
    id, seconds = job["data"]["id"], job["data"].get("milliseconds", 0) / 1000
    begin(id)
    await asyncio.sleep(seconds)
    end(id)


@task(name=COUNTED, max_retries=1000)
def run(id: int, milliseconds: int = 0) -> None:
    """Begin, take so long, end."""
    begin(id)
    if os.environ.get("BURN"):
        until = time.monotonic() + milliseconds / 1000
        while time.monotonic() < until:
            pass
    else:
        time.sleep(milliseconds / 1000)
    end(id)


def begin(id):
    """Note that it runs."""
    note("BEGUN", f"{id} {os.getpid()} {time.monotonic()}")


def end(id):
    """Note that it has run; a job may be told to fail then."""
    note("COUNTED", f"{id} py {os.getpid()} {context.attempt}")
    if os.environ.get("FAIL"):
        raise RuntimeError("told to fail")


def note(where, line):
    """One line, in one write."""
    file = os.open(os.environ[where], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


# ── the crew ──


class Begun(NamedTuple):
    """A job that has begun in Python."""

    id: int
    pid: int
    at: float  # steady clock, which processes share


class Consumer:
    """A running consumer in Python."""

    def __init__(self, kind, command, env, log):
        self.kind = kind
        self._log = log
        with open(log, "wb") as said:
            self.process = subprocess.Popen(command, env=env, cwd=HERE, stderr=said)
        self.pid = self.process.pid

    def log(self):
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def listening(self):
        """Wait until it listens."""
        wait_for(lambda: "started: queues" in self.log() or self.process.poll() is not None, "it")
        assert self.process.poll() is None, self.log()
        return self

    def send(self, number):
        os.kill(self.pid, number)

    def tree(self):
        """Its pid and those of its processes."""
        return [self.pid, *children(self.pid)]

    def kill(self):
        """End it as a power cut would, its processes with it."""
        pids = children(self.pid)
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE)
        wait_for(lambda: not any(map(machine.born, pids)), "the end of its processes")

    def stop(self, number=signal.SIGTERM, seconds=PATIENCE):
        """Ask it to stop; its exit code and how long it took."""
        began = time.monotonic()
        self.send(number)
        code = self.process.wait(seconds)
        return code, time.monotonic() - began

    def troubles(self):
        """What it said that nothing in these tests should make it say."""
        return [line for line in self.log().splitlines() if any(word in line for word in TROUBLE)]


class Crew:
    """Consumers beside a Laravel, and the queues between them; all end with `close`."""

    def __init__(self, laravel, redis_server):
        self.laravel = laravel
        self.server = redis_server
        self.consumers = []
        self.begun_file = laravel.folder / "begun"
        self._database_url = f"sqlite:///{laravel.database}"

    def use(self, database):
        """Have the database driver on this PostgreSQL or MariaDB, not on Laravel's SQLite file."""
        self.laravel.use(database)
        scheme = {"pgsql": "postgresql", "mysql": "mysql"}[database.dialect]
        self._database_url = f"{scheme}://laravel@127.0.0.1:{database.port}/laravel"

    def start(
        self, kind, queue="default", *, driver="redis", concurrency=2, grace=30.0,
        retry_after=90, port=None, client=None, env=None, python=(), **spec,
    ):  # fmt: skip
        """A consumer: a `queue`, one with `processes`, an `aqueue`, or a `liteq` worker.

        `port`: of what is to be between it and Redis.
        """
        url = self.server.url if port is None else f"redis://127.0.0.1:{port}/0"
        place = url if driver == "redis" else self._database_url
        if kind == "liteq":
            url = f"laravel+{place}?queues={queue}&laravel=8&retry_after={retry_after}"
            url += f"&failed={self._database_url}" if driver == "redis" else "&cache=none"
            command = ["-m", "liteq", "worker", "--app", str(HERE / "consumers.py"), "--url", url]
            command += ["--concurrency", str(concurrency), "--shutdown-grace", str(grace)]
        else:
            settings = {
                "laravel": 8,
                "connection": driver,
                "retry_after": retry_after,
                "grace": grace,
                "failed": self._database_url,
                "max_retries": 1000,
                **spec.pop("settings", {}),
            }
            if kind == "aqueue":
                settings["max_concurrent_jobs"] = concurrency
            if kind == "processes":
                settings["processes"] = concurrency
            where = {"redis": place} if driver == "redis" else {"database": place}
            spec |= {"kind": kind, "queue": queue, "settings": settings, "client": client or {}}
            command = [str(HERE / "consumers.py"), json.dumps({**spec, **where})]
        notes = {"COUNTED": str(self.laravel.counted_file), "BEGUN": str(self.begun_file)}
        path = os.pathsep.join(map(str, (HERE, ROOT / "src")))
        kept = {key: value for key, value in os.environ.items() if not key.startswith("LITEQ_")}
        log = self.laravel.folder / f"python{len(self.consumers) + 1}.log"
        consumer = Consumer(
            kind,
            [sys.executable, *python, *command],
            {**kept, **notes, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(env or {})},
            log,
        )
        self.consumers.append(consumer)
        return consumer

    def push(self, ids, milliseconds=0, queue="default", driver="redis", **options):
        """Push `Counted` jobs from here."""
        with self.server.client() as client:
            place = client if driver == "redis" else lara_queue.database(self._database_url)
            with lara_queue.Queue(place, queue, laravel=8, connection=driver) as pusher:
                data = {"milliseconds": milliseconds}
                pusher.bulk([(COUNTED, {"id": id, **data}) for id in ids], **options)

    def counts(self, queue="default", driver="redis"):
        """What the queue holds: ready, delayed, reserved."""
        with self.server.client() as client:
            place = client if driver == "redis" else lara_queue.database(self._database_url)
            with lara_queue.Queue(place, queue, laravel=8, connection=driver) as asked:
                return asked.size()

    def drained(self, queue="default", driver="redis", seconds=PATIENCE):
        """Wait until the queue holds nothing of any kind."""
        wait_for(lambda: not any(self.counts(queue, driver)), f"an empty queue {queue}", seconds)

    def begun(self, start=0):
        """What has begun in Python, in order; from a place in the file on, if given."""
        if not self.begun_file.exists():
            return []
        with open(self.begun_file, "rb") as file:
            file.seek(start)
            lines = file.read().rpartition(b"\n")[0].splitlines()
        return [Begun(int(id), int(pid), float(at)) for id, pid, at in map(bytes.split, lines)]

    def has_begun(self, *ids, seconds=PATIENCE):
        """Wait until these jobs have begun in Python."""
        wait_for(lambda: {each.id for each in self.begun()} >= set(ids), f"{ids} to begin", seconds)

    def runs(self):
        """How often each job was handled, here or there: a dict by id."""
        found = {}
        for id, *_ in self.laravel.counted():
            found[id] = found.get(id, 0) + 1
        return found

    def handled(self, ids, seconds=PATIENCE):
        """Wait until all these jobs have been handled."""
        ids = set(ids)
        wait_for(lambda: self.runs().keys() >= ids, f"{len(ids)} jobs handled", seconds)

    def close(self):
        for consumer in self.consumers:
            consumer.kill()


def wait_for(condition, what, seconds=PATIENCE):
    """What `condition()` returns once it is true; fails after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(0.01)
    return found


def memory_mb(pid):
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def children(pid):
    """The processes that a process has started, and theirs."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            pids = [int(each) for each in file.read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for each in pids:
            found += [each, *children(each)]
    return found


if __name__ == "__main__":
    import consumers  # so that handlers are a module's, which other processes can import

    consumers.main(sys.argv[1])
