"""The demo (`make demo`): jobs of every kind, real workers, real kills, in half a minute.

Each scene says what is going to happen, does it, and checks it. The exit status is 0 only if all
went as promised.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from liteq import (
    EncodingError,
    InvalidArguments,
    JobId,
    Retry,
    RetryPolicy,
    TaskFailed,
    context,
    enqueue,
    get_task_status,
    task,
)
from liteq.monitoring import get_active_workers

# ── the tasks ──


@task()
def add(a: int, b: int) -> int:
    return a + b


@task()
def half_a_second(number: int) -> int:
    time.sleep(0.5)
    return number


@task(retry=RetryPolicy("fixed", first=0.3))
def flaky(service: str) -> str:
    if context.attempt < 3:
        raise ConnectionError(f"{service} does not answer")
    return f"{service} answered at attempt {context.attempt}"


@task()
def comes_back_later() -> str:
    if context.attempt == 1:
        raise Retry("not ready yet", after=0.5)
    return "ready"


@task(max_retries=0)
def hopeless() -> None:
    raise ValueError("no such customer")


@task(timeout=1, max_retries=0)
def sleeps() -> None:
    time.sleep(100)


@task(timeout=1, max_retries=0)
def spins() -> None:
    while True:
        pass


@task(timeout=1, max_retries=0)
def stuck_in_c() -> None:
    sum(range(10**15))  # a loop in C that holds the interpreter for months


@task(timeout=1, max_retries=0)
async def awaits() -> None:
    await asyncio.sleep(100)


@task(max_retries=0)
def crashes() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


@task()
def survives(flag: str) -> str:
    Path(flag).write_text(str(context.attempt))
    if context.attempt == 1:
        time.sleep(100)  # the worker is killed meanwhile
    return f"attempt {context.attempt}"


@task(queue="ordered")
def in_order(name: str) -> str:
    return name


@task()
async def one_request(number: int) -> int:
    await asyncio.sleep(0.2)
    return number


# ── the scenes ──

kept_promises: list[bool] = []


def check(promise: str, kept: bool) -> None:
    kept_promises.append(kept)
    print(f"   [{'ok' if kept else 'FAILED'}] {promise}", flush=True)


def scene(title: str) -> None:
    print(f"\n-- {title}", flush=True)


def parallel() -> None:
    scene("Eight jobs of half a second each, on four processes")
    begun = time.monotonic()
    jobs = enqueue(half_a_second.job(number) for number in range(8))
    results = [job.result(timeout=20) for job in jobs]
    took = time.monotonic() - begun
    check(f"all done in {took:.1f} s; one after the other they take 4 s", took < 2)
    check(f"results came back in order: {results}", results == list(range(8)))


def many() -> None:
    scene("Five thousand small jobs, queued in one transaction")
    begun = time.monotonic()
    jobs = enqueue(add.job(number, number) for number in range(5000))
    queued = time.monotonic() - begun
    last = jobs[-1].result(timeout=30)
    took = time.monotonic() - begun
    check(f"queued in {queued:.2f} s, the last one done after {took:.2f} s", last == 9998)


def latency() -> None:
    scene("How fast does an idle worker start?")
    times = []
    for _ in range(20):
        time.sleep(0.02)
        begun = time.perf_counter()
        add.delay(1, 1).result(timeout=10)
        times.append((time.perf_counter() - begun) * 1000)
    middle = sorted(times)[10]
    check(f"from .delay() to the result in hand: {middle:.1f} ms (median of 20)", middle < 100)


def retried() -> JobId:
    scene("A service that does not answer twice, and a task that asks to be run later")
    flaky_job, later_job, hopeless_job = (
        flaky.delay("billing"),
        comes_back_later.delay(),
        hopeless.delay(),
    )
    result = flaky_job.result(timeout=20)
    check(result, result.endswith("attempt 3"))
    check("raise Retry(after=0.5): ready on the second run", later_job.result(20) == "ready")
    error = ending(hopeless_job)
    check(f"without retries left a job is failed: {error}", error == "ValueError: no such customer")
    return flaky_job


def timed_out() -> None:
    scene("Four tasks with timeout=1: sleeping, spinning, stuck in C, awaiting")
    for endless in (sleeps, spins, stuck_in_c, awaits):
        error = ending(job := endless.delay())
        took = seconds_of_run(job)
        check(f"{endless.name} stopped after {took:.2f} s: {error}", took < 2 and "1" in error)


def crashed() -> None:
    scene("A task that crashes its process (segmentation fault), beside one that does not")
    bad, good = crashes.delay(), half_a_second.delay(7)
    error = ending(bad)
    check(f"the job failed, and says why: {error}", "SIGSEGV" in error)
    check("its neighbour did not notice", good.result(timeout=10) == 7)


def recovered(worker: subprocess.Popen[bytes], folder: str) -> None:
    scene("kill -9 of a whole worker in the middle of a job")
    flag = Path(folder, "attempt")
    job = survives.delay(str(flag))
    wait(flag.exists)
    with working("default"):
        wait(lambda: len(get_active_workers()) == 2)
        print(
            f"   job {job} is running; kill -9 {worker.pid}; a second worker is there", flush=True
        )
        worker.kill()
        killed = time.monotonic()
        wait(lambda: flag.read_text() == "2")
        took = time.monotonic() - killed
        check(f"it runs again {took:.1f} s later on the other worker", took < 2)
        check(f"and ends well: {job.result(timeout=10)}", job.status() == "done")
    worker.wait()


def delayed() -> None:
    scene("A job for later: .options(delay=1.5)")
    begun = time.monotonic()
    job = add.options(delay=1.5).delay(20, 22)
    check(f"it is {job.status()} now", job.status() == "pending")
    answer = job.result(timeout=10)
    took = time.monotonic() - begun
    check(f"{answer}, after {took:.2f} s, never before", answer == 42 and 1.5 <= took < 2.5)


def prioritised() -> None:
    scene("Queued as low, normal, high, urgent; run by a worker with one process")
    jobs = [
        in_order.options(priority=priority).delay(name)
        for priority, name in enumerate(["low", "normal", "high", "urgent"])
    ]
    liteq("worker", "--app", __file__, "--queues", "ordered", "--concurrency", "1", "--burst")
    rows = sorted((get_task_status(job) or {} for job in jobs), key=lambda row: row["started_at"])
    order = [row["result"] for row in rows]
    check(f"ran as {', '.join(order)}", order == ["urgent", "high", "normal", "low"])


def cancelled() -> None:
    scene("Cancelling: one job that waits, one that runs")
    waiting = add.options(delay=3600).delay(1, 1)
    running = survives.options(max_retries=0).delay(os.devnull)
    wait(lambda: running.status() == "running")
    waiting.cancel()
    begun = time.monotonic()
    running.cancel()
    wait(lambda: running.status() != "running")
    took = time.monotonic() - begun
    check(f"the waiting one is {waiting.status()}", waiting.status() == "cancelled")
    check(f"the running one is {running.status()} after {took:.1f} s", took < 2)


def asynchronous() -> None:
    scene("Eighty async tasks that wait 0.2 s each: ten at a time in each of four processes")
    begun = time.monotonic()
    jobs = enqueue(one_request.job(number) for number in range(80))
    total = sum(job.result(timeout=20) for job in jobs)
    took = time.monotonic() - begun
    check(f"done in {took:.1f} s; one after the other they take 16 s", total == 3160 and took < 3)


def refused() -> None:
    scene("Calls that could never run are refused at .delay(), and nothing is stored")
    wrong: list[tuple[Callable[[], object], type[Exception]]] = [
        (lambda: add.delay(1), InvalidArguments),  # type: ignore[call-arg]
        (lambda: add.delay(1, b=object()), EncodingError),  # type: ignore[arg-type]
    ]
    for call, expected in wrong:
        try:
            call()
        except expected as exc:
            check(f"{type(exc).__name__}: {exc}", True)
        else:
            check(f"{expected.__name__} was expected", False)


def reported(job: JobId) -> None:
    scene("What the command line tells about all this")
    for arguments in (["status"], ["list", "--status", "failed"], ["show", str(job)]):
        print(f"\n$ liteq {' '.join(arguments)}", flush=True)
        liteq(*arguments)


# ── the machinery ──


def liteq(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "liteq", *arguments], check=True)


def start_worker(queues: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "liteq", "worker", "--app", __file__, "--queues", queues]
    with open(os.environ["LITEQ_DB"] + ".log", "ab") as log:
        worker = subprocess.Popen([*command, "--concurrency", "4"], stdout=log, stderr=log)
    count = len(get_active_workers())
    wait(lambda: len(get_active_workers()) > count)
    return worker


@contextlib.contextmanager
def working(queues: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker of our own, killed at the end if it is still there."""
    worker = start_worker(queues)
    try:
        yield worker
    finally:
        if worker.poll() is None:
            worker.kill()
            worker.wait()


def ending(job: JobId) -> str:
    """How a job failed."""
    try:
        return f"it did not fail: {job.result(timeout=20)!r}"
    except TaskFailed as exc:
        return str(exc)


def seconds_of_run(job: JobId) -> float:
    from datetime import datetime

    row = get_task_status(job) or {}
    begun, ended = (
        datetime.fromisoformat(row[column].replace("Z", "+00:00"))
        for column in ("started_at", "finished_at")
    )
    return (ended - begun).total_seconds()


def wait(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("waited 20 s in vain for something that was promised")
        time.sleep(0.02)


def play(folder: str) -> None:
    print(f"LiteQ demo. Everything below happens in {folder}/demo.db, removed at the end.")
    scene("Starting `liteq worker --app demo.py --concurrency 4`")
    with working("default") as worker:
        check(f"process {worker.pid} is at work", True)
        parallel()
        many()
        latency()
        asynchronous()
        story = retried()
        timed_out()
        crashed()
        delayed()
        cancelled()
        prioritised()
        refused()
        recovered(worker, folder)
    with working("default") as worker:
        scene("A graceful end: SIGTERM")
        job = half_a_second.delay(1)
        wait(lambda: job.status() == "running")
        worker.terminate()
        status = worker.wait(20)
        check(f"exit status {status}, and its running job is {job.status()}", status == 0)
    reported(story)


def main() -> int:
    folder = tempfile.mkdtemp(prefix="liteq-demo-")
    os.environ["LITEQ_DB"] = os.path.join(folder, "demo.db")
    begun = time.monotonic()
    try:
        play(folder)
    except TimeoutError as exc:
        check(str(exc), False)
    broken = kept_promises.count(False)
    if broken:
        print("\nWhat the workers said:", Path(folder, "demo.db.log").read_text(), sep="\n")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"\n{len(kept_promises)} promises checked in {time.monotonic() - begun:.0f} s, ", end="")
    print("all kept." if not broken else f"{broken} BROKEN.")
    print("Next: README.md, five minutes to a task of your own.")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
