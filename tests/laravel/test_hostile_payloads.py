"""Payloads that nobody should write: none ends a worker, and each is run, kept or on record."""

import asyncio
import itertools
import json

import pytest

from liteq import registry, task
from liteq.worker import Worker

PLAIN = "App\\Jobs\\Plain"
TEXTS = [
    "not json", "", "\0", "\ufeff{}", "[]", "5", "null", '""', "{}", "[" * 3000, '{"attempts":0}',
    '{"attempts":"0","job":"A@b"}', '{"attempts":null,"job":"A@b"}', '{"attempts":[],"job":"A@b"}',
]  # fmt: skip
JUNK = [
    None, True, -1, 2**70, 1e308, "", "x", "é\0", [], [1], {}, {"a": 1}, [[[]]], "10,x", "-5",
    "9" * 400, 'O:8:"stdClass":0:{}', 'O:8:"stdClass":1:{', "a:0:{}",
]  # fmt: skip
FIELDS = [
    "id", "displayName", "job", "maxTries", "maxExceptions", "failOnTimeout", "backoff", "delay",
    "timeout", "retryUntil", "timeoutAt", "data", "tags", "type", "pushedAt", "silenced",
    "retry_of", "createdAt",
]  # fmt: skip
DATA_FIELDS = ["commandName", "command", "batchId"]
FOLLOWERS = [
    "", "x", "N;", "i:5;", "O:8:", 'O:8:"stdClass":0:{}', 'O:8:"stdClass":1:{s:5:"delay";s:1:"x";}',
    'O:8:"stdClass":1:{s:5:"queue";a:0:{}}', 'O:8:"stdClass":1:{s:10:"connection";i:1;}',
    'O:8:"stdClass":1:{s:5:"tries";s:1:"x";}',
]  # fmt: skip
PROPERTIES = [
    's:7:"chained";s:1:"x";', 's:7:"chained";a:1:{i:0;i:5;}', 's:7:"batchId";s:2:"no";',
    's:7:"batchId";i:1;', 's:8:"uniqueId";i:5;', 's:8:"uniqueId";a:0:{}',
    's:15:"uniqueLockOwner";i:5;',
]  # fmt: skip


def payloads(good):
    """All of them, each with a uuid of its own, as failed_jobs has one row for each."""
    number = itertools.count()

    def made(**changes):
        return json.dumps(good | {"attempts": 0, "uuid": f"uuid-{next(number)}"} | changes)

    yield from TEXTS
    for junk in JUNK:
        yield from (made(**{field: junk}) for field in FIELDS)
        yield from (made(data=good["data"] | {field: junk}) for field in DATA_FIELDS)
    chains = [f's:7:"chained";a:1:{{i:0;s:{len(each)}:"{each}";}}' for each in FOLLOWERS]
    for written in PROPERTIES + chains:
        command = f'O:14:"App\\Jobs\\Plain":1:{{{written}}}'
        yield made(data=good["data"] | {"command": command})


@pytest.fixture
def laid(pair):
    """The queue `default` with all these payloads; how many there are."""
    pair.ask.push("Plain")
    [good] = pair.payloads()
    pair.ask.clear()
    found = list(payloads(good))
    for text in found:
        pair.put(text)
    return len(found)


def blocking(pair, ran, **settings):
    queue = pair.queue(max_retries=0, **settings)
    queue.handler(PLAIN, unique_id=lambda data: data["name"])(ran.append)
    queue.listen(stop_when_empty=True)


def awaited(pair, ran, **settings):
    async def listen():
        async with pair.aqueue(max_retries=0, **settings) as queue:

            @queue.handler(PLAIN)
            async def handle(job):
                ran.append(job)

            await queue.listen(stop_when_empty=True)

    asyncio.run(listen())


def tasks(pair, ran, **settings):
    @task(name=PLAIN, max_retries=0)
    def plain(**data):
        ran.append(data)

    try:
        Worker(pool="inline", burst=True, url=pair.url(**settings)).run()
    finally:
        registry.forget(PLAIN)


@pytest.mark.parametrize("kind", [blocking, awaited, tasks])
def test_whatever_is_in_the_queue_is_run_kept_or_on_record(pair, laid, kind):
    ran = []

    kind(pair, ran, **({"horizon": "laravel_horizon:"} if pair.driver == "redis" else {}))

    queue = pair.queue()
    letters = queue.dead_letters(1000) if pair.driver == "redis" else []
    ready, delayed, reserved = queue.size()
    failed = [row for row in pair.failed() if '"displayName":"stdClass"' not in row["payload"]]
    assert (ready, reserved) == (0, 0)
    assert len(ran) + len(letters) + len(failed) + delayed == laid  # beside the chains' next jobs
    assert all(row["exception"] for row in failed)
    assert len(ran) > laid / 2
