"""The command as a process: pipes, terminals, signals, and the worker that it starts."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

TASKS = """
import logging
from liteq import task

@task()
def add(a: int, b: int) -> int:
    print("adding", a, b)
    logging.getLogger("shop").info("about to add")
    return a + b

@task(queue="mail", max_retries=0)
def boom():
    raise ValueError("no such user")
"""
PATIENCE = 30.0


@pytest.fixture
def place(tmp_path):
    """A working directory with an app in it."""
    (tmp_path / "tasks.py").write_text(TASKS)
    return tmp_path


@pytest.fixture
def command(place):
    """What subprocess needs to run `liteq …` there."""

    def make(*argv, **environment):
        clean = {key: value for key, value in os.environ.items() if not key.startswith("LITEQ_")}
        return {
            "args": [sys.executable, "-m", "liteq", *map(str, argv)],
            "cwd": place,
            "env": {**clean, "PYTHONWARNINGS": "error", **environment},
        }

    return make


@pytest.fixture
def liteq(command):
    """`liteq("list")`: the process, ended, with its output."""

    def run(*argv, **environment):
        return subprocess.run(
            **command(*argv, **environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    return run


@pytest.fixture
def on_terminal(command):
    """`on_terminal("status")`: exit code and what a person saw; when asked, they `answer`."""

    def run(*argv, answer=None, **environment):
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            **command(*argv, TERM="xterm", COLUMNS="80", **environment),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        seen = b""
        while True:
            assert select.select([ours], [], [], PATIENCE)[0], seen
            try:
                chunk = os.read(ours, 4096)
            except OSError:  # Linux' way to say that the other end is closed
                break
            if not chunk:
                break
            seen += chunk
            if answer is not None and b"[y/N]" in seen:
                answer(process, ours)
                answer = None
        os.close(ours)
        return process.wait(PATIENCE), seen.decode().replace("\r\n", "\n")

    return run


def typing(keys):
    """An answer that is typed."""
    return lambda process, terminal: os.write(terminal, keys)


def interrupting(process, terminal):
    """Ctrl-C for an answer."""
    process.send_signal(signal.SIGINT)


class Running:
    """A process whose stderr is read as it comes."""

    def __init__(self, **options):
        self.process = subprocess.Popen(
            **options, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.lines = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def await_line(self, pattern, count=1):
        """Wait until so many lines match."""
        deadline = time.monotonic() + PATIENCE
        while sum(bool(re.search(pattern, line)) for line in list(self.lines)) < count:
            assert time.monotonic() < deadline, self.lines
            time.sleep(0.02)

    def end(self, number=signal.SIGTERM):
        """Send the signal; exit code and stdout."""
        self.process.send_signal(number)
        out = self.process.stdout.read()
        code = self.process.wait(PATIENCE)
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        return code, out


@pytest.fixture
def start(command):
    """Start a worker or the like; whatever is left of it is killed after the test."""
    running = []

    def run(*argv, **environment):
        running.append(Running(**command(*argv, **environment)))
        return running[-1]

    yield run
    for each in running:
        if each.process.returncode is None:
            each.end(signal.SIGKILL)


# ── pipes and terminals ──


def test_a_pipe_gets_plain_lines_and_a_terminal_colours_and_headings(liteq, on_terminal):
    liteq("enqueue", "add", "--queue", "mail")

    piped = liteq("list").stdout
    code, seen = on_terminal("list")

    assert "\x1b" not in piped
    assert piped.startswith("1\tadd\tmail\tpending\t0/4\t")
    assert code == 0
    plain = re.sub(r"\x1b\[\d+m", "", seen)
    assert plain != seen
    assert plain.splitlines()[0].split() == [
        "ID",
        "TASK",
        "QUEUE",
        "STATUS",
        "RUNS",
        "CREATED",
        "NOTE",
    ]
    assert plain.splitlines()[1].split()[:5] == ["1", "add", "mail", "pending", "0/4"]


def test_no_color_is_respected(liteq, on_terminal):
    liteq("enqueue", "add")

    for argv in (["status"], ["list"], ["show", 1], ["doctor"], ["workers"], ["enqueue", "add"]):
        assert "\x1b" not in on_terminal(*argv, NO_COLOR="1")[1]


def test_a_person_sees_which_database_and_which_workers(liteq, on_terminal, place):
    liteq("enqueue", "add")

    _, seen = on_terminal("status", NO_COLOR="1")

    lines = seen.splitlines()
    assert lines[0] == f"Database  {place}/liteq.db"
    assert lines[1] == "Workers   none is running"
    assert lines[3] == "QUEUE    PENDING  RUNNING  DONE  FAILED  CANCELLED  WAITING  WORKERS"
    assert lines[4].split()[:6] == ["default", "1", "0", "0", "0", "0"]
    assert lines[4].endswith("none")


def test_a_person_is_told_of_an_empty_queue(liteq, on_terminal):
    liteq("pause", "x")
    liteq("resume", "x")

    assert on_terminal("status", NO_COLOR="1")[1].endswith("\n\nNo jobs yet.\n")
    assert on_terminal("list", NO_COLOR="1") == (1, "No job matches.\n")
    assert on_terminal("workers")[1].startswith("No worker is running.")


def test_a_person_sees_the_queues_state_and_how_to_see_older_jobs(liteq, on_terminal):
    for _ in range(2):
        liteq("enqueue", "add")
    liteq("pause", "default")

    assert on_terminal("status", NO_COLOR="1")[1].rstrip().endswith("paused")
    assert on_terminal("list", "--limit", 1, NO_COLOR="1")[1].endswith("\nOlder ones: --before 2\n")


def test_a_person_who_looks_at_a_waiting_job_is_told_of_the_doctor(liteq, on_terminal):
    liteq("enqueue", "add")

    assert on_terminal("show", 1, NO_COLOR="1")[1].endswith(
        "\nWhy is it not running? liteq doctor 1\n"
    )


def test_a_purge_is_confirmed_by_a_person(liteq, on_terminal):
    liteq("enqueue", "add")
    liteq("enqueue", "add")

    code, seen = on_terminal("purge", "--queue", "default", answer=typing(b"n\n"))
    assert code == 1
    assert "Delete 2 jobs (queue 'default') for good? [y/N]" in seen
    assert len(liteq("list").stdout.splitlines()) == 2

    code, seen = on_terminal("purge", "--all", answer=typing(b"y\n"))
    assert code == 0
    assert "Delete 2 jobs (all of them) for good? [y/N]" in seen
    assert seen.endswith("2 jobs deleted\n")
    assert liteq("list").stdout == ""


def test_ctrl_c_ends_quietly(liteq, on_terminal):
    liteq("enqueue", "add")

    code, seen = on_terminal("purge", "--all", answer=interrupting)

    assert code == 130
    assert "Traceback" not in seen


def test_a_reader_that_leaves_early_is_no_error(liteq, command):
    for _ in range(3):
        liteq("enqueue", "add")

    process = subprocess.Popen(
        **command("list"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()

    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(PATIENCE) == 141


def test_an_encoding_without_the_characters_still_gives_valid_json(liteq):
    liteq("enqueue", "add", "--args", '["дом é"]')

    out = liteq("list", "--json", PYTHONIOENCODING="ascii").stdout

    assert json.loads(json.loads(out)[0]["payload"])["args"] == ["дом é"]


def test_status_does_not_import_what_a_worker_needs(place):
    script = textwrap.dedent(
        """
        import sys
        before = set(sys.modules)  # a tool that measures coverage imports much
        from liteq import cli
        cli.main(["enqueue", "add"])
        cli.main(["status"])
        heavy = {"liteq.worker", "liteq.pools", "asyncio", "multiprocessing", "subprocess"}
        print(heavy & (set(sys.modules) - before))
        """
    )

    run = subprocess.run(
        [sys.executable, "-c", script], cwd=place, capture_output=True, text=True, check=True
    )

    assert run.stdout.splitlines()[-1] == "set()"


# ── enqueue with an app ──


def test_with_an_app_the_tasks_own_defaults_hold(liteq):
    assert liteq("enqueue", "boom", "--app", "tasks.py").stdout == "1\n"

    [job] = json.loads(liteq("list", "--json").stdout)
    assert (job["queue"], job["max_retries"]) == ("mail", 0)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["add", "--args", "[1]"], "missing a required argument: 'b'"),
        (["add", "--kwargs", '{"a": 1, "b": 2, "c": 3}'], "'c'"),
        (["nope"], "no task named 'nope'"),
    ],
)
def test_with_an_app_a_call_that_could_not_run_is_refused(liteq, argv, words):
    run = liteq("enqueue", "--app", "tasks.py", *argv)

    assert run.returncode == 1
    assert words in run.stderr
    assert run.stderr.count("\n") == 1
    assert liteq("list").stdout == ""


def test_json_arguments_become_what_the_annotations_say(liteq, place):
    (place / "tasks.py").write_text(
        "from datetime import date\nfrom liteq import task\n"
        "@task()\ndef report(day: date) -> str: return day.strftime('%d.%m.%Y')\n"
    )

    assert liteq("enqueue", "report", "--app", "tasks", "--args", '["2026-01-31"]').stdout == "1\n"
    liteq("worker", "--app", "tasks", "--burst", "--concurrency", 1)

    assert json.loads(liteq("show", 1, "--json").stdout)["result"] == "31.01.2026"


# ── worker ──


def test_a_worker_runs_what_is_queued_and_its_log_has_a_line_per_event(liteq):
    liteq("enqueue", "add", "--app", "tasks.py", "--args", "[1, 2]")
    liteq("enqueue", "boom", "--app", "tasks.py")

    run = liteq("worker", "--app", "tasks.py", "--burst", "--concurrency", 1)

    assert run.returncode == 0
    assert "adding 1 2\n" in run.stdout
    logged = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (INFO|WARNING|ERROR) +"
    assert re.search(logged + r"job 1 add done in ", run.stderr, re.MULTILINE)
    assert re.search(logged + r"about to add$", run.stderr, re.MULTILINE)
    assert re.search(
        logged + r"job 2 boom failed .*ValueError: no such user", run.stderr, re.MULTILINE
    )
    assert [job["status"] for job in json.loads(liteq("list", "--json").stdout)] == [
        "failed",
        "done",
    ]


def test_a_json_log_is_one_object_a_line_with_the_ids(liteq):
    liteq("enqueue", "add", "--app", "tasks.py", "--args", "[1, 2]")

    run = liteq(
        "worker", "--app", "tasks.py", "--burst", "--concurrency", 1, "--log-format", "json"
    )

    records = [json.loads(line) for line in run.stderr.splitlines()]
    assert all({"ts", "level", "logger", "message"} <= set(record) for record in records)
    [done] = [record for record in records if record.get("job") == 1]
    assert (done["level"], done["task"], done["queue"], done["attempt"]) == (
        "info",
        "add",
        "default",
        1,
    )


def test_a_person_sees_the_worker_and_what_it_is_doing(start, liteq, on_terminal, place):
    (place / "tasks.py").write_text(
        "import time\nfrom liteq import task\n@task()\ndef slow():\n    print('go', flush=True)\n"
        "    time.sleep(60)\n"
    )
    liteq("enqueue", "slow")
    running = start("worker", "--app", "tasks.py", "--concurrency", 1, "--shutdown-grace", 0)
    assert running.process.stdout.readline() == "go\n"

    assert "Workers   1 active, 1 slot, 1 job in hand\n" in on_terminal("status", NO_COLOR="1")[1]
    assert re.search(r"running +1/4 +\w.* for \d.* on ", on_terminal("list", NO_COLOR="1")[1])
    assert re.search(r" active +1 +1 ", on_terminal("workers", NO_COLOR="1")[1])
    assert "has been running for" in liteq("doctor", 1).stdout
    assert running.end()[0] == 0
    assert liteq("workers").returncode == 1


def test_a_worker_says_in_one_line_that_its_database_cannot_be_used(liteq, place):
    (place / "liteq.db").write_bytes(b"no database" * 1000)

    run = liteq("worker", "--app", "tasks.py")

    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "not a usable SQLite database" in run.stderr


def test_a_log_level_silences_what_is_below(liteq):
    run = liteq("worker", "--app", "tasks.py", "--burst", "--log-level", "ERROR")

    assert (run.returncode, run.stderr) == (0, "")


def test_a_worker_works_on_the_queues_it_is_given(liteq):
    liteq("enqueue", "add", "--app", "tasks.py", "--args", "[1, 2]")
    liteq("enqueue", "boom", "--app", "tasks.py")

    liteq("worker", "--app", "tasks.py", "--queues", "mail, other", "--burst", "--concurrency", 1)

    assert [job["status"] for job in json.loads(liteq("list", "--json").stdout)] == [
        "failed",
        "pending",
    ]


def test_a_workers_own_time_limit_and_settings_reach_it(liteq, place):
    (place / "tasks.py").write_text(
        "import time\nfrom liteq import task\n@task(max_retries=0)\ndef slow(): time.sleep(60)\n"
    )
    liteq("enqueue", "slow", "--app", "tasks.py")

    liteq("worker", "--app", "tasks.py", "--burst", "--concurrency", 1, "--timeout", 0.2)

    [job] = json.loads(liteq("list", "--json").stdout)
    assert job["status"] == "failed"
    assert "0.2" in job["error"]


def test_the_command_line_wins_over_a_database_that_the_app_sets(liteq, place):
    (place / "tasks.py").write_text("import os\nos.environ['LITEQ_DB'] = 'apps.db'\n" + TASKS)
    liteq("enqueue", "add", "--args", "[1, 2]", "--db", "mine.db")

    liteq("worker", "--app", "tasks.py", "--burst", "--concurrency", 1, "--db", "mine.db")

    assert "\tdone\t" in liteq("list", "--db", "mine.db").stdout
    assert not (place / "apps.db").exists()


def test_a_broken_app_is_shown_by_the_users_own_traceback(liteq, place):
    (place / "tasks.py").write_text("import helper\n")
    (place / "helper.py").write_text("import not_there\n")

    for argv in (["worker"], ["enqueue", "add"]):
        run = liteq(*argv, "--app", "tasks.py")

        assert run.returncode == 1
        lines = run.stderr.splitlines()
        assert lines[0] == "Traceback (most recent call last):"
        assert lines[1] == f'  File "{place}/tasks.py", line 1, in <module>'
        assert "ModuleNotFoundError: No module named 'not_there'" in lines
        assert lines[-1].startswith("liteq: --app tasks.py cannot be loaded")
        assert "importlib" not in run.stderr
        assert "/liteq/" not in run.stderr


def test_an_app_that_exits_at_import_is_a_broken_app(liteq, place):
    (place / "tasks.py").write_text("import sys\nsys.exit(0)\n")

    run = liteq("worker", "--app", "tasks.py")

    assert run.returncode == 1
    assert "SystemExit: 0" in run.stderr


def test_a_missing_app_is_one_clear_line(liteq, place):
    run = liteq("worker", "--app", "task.py")

    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert f"there is no file {place}/task.py" in run.stderr


def test_several_apps_are_loaded_with_commas_or_one_by_one(liteq, place):
    (place / "more.py").write_text("from liteq import task\n@task()\ndef more(): pass\n")
    (place / "most.py").write_text("from liteq import task\n@task()\ndef most(): pass\n")
    apps = ("--app", "tasks.py,more", "--app", "most.py")

    for name in ("boom", "more", "most"):
        assert liteq("enqueue", name, *apps).returncode == 0


def test_an_app_without_tasks_is_warned_of(liteq, place):
    (place / "tasks.py").write_text("x = 1\n")

    run = liteq("worker", "--app", "tasks.py", "--burst")

    assert "tasks.py: loaded, but no task is defined there" in run.stderr


# ── reload ──


def test_reload_starts_the_worker_again_when_a_file_changes(start, liteq, place):
    liteq("enqueue", "add", "--args", "[1, 2]")
    running = start("worker", "--app", "tasks.py", "--reload", "--concurrency", 1)
    running.await_line("job 1 add done")

    (place / "tasks.py").write_text("def broken(:\n")
    running.await_line("tasks.py changed; starting the worker again")
    running.await_line("ended with exit code 1")
    assert "SyntaxError: " in "\n".join(running.lines)

    (place / "tasks.py").write_text("# mended\n" + TASKS.replace("a + b", "a * 10 + b"))
    running.await_line("worker .* started", count=2)
    liteq("enqueue", "add", "--args", "[1, 2]")
    running.await_line("job 2 add done")
    code, out = running.end()

    assert code == 0
    assert out.count("adding 1 2") == 2
    assert json.loads(liteq("show", 2, "--json").stdout)["result"] == 12
    assert liteq("workers").stdout == ""


def test_reload_passes_a_stop_on_even_when_the_worker_is_down(start, place):
    (place / "tasks.py").write_text("def broken(:\n")
    running = start("worker", "--app", "tasks.py", "--reload")
    running.await_line("ended with exit code 1")

    assert running.end(signal.SIGINT) == (1, "")
