"""The `liteq` command, and `.delay()`, with a URL that names Laravel's queues."""

import json
from datetime import timedelta

import artisan
import pytest

import servers
from liteq import brokers, cli, enqueue, registry, task
from liteq.core import JobId
from liteq.errors import BrokerError, EncodingError, InvalidArguments
from liteq.job import NewJob

DEFAULT = "laravel_database_queues:default"


@pytest.fixture
def url(redis_server, monkeypatch, tmp_path):
    """What LITEQ_URL says: Laravel's queues `default` and `mail`."""
    url = f"laravel+redis://127.0.0.1:{redis_server.port}/0?queues=default,mail&laravel=8"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LITEQ_URL", url)
    monkeypatch.delenv("LARAVEL_APP_KEY", raising=False)
    monkeypatch.delenv("APP_KEY", raising=False)
    yield url
    for store in brokers._open.values():
        store.close()


@pytest.fixture
def liteq(url, capsys):
    """`liteq("status", "--json")`: exit code, stdout, stderr."""

    def run(*argv):
        try:
            code = cli.main([str(argument) for argument in argv])
        except SystemExit as exit:
            code = exit.code
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def tasks(monkeypatch):
    """Tasks named as job classes of Laravel's, forgotten at the end."""
    monkeypatch.setattr(registry, "_definitions", dict(registry._definitions))

    @task(name="App\\Jobs\\Plain")
    def plain(name: str = "plain"): ...

    @task(name="App\\Jobs\\Step", queue="mail", max_retries=4, timeout=12.5)
    def step(n: int, *, tag: str = "x"): ...

    return plain, step


def payloads(client, key=DEFAULT):
    kind = client.type(key)
    texts = client.zrange(key, 0, -1) if kind == "zset" else client.lrange(key, 0, -1)
    return [json.loads(text) for text in texts]


# ── queueing ──


def test_a_delayed_call_is_run_by_php_with_its_arguments(tasks, laravel, url):
    plain, _ = tasks

    plain.delay("from Python")

    [handled] = [each for each in laravel.work() if each["event"] == "handled"]
    assert (handled["class"], handled["got"]) == ("App\\Jobs\\Plain", {"+name": "from Python"})


def test_a_task_tells_php_what_it_asks_for(tasks, redis_client, url):
    _, step = tasks

    step.delay(1, tag="y")
    step.options(queue="default", max_retries=0).delay(2)

    [first] = payloads(redis_client, "laravel_database_queues:mail")
    [second] = payloads(redis_client)
    assert (first["maxTries"], first["timeout"], first["delay"]) == (5, 13, None)
    assert 's:1:"n";i:1' in first["data"]["command"]
    assert (second["maxTries"], second["attempts"]) == (1, 0)
    assert redis_client.llen(f"{DEFAULT}:notify") == 1


def test_a_scheduled_call_waits_for_its_time(tasks, redis_client, laravel, url):
    plain, _ = tasks

    plain.schedule(timedelta(hours=1), "later")
    plain.options(delay=60).delay("soon")

    found = payloads(redis_client, f"{DEFAULT}:delayed")
    assert [each["delay"] for each in found] == [60, 3600]
    assert [each["event"] for each in laravel.work()] == ["started"]


def test_many_calls_go_out_at_once(tasks, redis_client, url):
    plain, step = tasks

    ids = enqueue([plain.job(str(n)) for n in range(5)] + [step.job(1)])

    assert len(set(ids)) == 6
    assert len(payloads(redis_client)) == 5


def test_arguments_without_names_need_the_task(tasks, url):
    broker = brokers.current()

    with pytest.raises(EncodingError, match="pass them by name"):
        broker.enqueue([NewJob("App\\Jobs\\Unknown", '{"args": [1], "kwargs": {}}')])
    with pytest.raises(InvalidArguments):
        tasks[1].delay()
    with pytest.raises(EncodingError):
        tasks[0].delay("\ud800")
    assert broker.count() == []


def test_a_job_cannot_be_asked_about_and_says_so(tasks, url):
    id = tasks[0].delay()

    assert isinstance(id, JobId)
    for ask in (id.status, id.cancel, lambda: id.result(timeout=1)):
        with pytest.raises(BrokerError, match="Laravel keeps no record of a job"):
            ask()


# ── enqueue ──


def test_enqueue_says_where_the_job_went(liteq, redis_client):
    code, out, err = liteq("enqueue", "App\\Jobs\\Plain", "--kwargs", '{"name": "é"}')
    as_json = liteq("enqueue", "App\\Jobs\\Plain", "--queue", "mail", "--delay", "60", "--json")

    assert (code, out, err) == (0, "", "")  # there is no number that would mean anything
    assert json.loads(as_json[1]) == {"id": None, "name": "App\\Jobs\\Plain", "queue": "mail"}
    assert len(payloads(redis_client)) == 1
    assert len(payloads(redis_client, "laravel_database_queues:mail:delayed")) == 1


def test_enqueue_with_an_app_takes_the_tasks_own_queue(liteq, tmp_path, redis_client, monkeypatch):
    monkeypatch.setattr(registry, "_definitions", {})
    (tmp_path / "jobs.py").write_text(
        'from liteq import task\n@task(name="App\\\\Jobs\\\\Step", queue="mail")\n'
        "def step(n: int): ...\n"
    )

    told = liteq("enqueue", "App\\Jobs\\Step", "--app", "jobs.py", "--args", "[7]", "--json")

    assert (told[0], json.loads(told[1])["queue"]) == (0, "mail")
    [found] = payloads(redis_client, "laravel_database_queues:mail")
    assert 's:1:"n";i:7' in found["data"]["command"]


def test_enqueue_without_an_app_wants_names(liteq):
    code, _, err = liteq("enqueue", "App\\Jobs\\Plain", "--args", "[1]")

    assert (code, "pass them by name" in err) == (1, True)


# ── questions ──


def test_status_counts_what_waits_and_what_runs(liteq, laravel):
    laravel.ask.push("Plain")
    laravel.ask.push("Plain")
    laravel.ask.later(60, "Plain")
    laravel.ask.pop()
    laravel.ask.push("Plain", [], "mail")
    liteq("pause", "mail")

    code, out, _ = liteq("status")
    document = json.loads(liteq("status", "--json")[1])

    assert code == 0
    assert out.splitlines() == ["default\t2\t1\t0\t0\t0\t\t\t", "mail\t1\t0\t0\t0\t0\t\t\tpaused"]
    assert [queue["workers"] for queue in document["queues"]] == [None, None]
    assert [queue["paused_at"] for queue in document["queues"]] == [None, ""]


@pytest.mark.parametrize(
    ("argv", "why"),
    [
        (["list"], "cannot be searched"),
        (["show", 1], "cannot be looked up"),
        (["retry", 1], "cannot be looked up"),
        (["retry", "--all"], "cannot be retried"),
        (["cancel", "--queue", "default"], "cannot be cancelled"),
        (["workers"], "are not on record"),
        (["purge", "--all", "--yes"], "liteq purge --queue NAME"),
        (["purge", "--queue", "default", "--status", "failed", "--yes"], "only whole queues"),
    ],
)
def test_what_laravel_cannot_be_asked_is_said_in_one_line(liteq, argv, why):
    code, out, err = liteq(*argv)

    assert (code, out, err.count("\n")) == (1, "", 1)
    assert why in err


def test_a_server_that_is_not_there_is_said_in_one_line(liteq, monkeypatch):
    port = servers.free_port()
    monkeypatch.setenv("LITEQ_URL", f"laravel+redis://:s3cret@127.0.0.1:{port}/0")

    for argv in (["status"], ["pause", "a"], ["enqueue", "X"], ["purge", "--queue", "a", "--yes"]):
        code, out, err = liteq(*argv)
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "Redis cannot be reached" in err
        assert "s3cret" not in err


# ── actions ──


def test_purge_clears_a_queue_as_laravel_does(liteq, laravel, redis_client):
    laravel.ask.push("Plain")
    laravel.ask.later(60, "Plain")
    laravel.ask.push("Plain", [], "mail")

    assert liteq("purge", "--queue", "default", "--yes")[:2] == (0, "2 jobs deleted\n")
    assert laravel.ask.size() == 0
    assert laravel.ask.size("mail") == 1


def test_a_paused_queue_gives_nothing_until_it_is_resumed(liteq, laravel):
    laravel.ask.push("Plain")
    broker = brokers.current()

    assert liteq("pause", "default")[0] == 0
    assert laravel.ask.cached("illuminate:queue:paused:redis:default") is True
    broker.dismissed("w")
    assert broker.claim("w", ["default"], 1, 30) == []
    assert broker.due_in(["default"]) is None
    assert liteq("resume", "default", "elsewhere")[:2] == (0, "resumed default, elsewhere\n")
    broker.dismissed("w")
    assert len(broker.claim("w", ["default"], 1, 30)) == 1


def test_all_queues_are_paused_at_once(liteq, laravel, url):
    laravel.ask.cache("illuminate:queues:paused", True)

    assert brokers.current().paused() == {"default": "", "mail": ""}


# ── doctor ──


def findings(told):
    return {
        (each["level"], each["title"]): each["detail"] for each in json.loads(told[1])["findings"]
    }


def test_doctor_tells_what_it_can(liteq, laravel, redis_client):
    laravel.ask.push("Plain")
    redis_client.rpush(f"{DEFAULT}:dead", "{}")
    liteq("pause", "mail")

    told = liteq("doctor", "--json")
    found = findings(told)

    assert told[0] == 1
    assert found["ok", "Queue default"] == "1 ready, 0 delayed, 0 reserved by workers"
    assert found["warn", "Queue default"].startswith("1 dead letters lie in")
    assert found["fault", "Queue mail"] == "it is paused"
    assert found["ok", "Cache"] == "it can be read"
    assert "dead letters" in found["ok", "Failures"]
    assert "encrypted jobs would fail" in found["ok", "APP_KEY"]


def test_doctor_knows_no_single_job(liteq):
    code, out, _ = liteq("doctor", "5")

    assert code == 1
    assert "Job 5: Laravel keeps no record of a job beside its queue" in out.splitlines()[-1]


def test_doctor_looks_at_what_is_beside_the_queue(liteq, url, monkeypatch, laravel, tmp_path):
    monkeypatch.setenv("LARAVEL_APP_KEY", artisan.APP_KEY)
    monkeypatch.setenv("LITEQ_URL", f"{url}&failed=sqlite:///{laravel.database}")
    found = findings(liteq("doctor", "--json"))

    assert found["ok", "Failures"].startswith("they go to failed_jobs")
    assert found["ok", "APP_KEY"] == "given: encrypted jobs can be read"

    monkeypatch.setenv("LITEQ_URL", f"{url}&cache=none&failed=sqlite:///{tmp_path}/none.sqlite")
    found = findings(liteq("doctor", "--json"))

    assert "there is no such file" in found["fault", "Failures"]
    assert "are not heeded" in found["warn", "Cache"]

    monkeypatch.setenv("LITEQ_URL", f"{url}&cache=redis://127.0.0.1:{servers.free_port()}")
    assert "cannot be reached" in findings(liteq("doctor", "--json"))["fault", "Cache"]


def test_doctor_says_what_is_wrong_with_a_place(liteq, monkeypatch):
    port = servers.free_port()
    for url, title, why in (
        (f"laravel+redis://:s3cret@127.0.0.1:{port}/0", "Queues", "cannot be reached"),
        ("laravel+redis://h/0?retry_after=abc", "Database", "retry_after='abc'"),
    ):
        monkeypatch.setenv("LITEQ_URL", url)
        told = liteq("doctor", "--json")
        assert told[0] == 1
        assert why in findings(told)["fault", title]
        assert "s3cret" not in told[1]


def test_doctor_looks_at_tables_as_well(liteq, monkeypatch, laravel):
    laravel.env["QUEUE_CONNECTION"] = "database"
    laravel.ask.push("Plain")
    monkeypatch.setenv("LITEQ_URL", f"laravel+sqlite:///{laravel.database}?cache=none")

    found = findings(liteq("doctor", "--json"))

    assert found["ok", "Queue default"] == "1 ready, 0 delayed, 0 reserved by workers"
    brokers.current().close()


def test_a_worker_works_off_what_laravel_has_pushed(liteq, laravel, tmp_path, monkeypatch):
    monkeypatch.setattr(registry, "_definitions", {})
    (tmp_path / "work.py").write_text(
        'from liteq import task\n@task(name="App\\\\Jobs\\\\Plain")\n'
        "def plain(name: str):\n    with open('out', 'a') as out: out.write(name)\n"
    )
    laravel.ask.push("Plain", ["hello"])

    code, _, err = liteq("worker", "--app", "work.py", "--burst", "--pool", "inline")

    assert code == 0, err
    assert (tmp_path / "out").read_text() == "hello"
    assert laravel.ask.size() == 0
