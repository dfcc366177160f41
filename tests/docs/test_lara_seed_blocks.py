"""The contract of lara_queue: every block of the guide that it was asked for with runs as written.

That document lies in `shared`, beside the project. A clone alone has none and skips these tests; a
CI without it fails. Its blocks say localhost:6379 and `aioredis`: the first is led to a Redis of
the tests, the second is redis.asyncio under that name, and the real aioredis 2.0.1 on Python 3.10
where there is one.
"""

import glob
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import uuid

import pytest
from blocks import ROOT, Place, read, until
from test_seed_blocks import titled

CONTRACT = ROOT.parent / "shared" / "seeds" / "000_f5d55dae8f8c4ff7.md"
NOT_RUN = {
    "1. Обновление зависимостей 1": "the package index is not asked from tests",
}
SEED = titled(read(CONTRACT)) if CONTRACT.exists() else {}
READY = "laravel_database_queues:{}"

# What a reader would have typed before a block that is only a part of a program.
BLOCKING = """
import redis
from lara_queue import Queue

r = redis.Redis(host='localhost', port=6379, db=0)
"""
AWAITING = """
import asyncio
import aioredis
from lara_queue import AsyncQueue

async def main():
    redis_client = await aioredis.from_url("redis://localhost:6379")
{body}
asyncio.run(main())
"""
covered = set()


def covers(*titles):
    """Say which blocks a test runs; `test_every_block_is_accounted_for` adds them up."""
    covered.update(titles)
    return lambda test: test


def awaiting(*parts):
    """A program around parts that stand in a coroutine."""
    return AWAITING.format(body=textwrap.indent("\n".join(map(textwrap.dedent, parts)), "    "))


@pytest.fixture(autouse=True)
def _contract(need):
    need(CONTRACT.exists(), "the documents in ../shared")


class Terminal:
    """A folder and a Python in which the guide's programs run."""

    def __init__(self, place, python):
        self.place = place
        self.python = str(python)

    def run(self, text):
        """What a program prints that ends by itself."""
        self.place.write("program.py", text)
        return self.place.run([self.python, "program.py"])

    def listening(self, text):
        """A program that runs until it is told to end."""
        self.place.write("program.py", text)
        return self.place.running([self.python, "program.py"])

    def shows(self, text):
        """Wait until the running program has printed this."""
        log = self.place.log
        until(lambda: text in log.read_text(encoding="utf-8"), f"{text!r} to be printed", log)

    def ends(self, process, patience=30):
        """Told to end, it does so in order."""
        process.send_signal(signal.SIGTERM)
        assert process.wait(patience) == 0, self.place.log.read_text(encoding="utf-8")


@pytest.fixture
def terminal(tmp_path, redis_server):
    """A reader's terminal, where `aioredis` is redis.asyncio by another name."""
    place = Place(tmp_path)
    place.use_redis(redis_server)
    place.write(".redirected/aioredis.py", "from redis.asyncio import *\n")
    return Terminal(place, sys.executable)


@pytest.fixture(scope="session")
def python_with_aioredis(need, tmp_path_factory):
    """A Python 3.10 that has aioredis 2.0.1 and nothing else."""
    found = next(filter(runs, interpreters("3.10")), None)
    if found is None:
        pytest.skip("aioredis 2.0.1 needs a Python 3.10, and here is none")
    folder = tmp_path_factory.mktemp("aioredis")
    subprocess.run([found, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "aioredis==2.0.1"]
    done = subprocess.run(install, check=False, capture_output=True, text=True)
    need(done.returncode == 0, f"the package aioredis 2.0.1: {done.stderr}")
    return python


def interpreters(version):
    """Where such a Python may be."""
    pyenv = os.path.expanduser(f"~/.pyenv/versions/{version}.*/bin/python")
    return [f"python{version}", *sorted(glob.glob(pyenv))]


def runs(python):
    """Whether this is a Python; pyenv puts things that are none on the path."""
    path = shutil.which(python)
    return bool(path) and not subprocess.run([path, "-c", "import venv"], check=False).returncode


@pytest.fixture(params=["redis.asyncio", "aioredis 2.0.1"])
def async_terminal(request, terminal):
    """The terminal, and another one where `aioredis` is what it was."""
    if request.param == "redis.asyncio":
        return terminal
    terminal.python = str(request.getfixturevalue("python_with_aioredis"))
    redirected = terminal.place.directory / ".redirected"
    (redirected / "aioredis.py").unlink()
    terminal.place.environment["PYTHONPATH"] = f"{redirected}:{ROOT / 'src'}"
    return terminal


def dispatched(client, queue, name, **texts):
    """Push a job as Laravel's own script does; all its properties are ASCII texts."""
    body = "".join(f's:{len(key)}:"{key}";s:{len(text)}:"{text}";' for key, text in texts.items())
    payload = {
        "uuid": str(uuid.uuid4()),
        "displayName": name,
        "job": "Illuminate\\Queue\\CallQueuedHandler@call",
        "maxTries": None,
        "timeout": None,
        "data": {
            "commandName": name,
            "command": f'O:{len(name)}:"{name}":{len(texts)}:{{{body}}}',
        },
        "id": uuid.uuid4().hex,
        "attempts": 0,
    }
    client.rpush(READY.format(queue), json.dumps(payload))
    client.rpush(READY.format(queue) + ":notify", 1)


def left(client, queue):
    """How many jobs are ready or reserved, and how many dead letters there are."""
    ready = READY.format(queue)
    return client.llen(ready), client.zcard(f"{ready}:reserved"), client.llen(f"{ready}:dead")


def pushed_command(client, queue):
    """The serialized job in the one payload of a queue."""
    [payload] = client.lrange(READY.format(queue), 0, -1)
    fields = json.loads(payload)
    assert fields["attempts"] == 0
    assert fields["job"] == "Illuminate\\Queue\\CallQueuedHandler@call"
    assert client.llen(READY.format(queue) + ":notify") == 1
    return fields["data"]["command"]


def test_every_block_is_accounted_for():
    assert covered | NOT_RUN.keys() == SEED.keys()
    assert not covered & NOT_RUN.keys()


@covers("До (Sync): 1")
def test_the_first_program_that_blocks(terminal, redis_client):
    with terminal.listening(SEED["До (Sync): 1"]) as process:
        dispatched(redis_client, "python", "App\\Jobs\\Hello", message="from Laravel")
        terminal.shows("Processing: from Laravel")
        dispatched(redis_client, "python", "App\\Jobs\\Other", message="once more")
        terminal.shows("Processing: once more")
        terminal.ends(process)

    assert left(redis_client, "python") == (0, 0, 0)


@covers("После (Async): 1")
def test_the_first_program_that_awaits(async_terminal, redis_client):
    terminal = async_terminal
    with terminal.listening(SEED["После (Async): 1"]) as process:
        dispatched(redis_client, "python", "App\\Jobs\\Hello", message="from Laravel")
        terminal.shows("Processing: from Laravel")
        dispatched(redis_client, "python", "App\\Jobs\\Other", message="once more")
        terminal.shows("Processing: once more")
        terminal.ends(process)

    assert left(redis_client, "python") == (0, 0, 0)


def test_a_program_that_awaits_ends_at_once_while_there_is_nothing_to_do(async_terminal):
    logging = "import logging\nlogging.basicConfig(level='INFO')\n"
    with async_terminal.listening(logging + SEED["После (Async): 1"]) as process:
        async_terminal.shows("INFO:lara_queue:")  # its worker has begun
        async_terminal.ends(process, patience=5)


HANDLE_ONE_BY_ONE = """
running, most = [], 0

@queue.handler
def handle(data):
    global most
    running.append(data)
    most = max(most, len(running))
    running.pop()

queue.listen(stop_when_empty=True)
print('at most', most, 'of', queue.get_metrics()['jobs']['processed'])
"""
HANDLE_MANY = """
running, most = 0, 0

@queue.handler
async def handle(data):
    nonlocal running, most
    running += 1
    most = max(most, running)
    await asyncio.sleep(0.05)
    running -= 1

await queue.listen(stop_when_empty=True)
print('at most', most, 'of', queue.get_metrics()['jobs']['processed'])
"""


@covers("До (Sync): 2", "Sync (существующий) 1")
@pytest.mark.parametrize("title", ["До (Sync): 2", "Sync (существующий) 1"])
def test_a_queue_that_blocks_runs_one_job_at_a_time(terminal, redis_client, title):
    queue = re.search("queue='(.*?)'", SEED[title])[1]
    for _ in range(5):
        dispatched(redis_client, queue, "App\\Jobs\\Hello")

    said = terminal.run(BLOCKING + SEED[title] + HANDLE_ONE_BY_ONE)

    assert said == "at most 1 of 5\n"
    assert left(redis_client, queue) == (0, 0, 0)


MANY = {
    "После (Async): 2": 20,
    "I/O-интенсивные задачи (API, DB) 1": 50,
    "CPU-интенсивные задачи 1": 4,
    "Смешанные задачи 1": 20,
    "Async (новый) 1": 10,  # the default
}


@covers(*MANY)
@pytest.mark.parametrize("title", MANY)
def test_a_queue_that_awaits_runs_as_many_jobs_as_it_was_told(async_terminal, redis_client, title):
    queue, limit = re.search("queue='(.*?)'", SEED[title])[1], MANY[title]
    for _ in range(3 * limit):
        dispatched(redis_client, queue, "App\\Jobs\\Hello")

    said = async_terminal.run(awaiting(SEED[title], HANDLE_MANY))

    assert said == f"at most {limit} of {3 * limit}\n"
    assert left(redis_client, queue) == (0, 0, 0)


SEND_EMAIL = """
queue = Queue(r, queue='emails')

def send_email(to):
    print('sent to', to)
"""
SEND_EMAIL_ASYNC = """
queue = AsyncQueue(redis_client, queue='emails')

async def send_email_async(to):
    await asyncio.sleep(0)
    print('sent to', to)
"""


@covers("До (Sync): 3")
def test_a_handler_that_blocks(terminal, redis_client):
    dispatched(redis_client, "emails", "App\\Jobs\\EmailJob", to="ann@example.com")

    said = terminal.run(
        BLOCKING + SEND_EMAIL + SEED["До (Sync): 3"] + "queue.listen(stop_when_empty=True)\n"
    )

    assert said == "sent to ann@example.com\n"
    assert left(redis_client, "emails") == (0, 0, 0)


@covers("После (Async): 3")
def test_a_handler_that_awaits(async_terminal, redis_client):
    dispatched(redis_client, "emails", "App\\Jobs\\EmailJob", to="ann@example.com")

    said = async_terminal.run(
        awaiting(
            SEND_EMAIL_ASYNC,
            SEED["После (Async): 3"],
            "await queue.listen(stop_when_empty=True)\n",
        )
    )

    assert said == "sent to ann@example.com\n"
    assert left(redis_client, "emails") == (0, 0, 0)


# PHP reads properties of all three visibilities; these two are there as public ones first.
EMAIL_JOB = (
    r'O:17:"App\\Jobs\\EmailJob":\d:{s:2:"to";s:16:"user@example.com";s:7:"subject";s:5:"Hello";'
)


@covers("До (Sync): 4")
def test_a_push_that_blocks(terminal, redis_client):
    terminal.run(BLOCKING + "queue = Queue(r, queue='emails')\n" + SEED["До (Sync): 4"])

    assert re.match(EMAIL_JOB, pushed_command(redis_client, "emails"))


@covers("После (Async): 4")
def test_a_push_that_awaits(async_terminal, redis_client):
    queue = "queue = AsyncQueue(redis_client, queue='emails')\n"
    async_terminal.run(awaiting(queue, SEED["После (Async): 4"]))

    assert re.match(EMAIL_JOB, pushed_command(redis_client, "emails"))


MEASURED = r"Throughput: \d+\.\d\d jobs/sec\nConcurrent jobs: 1\n"


@covers("Метрики 1")
def test_metrics_of_a_queue_that_blocks(terminal, redis_client):
    for _ in range(2):
        dispatched(redis_client, "python", "App\\Jobs\\Hello")
    handler = "def handle(data):\n" + textwrap.indent(SEED["Метрики 1"], "    ")

    said = terminal.run(
        BLOCKING
        + "queue = Queue(r, queue='python')\n\n@queue.handler\n"
        + handler
        + "\nqueue.listen(stop_when_empty=True)\n"
        + SEED["Метрики 1"]
    )

    assert re.fullmatch(MEASURED * 2 + MEASURED.replace("1\\n", "0\\n"), said), said
    assert "Throughput: 0.00" in said.splitlines()[0]
    assert "Throughput: 0.00" not in said.splitlines()[-2]


@covers("Метрики 1")
def test_metrics_of_a_queue_that_awaits(async_terminal, redis_client):
    for _ in range(2):
        dispatched(redis_client, "python", "App\\Jobs\\Hello")
    handler = "async def handle(data):\n" + textwrap.indent(SEED["Метрики 1"], "    ")

    said = async_terminal.run(
        awaiting(
            "queue = AsyncQueue(redis_client, queue='python', max_concurrent_jobs=1)\n",
            "@queue.handler\n" + handler,
            "await queue.listen(stop_when_empty=True)\n",
            SEED["Метрики 1"],
        )
    )

    assert re.fullmatch(MEASURED * 2 + MEASURED.replace("1\\n", "0\\n"), said), said
    assert "Throughput: 0.00" not in said.splitlines()[-2]


@covers("Логирование 1")
def test_the_log_of_jobs_is_that_of_lara_queue(terminal, redis_client):
    dispatched(redis_client, "python", "App\\Jobs\\Hello", message="hi")

    said = terminal.run(
        SEED["Логирование 1"]
        + BLOCKING
        + "queue = Queue(r, queue='python', max_retries=0)\n"
        + "@queue.handler\ndef handle(data):\n    raise ValueError('no such user')\n"
        + "queue.listen(stop_when_empty=True)\n"
        + "logger.info('mine')\n"
    )

    assert "INFO:lara_queue:mine" in said
    assert re.search(r"(WARNING|ERROR):lara_queue:.*ValueError: no such user", said), said


def test_both_apis_work_side_by_side(terminal, redis_client):
    dispatched(redis_client, "python", "App\\Jobs\\Hello", message="to the first")
    dispatched(redis_client, "python_async", "App\\Jobs\\Hello", message="to the second")
    second = SEED["После (Async): 1"].replace("queue='python'", "queue='python_async'")
    terminal.place.write("second.py", second)

    with terminal.listening(SEED["До (Sync): 1"]) as first:
        terminal.shows("Processing: to the first")
        process = subprocess.Popen(
            [terminal.python, "second.py"],
            cwd=terminal.place.directory,
            env=terminal.place.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout.readline() == "Processing: to the second\n"
        finally:
            process.terminate()
            process.communicate(timeout=30)
        assert process.returncode == 0
        terminal.ends(first)
