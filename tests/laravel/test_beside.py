"""Plain handlers of an AsyncQueue, beside its loop: in threads, or in processes of their own."""

import asyncio
import os
import threading

import pytest
import redis.asyncio

from lara_queue import AsyncQueue


def pid_to_file(job):
    if job["data"].get("die"):
        os._exit(3)
    with open(job["data"]["file"], "a") as file:
        file.write(f"{os.getpid()}\n")


def served(server, handler, jobs, **settings):
    """The dead letters after a queue has run these jobs."""

    async def main():
        async with redis.asyncio.Redis(port=server.port) as client:
            queue = AsyncQueue(client, queue="beside", max_concurrent_jobs=4, **settings)
            queue.handler(handler)
            await queue.bulk(jobs, max_tries=1)
            await queue.listen(stop_when_empty=True)
            return await queue.dead_letters()

    return asyncio.run(main())


def test_plain_handlers_run_in_threads(redis_server):
    seen = []

    letters = served(
        redis_server, lambda job: seen.append(threading.current_thread()), [("X", {})] * 3
    )

    assert len(seen) == 3
    assert threading.main_thread() not in seen
    assert letters == []


def test_plain_handlers_run_in_processes(redis_server, tmp_path):
    file = tmp_path / "pids"

    served(redis_server, pid_to_file, [("X", {"file": str(file)})] * 6, processes=2)

    pids = file.read_text().split()
    assert len(pids) == 6
    assert str(os.getpid()) not in pids
    assert len(set(pids)) <= 2


def test_process_that_dies_takes_one_job_along(redis_server, tmp_path):
    file = tmp_path / "pids"
    jobs = [("X", {"file": str(file), "die": n == 2}) for n in range(6)]

    letters = served(redis_server, pid_to_file, jobs, processes=2)

    assert len(file.read_text().split()) == 5
    assert [letter.error.partition(":")[0] for letter in letters] == ["BrokenProcessPool"]


def test_handler_that_no_other_process_can_find_is_refused_at_once(redis_server):
    with pytest.raises(ValueError, match="cannot run in another process"):
        served(redis_server, lambda job: None, [], processes=2)
