"""What the command says and returns: asked directly, on a real file."""

import json

import pytest

from liteq import brokers, cli, lifecycle, machine, times
from liteq.job import STATUSES, JobRecord, NewJob, Outcome, WorkerInfo

PAYLOAD = '{"args": [1, "дом"], "kwargs": {"to": "a@b.c"}}'
COMMANDS = """
worker status list show enqueue retry cancel purge pause resume workers doctor
""".split()


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty working directory, whose queue is the file q.db in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LITEQ_URL", "")  # so that it is put back after --url has set it
    monkeypatch.setenv("LITEQ_DB", str(tmp_path / "q.db"))
    yield tmp_path
    for store in brokers._open.values():
        store.close()


@pytest.fixture
def store(place):
    """The queue, its file made."""
    store = brokers.current()
    store.count()
    return store


@pytest.fixture
def liteq(capsys):
    """`liteq("list", "--json")`: exit code, stdout, stderr."""

    def run(*argv):
        try:
            code = cli.main([str(argument) for argument in argv])
        except SystemExit as exit:
            code = exit.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


def fail(store, count=1, error="ValueError: no such user"):
    """Let the next jobs fail for good."""
    for job in store.claim("w1", ["default"], count, 30):
        outcome = Outcome(job.receipt, "failed", 1e9, 1e9 + 2, error=error, final=True)
        store.finish([lifecycle.failed(job, outcome, wait=0, now=1e9)])


# ── help ──


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example(liteq, command):
    code, out, _ = liteq(command, "--help")

    assert code == 0
    assert f"\n  liteq {command}" in "\n" + out.partition("examples:\n")[2]


def test_the_help_lists_every_command(liteq):
    code, out, _ = liteq("--help")

    assert code == 0
    for command in COMMANDS:
        assert f"\n    {command} " in out


def test_without_a_command_the_help_is_shown_as_wrong_usage(liteq):
    code, out, _ = liteq()

    assert code == 2
    assert out.startswith("usage: liteq")


def test_the_version_is_told(liteq):
    from liteq import __version__

    assert liteq("--version") == (0, f"liteq {__version__}\n", "")


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["nonsense"], "invalid choice"),
        (["list", "--limit", "0"], "must be at least 1"),
        (["list", "--limit", "-3"], "must be a whole number"),
        (["list", "--status", "gone"], "invalid choice"),
        (["show", "x"], "must be a whole number"),
        (["show", "9" * 20], "must be a whole number"),
        (["worker"], "--app"),
        (["worker", "--app", "x", "--timeout", "0"], "more than 0 seconds"),
        (["worker", "--app", "x", "--timeout", "soon"], "must be a number of seconds"),
        (["worker", "--app", "x", "--queues", " ,"], "names no queue"),
        (["worker", "--app", "x", "--bur"], "unrecognized arguments: --bur"),
        (["pause", "a,b"], "without a comma"),
        (["pause"], "QUEUE"),
        (["status", "--db", "x", "--url", "y"], "not allowed with"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(liteq, argv, words):
    code, out, err = liteq(*argv)

    assert code == 2
    assert words in err
    assert out == ""


# ── which database ──


def test_a_question_never_makes_a_database(liteq, place):
    for argv in (["status"], ["list"], ["show", 1], ["workers"], ["retry", "--all"], ["doctor", 1]):
        code, _, err = liteq(*argv)
        assert code == 1
        assert argv[0] == "doctor" or "there is no database" in err

    assert not (place / "q.db").exists()


def test_db_names_the_file_and_wins_over_the_environment(liteq, place, monkeypatch):
    monkeypatch.setenv("LITEQ_URL", "sqlite:///other.db")

    assert liteq("enqueue", "add", "--db", "mine.db") == (0, "1\n", "")

    assert (place / "mine.db").exists()
    assert not (place / "other.db").exists()


@pytest.mark.parametrize("name", ["a?b.db", "a#b.db", "a%41.db", "my queue.db", "очередь.db"])
def test_a_path_is_taken_literally(liteq, place, name):
    assert liteq("enqueue", "add", "--db", name)[0] == 0

    assert (place / name).exists()
    assert liteq("list", "--db", name)[1].startswith("1\tadd\t")


def test_url_names_the_broker(liteq, place):
    code, out, _ = liteq("enqueue", "add", "--url", "sqlite:///by-url.db")

    assert (code, out) == (0, "1\n")
    assert (place / "by-url.db").exists()


def test_a_broker_of_another_process_cannot_be_looked_into(liteq, place):
    code, _, err = liteq("status", "--url", "memory://x")

    assert code == 2
    assert "lives within one process" in err


def test_a_bad_url_is_explained(liteq, place):
    code, _, err = liteq("status", "--url", "mysql://x")

    assert code == 2
    assert err.startswith("liteq: no broker for the URL 'mysql://x'; use sqlite:///")


def test_a_file_that_is_no_database_is_named_in_one_line(liteq, place):
    (place / "q.db").write_bytes(b"not a database at all" * 100)

    code, out, err = liteq("status")

    assert code == 1
    assert out == ""
    assert err.count("\n") == 1
    assert "q.db is not a usable SQLite database" in err


# ── enqueue ──


def test_without_an_app_a_call_is_stored_as_it_is_told(liteq, store):
    code, out, _ = liteq(
        *("enqueue", "send", "--args", '[1, "дом"]', "--kwargs", '{"a": null}', "--queue", "mail"),
        *("--priority", "-5", "--delay", "100", "--max-retries", "0", "--timeout", "1.5"),
    )

    record = store.get(int(out))
    assert code == 0
    assert record.name == "send"
    assert json.loads(record.payload) == {"args": [1, "дом"], "kwargs": {"a": None}}
    assert (record.queue, record.priority, record.max_retries, record.timeout) == (
        "mail",
        -5,
        0,
        1.5,
    )
    assert 90 < times.instant(record.run_at) - store.clock.wall() <= 100


def test_a_queued_call_is_told_as_json(liteq, place):
    code, out, _ = liteq("enqueue", "send", "--json")

    assert code == 0
    assert json.loads(out) == {"id": 1, "name": "send", "queue": "default"}


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--args", "[1"], "--args '[1' is no JSON"),
        (["--args", "{}"], "is no JSON list; write it like"),
        (["--kwargs", "[]"], "is no JSON object; write it like"),
    ],
)
def test_arguments_that_are_no_json_are_refused_with_an_example(liteq, place, argv, words):
    code, _, err = liteq("enqueue", "send", *argv)

    assert code == 2
    assert words in err


def test_arguments_over_the_limit_are_refused(liteq, place, monkeypatch):
    monkeypatch.setenv("LITEQ_PAYLOAD_LIMIT", "100")

    code, _, err = liteq("enqueue", "send", "--args", json.dumps(["x" * 100]))

    assert code == 1
    assert "more than payload_limit=100" in err


# ── status and workers ──


def test_status_of_a_pipe_is_a_line_of_numbers_for_each_queue(liteq, store):
    store.enqueue([NewJob("a", "{}")] * 3)
    store.claim("w1", ["default"], 1, 30)
    store.pause("mail")

    code, out, _ = liteq("status")

    default, mail = (line.split("\t") for line in out.splitlines())
    assert code == 0
    assert default[:6] == ["default", "2", "1", "0", "0", "0"]
    assert 0 <= float(default[6]) < 60
    assert default[7:] == ["0", ""]
    assert mail[:8] == ["mail", "0", "0", "0", "0", "0", "", "0"]
    assert times.instant(mail[8]) > 0


def test_status_as_json_has_queues_and_workers(liteq, store):
    store.enqueue([NewJob("a", "{}")])
    store.beat(_worker(store), [], 30)

    code, out, _ = liteq("status", "--json")

    document = json.loads(out)
    assert code == 0
    assert set(document) == {"database", "queues", "workers"}
    assert document["queues"][0]["pending"] == 1
    assert document["workers"][0]["state"] == "active"


def test_workers_are_listed(liteq, store):
    store.beat(_worker(store), [], 30)

    code, out, _ = liteq("workers")
    as_json = json.loads(liteq("workers", "--json")[1])

    cells = out.rstrip("\n").split("\t")
    assert code == 0
    assert cells[:6] == ["w1", "host", cells[2], "active", "0", "4"]
    assert cells[8] == "default,mail"
    assert as_json[0]["worker_id"] == "w1"


def test_no_worker_is_exit_code_1(liteq, store):
    assert liteq("workers") == (1, "", "")
    assert liteq("workers", "--json") == (1, "[]\n", "")


# ── list and show ──


def test_a_list_is_newest_first_with_what_matters(liteq, store):
    store.enqueue([NewJob("a", "{}"), NewJob("b", "{}", due=store.clock.wall() + 3600)])
    fail(store)

    code, out, _ = liteq("list")

    later, failed = (line.split("\t") for line in out.splitlines())
    assert code == 0
    assert later[:5] == ["2", "b", "default", "pending", "0/4"]
    assert later[6] == "in 1 h"
    assert failed[:5] == ["1", "a", "default", "failed", "1/4"]
    assert failed[6] == "ValueError: no such user"


@pytest.mark.parametrize(
    ("argv", "ids"),
    [
        (["--queue", "mail"], [2]),
        (["--status", "failed"], [1]),
        (["--name", "c"], [3]),
        (["--text", "дом"], [2]),
        (["--text", "SUCH USER"], [1]),
        (["--limit", "2"], [3, 2]),
        (["--before", "3", "--limit", "1"], [2]),
        (["--queue", "mail", "--status", "failed"], []),
    ],
)
def test_a_list_is_filtered(liteq, store, argv, ids):
    store.enqueue([NewJob("a", "{}"), NewJob("b", PAYLOAD, queue="mail"), NewJob("c", "{}")])
    fail(store)

    code, out, _ = liteq("list", "--json", *argv)

    found = json.loads(out)
    assert [job["id"] for job in found] == ids
    assert code == (0 if ids else 1)
    assert all(set(job) == set(JobRecord._fields) for job in found)


def test_an_empty_list_is_silent_in_a_pipe(liteq, store):
    assert liteq("list") == (1, "", "")


def test_show_tells_call_timings_and_each_failed_run(liteq, store):
    store.enqueue([NewJob("send", PAYLOAD, timeout=60)])
    [job] = store.claim("w1", ["default"], 1, 30)
    error, trace = "ValueError: x", 'Traceback:\n  File "tasks.py"\nValueError: x'
    outcome = Outcome(job.receipt, "failed", 1e9, 1e9 + 2, error=error, traceback=trace)
    store.finish([lifecycle.failed(job, outcome, wait=60, now=store.clock.wall())])

    code, out, _ = liteq("show", 1)

    facts = dict(line.split("\t") for line in out.partition("\n\n")[0].splitlines())
    assert code == 0
    assert facts["call"] == 'send(1, "дом", to="a@b.c")'
    assert facts["status"] == "pending"
    assert facts["runs"] == "1/4"
    assert facts["timeout"] == "60 s"
    assert facts["error"] == "ValueError: x"
    assert times.instant(facts["due"]) > times.instant(facts["created"])
    assert out.partition("\n\n")[2] == (
        "run 1 failed after 2.0 s on worker w1, started 2001-09-09T01:46:40.000000Z\n"
        '    Traceback:\n      File "tasks.py"\n    ValueError: x\n'
    )


def test_show_of_a_done_job_has_its_result(liteq, store):
    store.enqueue([NewJob("add", "{}")])
    [job] = store.claim("w1", ["default"], 1, 30)
    store.finish([lifecycle.succeeded(job, Outcome(job.receipt, "done", 1e9, 1e9 + 0.5, "null"))])

    facts = dict(line.split("\t") for line in liteq("show", 1)[1].splitlines())
    shown = json.loads(liteq("show", 1, "--json")[1])

    assert (facts["took"], facts["result"], facts["worker"]) == ("500 ms", "null", "w1")
    assert set(shown) == {*JobRecord._fields, "history"}
    assert liteq("list")[1].rstrip("\n").endswith("\ttook 500 ms")


def test_show_of_an_unknown_job_names_it_and_the_database(liteq, store, place):
    assert liteq("show", 9) == (1, "", f"liteq: there is no job 9 in {place}/q.db\n")


def test_rows_of_other_programs_are_shown_as_they_are(liteq, store):
    from liteq.db import get_conn

    with get_conn() as connection:
        connection.execute(
            "INSERT INTO tasks (name, payload, run_at, created_at) VALUES ('x', '[', 'soon', 'now')"
        )

    assert "call\tx, payload [\n" in liteq("show", 1)[1]
    assert liteq("list")[0] == 0
    assert liteq("doctor", 1)[0] == 1


# ── retry, cancel, purge ──


def test_failed_jobs_are_retried_by_id(liteq, store):
    store.enqueue([NewJob("a", "{}")] * 2)
    fail(store, 2)

    assert liteq("retry", 1) == (0, "1 job retried\n", "")

    assert (store.get(1).status, store.get(2).status) == ("pending", "failed")


def test_a_filter_retries_failed_jobs_and_cancelled_ones_only_when_told(liteq, store):
    store.enqueue([NewJob("a", "{}")] * 3)
    fail(store, 2)
    liteq("cancel", 3)

    assert liteq("retry", "--all")[1] == "2 jobs retried\n"
    assert liteq("retry", "--status", "cancelled")[1] == "1 job retried\n"


@pytest.mark.parametrize("command", ["retry", "cancel", "purge"])
def test_every_job_is_meant_only_with_all(liteq, store, command):
    store.enqueue([NewJob("a", "{}")])

    code, _, err = liteq(command)

    assert code == 2
    assert "--all" in err
    assert store.get(1).status == "pending"


def test_ids_that_cannot_be_acted_upon_are_named(liteq, store):
    store.enqueue([NewJob("a", "{}")] * 2)
    fail(store)

    code, out, err = liteq("retry", 1, 2, 9)
    assert code == 1
    assert out == "1 job retried\n"
    assert err.splitlines() == [
        "liteq: job 2: it is pending, not failed or cancelled",
        "liteq: job 9: there is no such job",
    ]

    document = json.loads(liteq("cancel", 1, 9, "--json")[1])
    assert document == {"count": 1, "missed": {"9": "there is no such job"}}


def test_a_filter_that_matches_nothing_is_exit_code_1(liteq, store):
    assert liteq("cancel", "--name", "nobody") == (1, "", "liteq: no job matches\n")
    assert json.loads(liteq("cancel", "--name", "nobody", "--json")[1]) == {
        "count": 0,
        "missed": {},
    }


def test_pending_jobs_are_cancelled_by_filter(liteq, store):
    store.enqueue([NewJob("a", "{}", queue="mail"), NewJob("b", "{}"), NewJob("c", "{}")])

    assert liteq("cancel", "--queue", "default", "--text", "B")[1] == "1 job cancelled\n"

    assert [store.get(id).status for id in (1, 2, 3)] == ["pending", "cancelled", "pending"]


def test_jobs_are_purged_with_yes(liteq, store):
    store.enqueue([NewJob("a", "{}")] * 3)
    fail(store)

    assert liteq("purge", "--status", "failed", "--yes") == (0, "1 job deleted\n", "")
    assert liteq("purge", "--all", "--yes", "--json")[1] == '{"count": 2, "missed": {}}\n'


def test_running_jobs_are_not_purged(liteq, store):
    store.enqueue([NewJob("a", "{}")])
    store.claim("w1", ["default"], 1, 30)

    code, _, err = liteq("purge", 1, "--yes")

    assert code == 1
    assert "job 1: it is running, not pending or done or failed or cancelled" in err
    assert store.get(1).status == "running"


def test_without_a_terminal_a_purge_needs_yes(liteq, store, monkeypatch):
    import io
    import sys

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    store.enqueue([NewJob("a", "{}")])

    code, _, err = liteq("purge", "--all")

    assert code == 2
    assert "say --yes" in err
    assert store.get(1)


# ── pause and resume ──


def test_a_paused_queue_gives_nothing_until_it_is_resumed(liteq, store):
    store.enqueue([NewJob("a", "{}")])

    assert liteq("pause", "default", "mail") == (0, "paused default, mail\n", "")
    assert store.claim("w1", ["default"], 1, 30) == []
    assert liteq("resume", "default", "--json") == (
        0,
        '{"resumed": ["default"], "not_paused": []}\n',
        "",
    )
    assert len(store.claim("w1", ["default"], 1, 30)) == 1


def test_to_resume_what_is_not_paused_is_exit_code_1(liteq, store):
    assert liteq("resume", "mail") == (1, "", "liteq: queue 'mail' was not paused\n")


# ── scripts ──


def test_the_json_of_every_reading_command_is_one_document(liteq, store):
    store.enqueue([NewJob("a", PAYLOAD)])
    fail(store)

    for argv in (["status"], ["list"], ["show", 1], ["workers"], ["doctor"], ["doctor", 1]):
        _, out, _ = liteq(*argv, "--json")
        assert json.loads(out) is not None
        assert out.endswith("\n")


def test_messages_show_control_characters_instead_of_obeying_them(liteq, store):
    _, _, err = liteq("enqueue", "x", "--args", "\x1b[2J")

    assert "\x1b" not in err
    assert r"\x1b[2J" in err


def _worker(store):
    import os

    pid = os.getpid()
    return WorkerInfo(
        worker_id="w1",
        hostname="host",
        queues=("default", "mail"),
        concurrency=4,
        pid=pid,
        machine=machine.identity(),
        born=machine.born(pid) or "",
        started=store.clock.wall(),
    )


def test_states_are_those_of_the_jobs():
    parser = cli.build_parser()

    for status in STATUSES:
        assert parser.parse_args(["list", "--status", status]).status == status
