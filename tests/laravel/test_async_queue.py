"""AsyncQueue: the front door for programs with an event loop, on a real Redis.

What it shares with `Queue` (payloads, options, failures) is test_queue's.
"""

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest
import redis
import redis.asyncio

from lara_queue import AsyncIOEventEmitter, AsyncQueue, Cancel, Queue, Retry, RetryPolicy, database

READY = "laravel_database_queues:{}"
TABLES = """
CREATE TABLE jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, queue VARCHAR, payload TEXT,
    attempts INTEGER, reserved_at INTEGER, available_at INTEGER, created_at INTEGER);
CREATE TABLE failed_jobs (id INTEGER PRIMARY KEY AUTOINCREMENT, uuid VARCHAR UNIQUE,
    connection TEXT, queue TEXT, payload TEXT, exception TEXT, failed_at DATETIME);
"""
AT_ONCE = RetryPolicy("fixed", first=0)


@pytest.fixture
def run(redis_server):
    """`run(scene)`: runs `async def scene(client)` on a loop of its own; what it returns."""

    def run(scene, **options):
        async def play():
            # No retries: the bell's wait is cut off at the end, and would be connected anew.
            settings = {"port": redis_server.port, "retry": None, **options}
            async with redis.asyncio.Redis(**settings) as client:
                return await asyncio.wait_for(scene(client), 30)

        return asyncio.run(play())

    return run


async def until(holds, patience=10.0):
    """Wait for something that must come."""
    deadline = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.01)


def handled(queue):
    """What a coroutine that handles all jobs gets."""
    jobs = []

    @queue.handler
    async def handle(job):
        jobs.append(job)

    return jobs


class TestHandlers:
    def test_a_coroutine_gets_name_and_data_and_no_more(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            jobs = handled(queue)
            await queue.push("App\\Jobs\\X", {"n": 1, "who": {"name": "Zoë"}})
            await queue.listen(stop_when_empty=True)
            return jobs

        assert run(scene) == [{"name": "App\\Jobs\\X", "data": {"n": 1, "who": {"name": "Zoë"}}}]

    def test_a_coroutine_runs_on_the_loop_that_listens(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            seen = []

            @queue.handler
            async def handle(job):
                seen.append((asyncio.get_running_loop(), threading.current_thread()))

            await queue.push("App\\Jobs\\X")
            await queue.listen(stop_when_empty=True)
            return seen == [(asyncio.get_running_loop(), threading.main_thread())]

        assert run(scene)

    def test_plain_functions_hold_up_neither_the_loop_nor_each_other(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_concurrent_jobs=5)
            all_here, loop_has_turned = threading.Barrier(5), threading.Event()
            threads = []

            @queue.handler
            def handle(job):
                all_here.wait(10)
                threads.append(threading.current_thread())
                if not loop_has_turned.wait(10):
                    raise TimeoutError("the loop stands still")

            async def turn():
                await until(lambda: len(threads) == 5)
                loop_has_turned.set()

            turning = asyncio.create_task(turn())
            await queue.bulk(("App\\Jobs\\X", {}) for _ in range(5))
            await queue.listen(stop_when_empty=True)
            await turning
            return queue.get_metrics()["jobs"]["processed"], threads

        processed, threads = run(scene)

        assert processed == 5
        assert threading.main_thread() not in threads

    def test_a_class_finds_its_own_handler_and_all_others_the_common_one(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            seen = []

            @queue.handler("App\\Jobs\\Mail")
            async def mail(job):
                seen.append(("mail", job["name"]))

            @queue.handler
            def rest(job):
                seen.append(("rest", job["name"]))

            await queue.push("App\\Jobs\\Mail")
            await queue.push("App\\Jobs\\Other")
            await queue.listen(stop_when_empty=True)
            return sorted(seen)

        assert run(scene) == [("mail", "App\\Jobs\\Mail"), ("rest", "App\\Jobs\\Other")]

    def test_without_a_handler_nothing_is_taken(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            await queue.push("App\\Jobs\\X")
            with pytest.raises(ValueError, match="has no handler"):
                await queue.listen(stop_when_empty=True)
            return await queue.size()

        assert run(scene) == (1, 0, 0)

    @pytest.mark.parametrize("kind", ["coroutine", "plain function"])
    def test_an_exception_in_any_handler_is_a_failed_attempt(self, run, kind):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_retries=0)

            async def breaks(job):
                raise LookupError("no user 7")

            def breaks_too(job):
                raise LookupError("no user 7")

            queue.handler(breaks if kind == "coroutine" else breaks_too)
            await queue.push("App\\Jobs\\X")
            await queue.listen(stop_when_empty=True)
            return await queue.dead_letters(), queue.get_metrics()["jobs"]

        [letter], jobs = run(scene)

        assert letter.error.startswith("LookupError: no user 7")
        assert (jobs["processed"], jobs["failed"]) == (0, 1)

    def test_a_handler_may_push_on_the_same_queue(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_concurrent_jobs=2)
            seen = []

            @queue.handler
            async def handle(job):
                seen.append(job["data"]["n"])
                if job["data"]["n"] < 5:
                    await queue.push(job["name"], {"n": job["data"]["n"] + 1})

            await queue.push("App\\Jobs\\X", {"n": 1})
            await queue.listen(stop_when_empty=True)
            return seen

        assert run(scene) == [1, 2, 3, 4, 5]


class TestLimits:
    @pytest.mark.parametrize("limit", [1, 3, 20])
    def test_no_more_jobs_are_taken_than_may_run(self, run, limit):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_concurrent_jobs=limit)
            running, most, reserved = 0, 0, []

            @queue.handler
            async def handle(job):
                nonlocal running, most
                running += 1
                most = max(most, running)
                reserved.append(await client.zcard(READY.format("python") + ":reserved"))
                await asyncio.sleep(0.02)
                running -= 1

            await queue.bulk(("App\\Jobs\\X", {}) for _ in range(4 * limit))
            await queue.listen(stop_when_empty=True)
            return most, max(reserved)

        assert run(scene) == (limit, limit)

    def test_jobs_that_wait_wait_together(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_concurrent_jobs=20)

            @queue.handler
            async def handle(job):
                await asyncio.sleep(0.2)

            await queue.bulk(("App\\Jobs\\X", {}) for _ in range(20))
            began = time.monotonic()
            await queue.listen(stop_when_empty=True)
            return time.monotonic() - began

        assert run(scene) < 2.0  # one after the other: 4 s

    def test_a_time_limit_stops_a_coroutine(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_retries=0, timeout=0.2)
            cleaned = []

            @queue.handler
            async def handle(job):
                try:
                    await asyncio.sleep(60)
                finally:
                    cleaned.append(job)

            await queue.push("App\\Jobs\\X")
            await queue.listen(stop_when_empty=True)
            return cleaned, await queue.dead_letters()

        cleaned, [letter] = run(scene)

        assert len(cleaned) == 1
        assert "Timeout" in letter.error

    def test_what_the_job_says_goes_before_the_queue(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_retries=0, timeout=60)

            @queue.handler
            async def handle(job):
                await asyncio.sleep(30)

            await queue.push("App\\Jobs\\X", timeout=1, max_tries=2, backoff=100)
            await queue.listen(stop_when_empty=True)
            return await queue.size()

        assert run(scene) == (0, 1, 0)


class TestRetries:
    def test_retries_are_those_of_the_policy(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_retries=2, retry=AT_ONCE)
            told = []

            @queue.handler
            async def handle(job):
                raise OSError("busy")

            @queue.on("retrying")
            async def hear(event):
                told.append(event["attempt"])

            @queue.on("failed")
            def end(event):
                told.append(("failed", event["attempt"]))
                queue.stop()

            await queue.push("App\\Jobs\\X")
            await queue.listen()
            return told

        assert run(scene) == [1, 2, ("failed", 3)]

    def test_a_handler_may_ask_for_another_run_or_say_that_it_is_no_use(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")

            @queue.handler("App\\Jobs\\Again")
            async def again(job):
                raise Retry("closed", after=100)

            @queue.handler("App\\Jobs\\Gone")
            async def gone(job):
                raise Cancel("the order is gone")

            await queue.push("App\\Jobs\\Again")
            await queue.push("App\\Jobs\\Gone")
            await queue.listen(stop_when_empty=True)
            delayed = READY.format("python") + ":delayed"
            [(_, due)] = await client.zrange(delayed, 0, -1, withscores=True)
            return await queue.size(), due - time.time(), queue.get_metrics()["jobs"]["processed"]

        size, wait, processed = run(scene)

        assert size == (0, 1, 0)
        assert 98 < wait <= 101
        assert processed == 0

    def test_a_dead_letter_can_be_sent_round_again_or_deleted(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_retries=0)
            broken = [True]

            @queue.handler
            async def handle(job):
                if broken:
                    raise OSError("busy")

            await queue.bulk(("App\\Jobs\\X", {"n": n}) for n in range(2))
            await queue.listen(stop_when_empty=True)
            broken.clear()
            one, other = await queue.dead_letters()
            said = [
                await queue.retry_dead_letter(one),
                await queue.retry_dead_letter(one),
                await queue.delete_dead_letter(other),
                await queue.delete_dead_letter(other),
            ]
            await queue.listen(stop_when_empty=True)
            return said, await queue.dead_letters(), queue.get_metrics()["jobs"]["processed"]

        assert run(scene) == ([True, False, True, False], [], 1)

    def test_failures_may_go_to_a_function(self, run):
        async def scene(client):
            failed = []
            queue = AsyncQueue(client, queue="python", max_retries=0, failed=failed.append)

            @queue.handler
            async def handle(job):
                raise OSError("busy")

            uuid = await queue.push("App\\Jobs\\X")
            await queue.listen(stop_when_empty=True)
            return uuid, failed

        uuid, [job] = run(scene)

        assert job.uuid == uuid
        assert job.exception.startswith("OSError: busy")


class TestPush:
    def test_push_and_bulk_write_what_queue_writes(self, run, redis_client):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            first = await queue.push("App\\Jobs\\X", {"n": 1}, max_tries=3)
            rest = await queue.bulk((("App\\Jobs\\X", {"n": n}) for n in (2, 3)), max_tries=3)
            return [first, *rest]

        uuids = run(scene)
        Queue(redis_client, queue="python").push("App\\Jobs\\X", {"n": 1}, max_tries=3)

        found = [json.loads(text) for text in redis_client.lrange(READY.format("python"), 0, -1)]
        assert [fields["uuid"] for fields in found[:3]] == uuids
        ours, theirs = found[0], found[3]
        assert ours.keys() == theirs.keys()
        assert ours["data"] == theirs["data"]
        assert redis_client.llen(READY.format("python") + ":notify") == 4

    def test_a_delayed_job_waits(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            jobs = handled(queue)
            await queue.push("App\\Jobs\\X", delay=60)
            await queue.listen(stop_when_empty=True)
            return jobs, await queue.size(), await queue.clear()

        assert run(scene) == ([], (0, 1, 0), 1)

    def test_a_unique_job_is_pushed_once_until_it_has_run(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")

            @queue.handler("App\\Jobs\\X", unique_id=lambda data: data["order"])
            async def handle(job): ...

            def push():
                return queue.push("App\\Jobs\\X", {"order": 7}, unique_id=7)

            first, second = await push(), await push()
            await queue.listen(stop_when_empty=True)
            return bool(first), second, bool(await push())

        assert run(scene) == (True, None, True)

    def test_queues_are_emptied_in_their_order(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue=["high", "low"], max_concurrent_jobs=1)
            jobs = handled(queue)
            await queue.push("App\\Jobs\\X", {"n": 1}, queue="low")
            await queue.push("App\\Jobs\\X", {"n": 2})
            await queue.listen(stop_when_empty=True)
            return [job["data"]["n"] for job in jobs]

        assert run(scene) == [2, 1]


class TestFiguresAndEvents:
    def test_metrics_are_a_dict_that_may_be_awaited(self, run):
        async def scene(client):
            queue = AsyncQueue(client=client, queue="python", enable_metrics=True)
            inside = []

            @queue.handler
            async def handle(job):
                inside.append((queue._processing_jobs, queue.get_metrics()["jobs"]["processing"]))
                await asyncio.sleep(0.05)

            await queue.bulk(("App\\Jobs\\X", {}) for _ in range(3))
            await queue.listen(stop_when_empty=True)
            return inside, queue.get_metrics(), await queue.get_metrics(), queue._processing_jobs

        inside, plain, awaited, after = run(scene)

        assert inside == [(3, 3)] * 3
        assert after == 0
        assert plain["jobs"] == awaited["jobs"]
        assert plain["jobs"]["processed"] == 3
        assert plain["performance"]["throughput_per_second"] > 0
        assert 0.05 <= awaited["performance"]["average_seconds"] < 1

    def test_metrics_can_be_asked_for_before_anything_is_done(self, run):
        async def scene(client):
            return AsyncQueue(client).get_metrics()

        assert run(scene)["performance"]["throughput_per_second"] == 0

    def test_listeners_may_be_coroutines_and_are_waited_for(self, run, caplog):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            handled(queue)
            told, once = [], []

            @queue.on("processed")
            async def slow(event):
                await asyncio.sleep(0.2)
                told.append(("slow", event["name"]))

            @queue.on("processed")
            async def broken(event):
                raise RuntimeError("broken coroutine")

            @queue.on("processed")
            def broken_too(event):
                raise RuntimeError("broken function")

            queue.on("processed", lambda event: told.append(("plain", event["name"])))
            queue.events.once("processed", once.append)
            await queue.bulk(("App\\Jobs\\X", {}) for _ in range(2))
            await queue.listen(stop_when_empty=True)
            return sorted(told), len(once), queue.get_metrics()["jobs"]["processed"]

        told, once, processed = run(scene)

        assert told == [("plain", "App\\Jobs\\X")] * 2 + [("slow", "App\\Jobs\\X")] * 2
        assert (once, processed) == (1, 2)
        assert "broken coroutine" in caplog.text
        assert "broken function" in caplog.text

    def test_an_emitter_works_by_itself(self):
        async def scene():
            emitter = AsyncIOEventEmitter()
            heard = []

            @emitter.on("news")
            async def hear(*words):
                await asyncio.sleep(0)
                heard.append(words)

            said = emitter.emit("news", 1, "two"), emitter.emit("other")
            await emitter.wait()
            emitter.remove_listener("news", hear)
            return said, heard, emitter.emit("news")

        assert asyncio.run(scene()) == ((True, False), [(1, "two")], False)


class TestStopping:
    def test_stop_lets_running_jobs_end_however_often_it_is_said(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_concurrent_jobs=2)
            ended = []

            @queue.handler
            async def handle(job):
                queue.stop()
                await asyncio.sleep(0.2)
                ended.append(job)

            await queue.bulk(("App\\Jobs\\X", {}) for _ in range(5))
            await queue.listen()
            return len(ended), await queue.size()

        assert run(scene) == (2, (3, 0, 0))

    def test_cancelled_it_lets_running_jobs_end_and_says_so(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            began, ended = [], []

            @queue.handler
            async def handle(job):
                began.append(job)
                await asyncio.sleep(0.2)
                ended.append(job)

            await queue.push("App\\Jobs\\X")
            listening = asyncio.create_task(queue.listen())
            await until(lambda: began)
            listening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await listening
            return len(ended), await queue.size()

        assert run(scene) == (1, (0, 0, 0))

    def test_jobs_that_do_not_end_within_the_grace_go_back(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", grace=0.2)
            began, cut = [], []

            @queue.handler
            async def handle(job):
                began.append(job)
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cut.append(job)
                    raise

            await queue.push("App\\Jobs\\X")
            listening = asyncio.create_task(queue.listen())
            await until(lambda: began)
            queue.stop()
            await listening
            return len(cut), await queue.size()

        cut, size = run(scene)

        assert cut == 1
        assert sum(size) == 1
        assert size.reserved == 0

    def test_stopped_while_idle_it_ends_at_once(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            handled(queue)
            listening = asyncio.create_task(queue.listen())
            await asyncio.sleep(0.3)
            began = time.monotonic()
            queue.stop()
            await listening
            return time.monotonic() - began

        assert run(scene) < 0.8  # a look at Redis that blocks takes 1 s

    def test_signals_are_given_back_to_the_program(self, run):
        async def scene(client):
            queue = AsyncQueue(client, queue="python")
            handled(queue)
            await queue.listen(stop_when_empty=True)

        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        run(scene)

        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_ends_a_program_with_status_0(self, redis_server, tmp_path, number):
        program = tmp_path / "program.py"
        program.write_text(
            "import asyncio, sys\nimport redis.asyncio\nfrom lara_queue import AsyncQueue\n"
            "async def main():\n"
            f"    client = redis.asyncio.Redis(port={redis_server.port})\n"
            "    queue = AsyncQueue(client, queue='python')\n"
            "    @queue.handler\n"
            "    async def handle(job):\n"
            "        print('began', flush=True)\n"
            "        await asyncio.sleep(0.5)\n"
            "        print('ended', flush=True)\n"
            "    await queue.push('App\\\\Jobs\\\\X')\n"
            "    await queue.listen()\n"
            "    await client.aclose()\n"
            "asyncio.run(main())\n"
        )
        process = subprocess.Popen(
            [sys.executable, program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout.readline() == "began\n"
            process.send_signal(number)
            said, errors = process.communicate(timeout=20)

        assert process.returncode == 0, errors
        assert said == "ended\n"


class TestLoops:
    def test_one_queue_serves_two_loops_one_after_the_other(self, redis_server):
        pool = redis.asyncio.ConnectionPool(port=redis_server.port, retry=None)
        queue = AsyncQueue(redis.asyncio.Redis(connection_pool=pool), queue="python")
        jobs = handled(queue)

        async def once(n):
            await queue.push("App\\Jobs\\X", {"n": n})
            await queue.listen(stop_when_empty=True)
            await pool.disconnect()  # its connections are of this loop
            return await queue.get_metrics()

        asyncio.run(once(1))
        metrics = asyncio.run(once(2))

        assert [job["data"]["n"] for job in jobs] == [1, 2]
        assert metrics["jobs"]["processed"] == 2

    def test_laravels_table_stands_in_place_of_a_client(self, tmp_path):
        file = tmp_path / "laravel.sqlite"
        with contextlib.closing(sqlite3.connect(file)) as connection:
            connection.executescript(TABLES)
        queue = AsyncQueue(database(f"sqlite:///{file}"), queue="python", max_retries=0)

        async def scene():
            seen = []

            @queue.handler
            async def handle(job):
                seen.append(job["data"]["n"])
                if job["data"]["n"] == 2:
                    raise ValueError("unlucky")

            await queue.push("App\\Jobs\\X", {"n": 1})
            await queue.bulk([("App\\Jobs\\X", {"n": 2})])
            await queue.push("App\\Jobs\\X", {"n": 3}, delay=60)
            await queue.listen(stop_when_empty=True)
            return sorted(seen)

        assert asyncio.run(scene()) == [1, 2]
        with contextlib.closing(sqlite3.connect(file)) as connection:
            [(wait,)] = connection.execute("SELECT available_at - created_at FROM jobs")
            [(name, error)] = connection.execute("SELECT queue, exception FROM failed_jobs")
        assert 60 <= wait <= 61
        assert name == "python"
        assert error.startswith("ValueError: unlucky")

    def test_two_queues_share_one_loop_and_one_client(self, run):
        async def scene(client):
            one = AsyncQueue(client, queue="one")
            two = AsyncQueue(client, queue="two", max_retries=0)
            first, second = handled(one), handled(two)
            for n in range(10):
                await one.push("App\\Jobs\\X", {"n": n})
                await two.push("App\\Jobs\\X", {"n": n})
            await asyncio.gather(one.listen(stop_when_empty=True), two.listen(stop_when_empty=True))
            return len(first), len(second)

        assert run(scene) == (10, 10)

    def test_both_apis_work_side_by_side_in_one_process(self, run, redis_server):
        with redis_server.client() as blocking:
            other = Queue(blocking, queue="python")
            seen = []
            other.handler(lambda job: seen.append(job["data"]["n"]))
            thread = threading.Thread(target=other.listen)

            async def scene(client):
                queue = AsyncQueue(client, queue="python_async")
                jobs = handled(queue)
                listening = asyncio.create_task(queue.listen())
                await asyncio.to_thread(other.push, "App\\Jobs\\X", {"n": 1})
                await queue.push("App\\Jobs\\X", {"n": 2})
                await queue.push("App\\Jobs\\X", {"n": 3}, queue="python")
                await until(lambda: len(jobs) == 1 and len(seen) == 2)
                queue.stop()
                await listening
                return [job["data"]["n"] for job in jobs]

            thread.start()
            try:
                answer = run(scene)
            finally:
                other.stop()
                thread.join(10)

        assert answer == [2]
        assert seen == [1, 3]

    def test_both_apis_may_share_one_queue(self, run, redis_server):
        with redis_server.client() as blocking:
            other = Queue(blocking, queue="python")
            seen = []

            @other.handler
            def handle(job):
                seen.append(job["data"]["n"])
                time.sleep(0.005)

            async def scene(client):
                queue = AsyncQueue(client, queue="python", max_concurrent_jobs=2)

                @queue.handler
                async def handle(job):
                    seen.append(job["data"]["n"])
                    await asyncio.sleep(0.005)

                await queue.bulk(("App\\Jobs\\X", {"n": n}) for n in range(200))
                thread = threading.Thread(target=lambda: other.listen(stop_when_empty=True))
                thread.start()
                await queue.listen(stop_when_empty=True)
                await asyncio.to_thread(thread.join, 10)
                return queue.get_metrics()["jobs"]["processed"]

            ours = run(scene)

        assert sorted(seen) == list(range(200))
        assert 0 < ours < 200


class TestSettings:
    @pytest.mark.parametrize("limit", [0, -1, 2.5, "20", None])
    def test_a_limit_that_makes_no_sense_is_refused(self, limit):
        with pytest.raises(ValueError, match="max_concurrent_jobs="):
            AsyncQueue(redis.asyncio.Redis(), max_concurrent_jobs=limit)

    def test_a_setting_that_is_none_is_refused_naming_those_there_are(self):
        with pytest.raises(TypeError, match=r"named 'max_workers'; there are .*max_retries"):
            AsyncQueue(redis.asyncio.Redis(), max_workers=3)

    @pytest.mark.parametrize("place", ["redis://localhost", None])
    def test_what_is_no_client_is_refused(self, place):
        with pytest.raises(ValueError, match="no Redis client"):
            AsyncQueue(place)

    def test_a_client_that_blocks_is_refused(self, redis_client):
        with pytest.raises(ValueError, match=r"AsyncQueue needs redis\.asyncio"):
            AsyncQueue(redis_client)

    @pytest.mark.parametrize("decode", [True, False])
    @pytest.mark.parametrize("protocol", [2, 3])
    def test_replies_may_be_text_or_bytes_in_either_protocol(self, run, decode, protocol):
        async def scene(client):
            queue = AsyncQueue(client, queue="python", max_retries=0)
            jobs = []

            @queue.handler
            async def handle(job):
                jobs.append(job)
                raise ValueError("ünlucky")

            await queue.push("App\\Jobs\\Ünïcode", {"text": "ÿ"})
            await queue.listen(stop_when_empty=True)
            return jobs, await queue.dead_letters()

        jobs, [letter] = run(scene, decode_responses=decode, protocol=protocol)

        assert jobs == [{"name": "App\\Jobs\\Ünïcode", "data": {"text": "ÿ"}}]
        assert "ünlucky" in letter.error

    def test_a_program_needs_no_redis_py_to_import_it(self):
        code = "import sys, lara_queue; sys.exit('redis' in sys.modules)"

        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
