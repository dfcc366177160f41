"""What becomes of a job: results, errors, retries. One worker serves all of these tests."""

import asyncio
import inspect
from datetime import datetime, timedelta, timezone

import chores
import pytest
from crew import attempts, begun, ended, insert, instant, status, wait_for

from liteq import TaskCancelled, TaskFailed, get_task_status


@pytest.fixture(scope="module", autouse=True)
def worker(shared_crew):
    hand = shared_crew.hire("--concurrency", "2")
    yield hand
    assert hand.stop() == 0


# ── results ──


@pytest.mark.parametrize("task", [chores.add, chores.add_async])
def test_the_result_comes_back(task):
    job = task.delay(2, b=3)

    assert job.result(timeout=10) == 5
    assert status(job)["status"] == "done"
    assert status(job)["attempts"] == 1
    assert status(job)["error"] is None


def test_values_come_back_as_the_annotations_say():
    order = chores.Order(7, datetime(2026, 1, 31, 9, tzinfo=timezone.utc))

    job = chores.postponed.delay(order, by=timedelta(days=1))

    assert job.result(timeout=10) == chores.Order(7, order.placed + timedelta(days=1))


def test_a_result_can_be_awaited():
    async def call():
        return await (await chores.add.adelay(2, 3)).aresult(timeout=10)

    assert asyncio.run(call()) == 5


def test_ten_awaiting_producers_at_once_get_an_id_each():
    async def crowd():
        return await asyncio.gather(*(chores.add.adelay(n, n) for n in range(10)))

    jobs = asyncio.run(crowd())

    assert len(set(jobs)) == 10
    assert sorted(job.result(timeout=10) for job in jobs) == [2 * n for n in range(10)]


@pytest.mark.parametrize("size", [70_000, 900_000])
def test_arguments_too_large_for_a_message_arrive_whole(size):
    text = "ж" * (size // 2)

    assert chores.length.delay(text).result(timeout=10) == len(text)


def test_a_large_result_comes_back_whole():
    assert chores.repeat.delay("ж", 400_000).result(timeout=10) == "ж" * 400_000


def test_a_task_knows_about_its_own_job(worker):
    job = chores.whereabouts.options(queue="other", timeout=9.0).delay()

    facts = job.result(timeout=10)

    assert facts.pop("pid") in worker.children()
    assert facts == {
        "id": job,
        "name": "whereabouts",
        "queue": "other",
        "attempt": 1,
        "limit": True,
    }


def test_what_a_task_prints_is_not_lost(worker):
    chores.say.delay("printed and seen").result(timeout=10)

    wait_for(lambda: "printed and seen" in worker.out().splitlines(), "the line")


def test_what_a_task_prints_before_it_dies_is_not_lost(worker):
    assert ended(chores.vanish.delay(3))["status"] == "failed"

    assert "last words" in worker.out().splitlines()


def test_the_stored_times_are_those_of_the_run(notes):
    status = ended(chores.nap.delay(notes.path, 0.3))

    took = instant(status["finished_at"]) - instant(status["started_at"])
    assert 0.3 <= took < 1.0
    assert instant(status["created_at"]) <= instant(status["started_at"])


# ── failures ──


@pytest.mark.parametrize("task", [chores.fail, chores.fail_async])
def test_a_job_without_retries_runs_exactly_once(task):
    job = task.options(max_retries=0).delay("no such user")

    with pytest.raises(TaskFailed, match="ValueError: no such user"):
        job.result(timeout=10)
    assert status(job)["error"] == "ValueError: no such user"
    assert status(job)["attempts"] == 1
    assert [each.attempt for each in attempts(job)] == [1]


def test_a_failing_job_has_all_its_runs_and_its_waits(notes):
    job = chores.fail.options(max_retries=2).delay("no", notes.path)

    found = ended(job)

    first, second, third = map(float, notes.lines())
    assert found["status"] == "failed"
    assert found["attempts"] == 3
    assert [each.attempt for each in attempts(job)] == [1, 2, 3]
    assert 0.2 <= second - first < 1.0
    assert 0.2 <= third - second < 1.0


def test_the_traceback_on_record_begins_in_the_users_code():
    job = chores.fail.options(max_retries=0).delay("no")

    ended(job)

    [attempt] = attempts(job)
    frames = [line for line in attempt.traceback.splitlines() if line.startswith("  File")]
    assert len(frames) == 1
    assert f'chores.py", line {inspect.getsourcelines(chores.fail)[1] + 4}' in frames[0]
    assert attempt.traceback.endswith("ValueError: no\n")


def test_a_job_that_succeeds_after_retries_is_done():
    job = chores.fail_until.delay(3)

    assert job.result(timeout=10) == 3
    assert status(job)["attempts"] == 3
    assert status(job)["error"] is None
    assert [each.error for each in attempts(job)] == [
        "RuntimeError: not on attempt 1",
        "RuntimeError: not on attempt 2",
    ]


def test_the_default_wait_is_about_ten_seconds():
    job = chores.note.delay("/no/such/folder/notes", "x")

    wait_for(lambda: attempts(job), "a failed run")

    found = status(job)
    assert found["status"] == "pending"
    wait = instant(found["run_at"]) - instant(attempts(job)[0].finished_at)
    assert 8.9 <= wait <= 10.1
    assert job.cancel()


def test_waits_can_be_the_tasks_own_function(notes):
    ended(chores.fail_with_own_waits.delay(notes.path))

    first, second, third = map(float, notes.lines())
    assert 0.1 <= second - first < 0.9
    assert 0.2 <= third - second < 1.0


def test_an_error_not_worth_a_retry_gets_none():
    job = chores.fail_hopelessly.delay()

    assert ended(job)["status"] == "failed"
    assert status(job)["attempts"] == 1


def test_a_task_can_ask_for_a_later_run(notes):
    job = chores.ask_again.delay(notes.path, after=0.4)

    assert job.result(timeout=10) == "ready"
    first, second = map(float, notes.lines())
    assert 0.4 <= second - first < 1.2
    assert status(job)["attempts"] == 2


def test_asking_again_uses_up_attempts():
    job = chores.ask_for_ever.delay()

    assert ended(job)["status"] == "failed"
    assert status(job)["error"] == "Retry: never ready"
    assert status(job)["attempts"] == 2


def test_a_task_can_cancel_itself():
    job = chores.give_up.delay()

    with pytest.raises(TaskCancelled, match="nothing to do"):
        job.result(timeout=10)
    assert status(job)["status"] == "cancelled"
    assert status(job)["attempts"] == 1


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (chores.return_something_odd, ["EncodingError", "object"]),
        (chores.return_too_much, ["PayloadTooLarge", "1048576"]),
        (chores.leave, ["SystemExit: enough"]),
        (chores.interrupt, ["KeyboardInterrupt"]),
        (chores.dig, ["RecursionError", "recursion depth"]),
        (chores.fail_mutely, ["Mute"]),
    ],
)
def test_odd_ends_are_failures_with_a_reason(task, words):
    found = ended(task.delay())

    assert found["status"] == "failed"
    assert found["result"] is None
    for word in words:
        assert word in found["error"]


# ── rows of other programs ──


def test_a_row_inserted_with_plain_sql_runs_within_a_second():
    id = insert(
        "INSERT INTO tasks (name, payload, queue) VALUES (?, ?, ?)",
        *("add", '{"args": [1], "kwargs": {"b": 2}}', "default"),
    )

    found = ended(id, seconds=5)

    assert found["result"] == 3
    assert instant(found["started_at"]) - instant(found["created_at"]) < 1.0


def test_a_row_with_the_least_that_can_be_said_runs():
    assert ended(insert("INSERT INTO tasks (name) VALUES ('pid')"))["status"] == "done"


def test_a_row_of_the_future_in_sqls_own_format_waits():
    id = insert(
        "INSERT INTO tasks (name, payload, run_at) VALUES (?, ?, datetime('now', '+2 seconds'))",
        *("now", "{}"),
    )

    found = ended(id)

    assert found["result"] >= instant(found["run_at"])


def test_arguments_that_do_not_fit_the_task_fail_with_a_reason():
    id = insert(
        "INSERT INTO tasks (name, payload, max_retries) VALUES ('add', ?, 0)",
        '{"args": [1, 2, 3], "kwargs": {}}',
    )

    found = ended(id)

    assert found["status"] == "failed"
    assert "add" in found["error"]
    assert "arguments" in found["error"]


@pytest.mark.parametrize("payload", ["nonsense", "[]", '{"args": 1}', "null", '{"x": 1}'])
def test_a_payload_that_is_no_call_fails_with_a_reason(payload):
    id = insert("INSERT INTO tasks (name, payload, max_retries) VALUES ('pid', ?, 0)", payload)

    found = ended(id)

    assert found["status"] == "failed"
    assert "payload" in found["error"]


def test_an_unknown_task_is_tried_again_later_and_says_what_is_known():
    id = insert("INSERT INTO tasks (name, max_retries) VALUES ('no_such_task', 1)")

    wait_for(lambda: attempts(id), "a failed run")

    found = status(id)
    assert found["status"] == "pending"
    assert found["attempts"] == 1
    assert instant(found["run_at"]) > instant(attempts(id)[0].finished_at) + 5
    for word in ("TaskNotFound", "no_such_task", "add_async", "--app"):
        assert word in found["error"]


@pytest.mark.parametrize(
    ("column", "value", "status"),
    [
        ("timeout", "abc", "done"),
        ("timeout", -1, "done"),
        ("timeout", 1e308, "done"),
        ("priority", "high", "done"),
        ("max_retries", "many", "done"),
        ("attempts", "none", "done"),
        ("attempts", -3, "done"),
        ("run_at", 12, "done"),
        ("run_at", "tomorrow", "done"),
        ("run_at", b"\xff", "done"),
        ("created_at", "x", "done"),
        ("worker_id", "nobody", "done"),
        ("name", b"\xff", "pending"),
        ("name", "", "pending"),
        ("payload", b"\xff", "pending"),
    ],
)
def test_odd_values_in_a_row_of_another_program_harm_no_worker(column, value, status):
    row = {"name": "add", "payload": '{"args": [1, 2]}', "queue": "default", column: value}
    marks = ", ".join("?" * len(row))

    id = insert(f"INSERT INTO tasks ({', '.join(row)}) VALUES ({marks})", *row.values())

    def ran():
        found = get_task_status(id)
        return found["status"] in {"done", "pending"} and found["attempts"] == 1 and found

    found = wait_for(ran, "a run", 5)
    assert found["status"] == status


# ── cancel ──


def test_a_pending_job_is_cancelled_at_once():
    job = chores.add.options(delay=3600).delay(1, 2)

    assert job.cancel()

    assert status(job)["status"] == "cancelled"
    assert not job.cancel()


@pytest.mark.parametrize("task", [chores.hang, chores.hang_async])
def test_a_running_job_is_cancelled_without_retry(task, notes):
    job = task.options(max_retries=3).delay(notes.path)
    notes.wait(1)
    begun(job)

    assert job.cancel()

    found = ended(job, seconds=3)
    assert found["status"] == "cancelled"
    assert found["error"] == "Cancel: cancelled while it ran"
    assert found["attempts"] == 1


@pytest.mark.parametrize("task", [chores.hang_stubbornly, chores.hang_async_stubbornly])
def test_a_running_job_that_swallows_the_cancel_is_stopped_by_force(task, notes):
    job = task.delay(notes.path)
    notes.wait(1)
    begun(job)

    assert job.cancel()

    assert ended(job, seconds=4)["status"] == "cancelled"
    assert notes.lines()[1].startswith("swallowed C")


def test_an_ended_job_cannot_be_cancelled():
    job = chores.add.delay(1, 2)
    job.result(timeout=10)

    assert not job.cancel()
    assert get_task_status(job)["status"] == "done"


def test_coroutines_cancelled_right_at_their_begin_end_as_cancelled():
    jobs = [chores.add_async.delay(1, 2) for _ in range(200)]
    for job in jobs:
        job.cancel()

    ends = {ended(job, seconds=10)["status"] for job in jobs}

    assert ends <= {"cancelled", "done"}
