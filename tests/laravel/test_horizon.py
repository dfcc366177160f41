"""Horizon: each key, field, score and expiry after each step of a job, in a real Redis."""

import json

import pytest

from liteq.laravel import horizon
from liteq.laravel.horizon import Horizon, Listing, Master, Order, Supervisor, Trim

H = "laravel_horizon:"
NOW = 4102444800.8399  # in the future, so that Redis lets nothing expire under a test
HOUR, WEEK = 3600, 7 * 86400
ID = "9d0f1d2e-5d8a-4c6c-9d2f-0a1b2c3d4e5f"
PARENT = "11111111-2222-4333-8444-555555555555"
TAG = "App\\Models\\User:1"


def payload(**changes):
    """What Horizon's own producer puts into a queue."""
    return {
        "uuid": ID,
        "displayName": "App\\Jobs\\Ship",
        "job": "Illuminate\\Queue\\CallQueuedHandler@call",
        "data": {"commandName": "App\\Jobs\\Ship", "command": 'O:13:"App\\Jobs\\Ship":0:{}'},
        "id": ID,
        "attempts": 0,
        "type": "job",
        "tags": [],
        "silenced": False,
        "pushedAt": "4102444799.5",
        **changes,
    }


def plain(**changes):
    """What Laravel without Horizon, or somebody else, puts into a queue."""
    mine = payload(id="x" * 32, **changes)
    for field in ("type", "tags", "silenced", "pushedAt"):
        mine.pop(field)
    return mine


def listed(content=None, now=NOW, **changes):
    content = content or payload(**changes)
    return horizon.listing("orders", json.dumps(content), now)


def basics(job):
    return {
        "id": job.id,
        "connection": "redis",
        "queue": "orders",
        "name": "App\\Jobs\\Ship",
        "payload": job.body,
    }


class Board:
    """What a dashboard sees: a client of Redis that runs our commands and reads all back."""

    def __init__(self, redis):
        self.redis = redis

    def run(self, commands):
        with self.redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return pipe.execute()

    def hash(self, name):
        return self.redis.hgetall(H + name)

    def scores(self, name):
        return dict(self.redis.zrange(H + name, 0, -1, withscores=True))

    def ends(self, name):
        return self.redis.expiretime(H + name)

    def names(self):
        return {key.removeprefix(H) for key in self.redis.keys("*")}


@pytest.fixture
def board(redis_client):
    return Board(redis_client)


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (1795307245.8399, "1795307245.8399"),
        (1795307245.83994, "1795307245.8399"),
        (1795307245.84, "1795307245.84"),
        (1795307245.0, "1795307245"),
    ],
)
def test_times_are_written_as_php_writes_microtime(now, text):
    assert horizon.dressed(payload(), now)["pushedAt"] == text


def test_payload_gets_what_horizon_adds_before_a_push():
    dressed = horizon.dressed({**plain(), "extra": 1}, NOW, tags=["a", TAG, "a"])

    assert dressed == {
        **plain(),
        "extra": 1,
        "id": ID,
        "type": "job",
        "tags": ["a", TAG],
        "silenced": False,
        "pushedAt": "4102444800.8399",
    }


def test_payload_keeps_its_own_tags_and_silence():
    dressed = horizon.dressed(payload(tags=["b", "a"], silenced=True), NOW, tags=["a", "c"])

    assert dressed["tags"] == ["b", "a", "c"]
    assert dressed["silenced"] is True


def test_payload_can_be_silenced():
    assert horizon.dressed(payload(), NOW, silenced=True)["silenced"] is True


def test_payload_without_any_identity_is_not_dressed():
    with pytest.raises(ValueError, match="needs a uuid"):
        horizon.dressed({"job": "X@fire"}, NOW)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"commandName": "App\\Jobs\\Ship"}, "job"),
        ({"commandName": "Illuminate\\Broadcasting\\BroadcastEvent"}, "broadcast"),
        ({"commandName": "Illuminate\\Events\\CallQueuedListener"}, "event"),
        ({"commandName": "Illuminate\\Mail\\SendQueuedMailable"}, "mail"),
        ({"commandName": "Illuminate\\Notifications\\SendQueuedNotifications"}, "notification"),
        ({"commandName": ["odd"]}, "job"),
        ("free", "job"),
    ],
)
def test_type_follows_the_command(data, kind):
    assert horizon.dressed(payload(data=data), NOW)["type"] == kind


def test_uuid_goes_before_id():
    assert listed(uuid="u", id="i").id == "u"
    assert listed(uuid=None, id="i").id == "i"


def test_payload_without_any_identity_is_not_listed():
    assert horizon.listing("orders", '{"job":"X@fire","attempts":0}', NOW) is None


@pytest.mark.parametrize("body", ["[]", "null", '"text"', "{oops"])
def test_body_that_is_no_object_is_an_error(body):
    with pytest.raises(ValueError, match=r"no JSON object|Expecting"):
        horizon.listing("orders", body, NOW)


def test_body_is_not_decoded_again():
    job = horizon.listing("orders", "{oops", NOW, payload())

    assert (job.id, job.body) == (ID, "{oops")


def test_name_is_the_handler_when_there_is_no_display_name():
    assert listed(displayName=None, job="App\\Old@fire").name == "App\\Old@fire"
    assert listed(displayName=None, job=None).name == ""


@pytest.mark.parametrize(
    ("tags", "read"),
    [
        (["a", "b"], ("a", "b")),
        ([7], ("7",)),
        ({}, ()),  # an empty list, after Redis had it
        ({"1": "a", "3": "b"}, ("a", "b")),  # a PHP array with gaps
        (None, ()),
        ("a", ()),
    ],
)
def test_tags_are_read_however_they_were_written(tags, read):
    assert listed(tags=tags).tags == read


def test_body_of_a_plain_payload_is_dressed_for_the_dashboard():
    job = listed(plain(displayName="App\\Jobs\\Ünï"))

    assert not job.announced
    assert "\\u00dcn\\u00ef" in job.body
    assert '"App\\\\Jobs\\\\Ship"' in job.body
    assert json.loads(job.body) == {
        **payload(displayName="App\\Jobs\\Ünï"),
        "pushedAt": "4102444800.8399",
    }


def test_slashes_are_escaped_as_php_does_it():
    assert '"url":"http:\\/\\/x\\/"' in listed(plain(url="http://x/")).body


def test_plain_payload_was_pushed_when_it_was_created():
    job = listed(plain(createdAt=4102444700))

    assert json.loads(job.body)["pushedAt"] == "4102444700"


def test_body_of_a_plain_payload_counts_the_reserved_attempt():
    job = horizon.listing("orders", json.dumps(plain(attempts=1)), NOW, plain(attempts=0))

    assert json.loads(job.body)["attempts"] == 1


def test_models_make_tags():
    tags = horizon.model_tags(
        [
            ("App\\Models\\User", 1),
            ("App\\Models\\Post", [3, "4"]),
            ("App\\Models\\User", 1),
            ("App\\Models\\None", ()),
        ]
    )

    assert tags == [TAG, "App\\Models\\Post:3", "App\\Models\\Post:4"]


def test_pushed_job_is_pending(board):
    job = listed()

    board.run(Horizon().pushed(job, NOW))

    assert board.names() == {"recent_jobs", "pending_jobs", ID}
    assert board.scores("recent_jobs") == {ID: -NOW}
    assert board.scores("pending_jobs") == {ID: -NOW}
    assert board.hash(ID) == {
        **basics(job),
        "status": "pending",
        "created_at": "4102444800.8399",
        "updated_at": "4102444800.8399",
    }
    assert board.ends(ID) == int(NOW) + HOUR
    assert board.ends("recent_jobs") == -1


def test_newest_job_is_first(board):
    board.run(Horizon().pushed(listed(uuid="old"), NOW))
    board.run(Horizon().pushed(listed(uuid="new"), NOW + 1))

    assert board.redis.zrange(H + "recent_jobs", 0, -1) == ["new", "old"]


def test_pushed_job_is_listed_under_its_monitored_tags_only(board):
    board.redis.sadd(H + "monitoring", TAG, "other")

    board.run(Horizon().pushed(listed(tags=["idle", TAG]), NOW))

    assert board.scores(TAG) == {ID: NOW}
    assert board.ends(TAG) == -1
    assert board.names() == {"recent_jobs", "pending_jobs", ID, "monitoring", TAG}


def test_reserved_job_is_running_with_its_reserved_body(board):
    board.run(Horizon().pushed(listed(), NOW))
    job = listed(attempts=1, tags={})

    board.run(Horizon().reserved(job, NOW + 2))

    assert board.hash(ID) == {
        **basics(job),
        "status": "reserved",
        "created_at": "4102444800.8399",
        "updated_at": "4102444802.8399",
        "reserved_at": "4102444802.8399",
    }
    assert json.loads(board.hash(ID)["payload"])["attempts"] == 1
    assert board.ends(ID) == int(NOW) + HOUR
    assert board.scores("pending_jobs") == {ID: -NOW}
    assert board.names() == {"recent_jobs", "pending_jobs", ID}


def test_released_job_is_pending_with_its_delay(board):
    job = listed(attempts=1)
    board.run(Horizon().pushed(listed(), NOW))
    board.run(Horizon().reserved(job, NOW + 1))

    board.run(Horizon().released(job, NOW + 2, 30))

    assert board.hash(ID) == {
        **basics(job),
        "status": "pending",
        "delay": "30",
        "created_at": "4102444800.8399",
        "updated_at": "4102444802.8399",
        "reserved_at": "4102444801.8399",
    }
    assert board.ends(ID) == int(NOW) + HOUR
    assert board.scores("pending_jobs") == {ID: -NOW}


def test_migrated_jobs_are_pending(board):
    jobs = [listed(uuid="a", attempts=1), listed(uuid="b", attempts=2)]
    for job in jobs:
        board.run(Horizon().pushed(job, NOW))
        board.run(Horizon().reserved(job, NOW + 1))

    board.run(Horizon().migrated(jobs, NOW + 5))

    for job in jobs:
        assert board.hash(job.id) == {
            **basics(job),
            "status": "pending",
            "created_at": "4102444800.8399",
            "updated_at": "4102444805.8399",
            "reserved_at": "4102444801.8399",
        }


def test_completed_job_is_listed_as_done(board):
    job = listed(attempts=1)
    board.run(Horizon().pushed(listed(), NOW))
    board.run(Horizon().reserved(job, NOW + 1))

    board.run(Horizon().completed(job, NOW + 2, 12.345))

    assert board.scores("completed_jobs") == {ID: -(NOW + 2)}
    assert board.scores("pending_jobs") == {}
    assert board.scores("recent_jobs") == {ID: -NOW}
    assert board.hash(ID) == {
        **basics(job),
        "status": "completed",
        "created_at": "4102444800.8399",
        "updated_at": "4102444801.8399",
        "reserved_at": "4102444801.8399",
        "completed_at": "4102444802.8399",
    }
    assert board.ends(ID) == int(NOW + 2) + HOUR
    assert board.names() == {
        *("recent_jobs", "completed_jobs", ID),
        *("queue:orders", "measured_queues", "job:App\\Jobs\\Ship", "measured_jobs"),
    }


def test_silenced_job_is_listed_apart(board):
    job = listed(silenced=True)
    board.run(Horizon().pushed(job, NOW))

    board.run(Horizon().completed(job, NOW, 1))

    assert board.scores("silenced_jobs") == {ID: -NOW}
    assert "completed_jobs" not in board.names()
    assert board.hash(ID)["status"] == "completed"
    assert board.hash("queue:orders")["throughput"] == "1"


def test_completed_job_with_a_monitored_tag_is_remembered_for_a_week(board):
    board.redis.sadd(H + "monitoring", TAG)
    job = listed(tags=["idle", TAG])
    board.run(Horizon().pushed(job, NOW))

    board.run(Horizon().completed(job, NOW + 1, 1))

    assert board.scores("monitored_jobs") == {ID: -(NOW + 1)}
    assert board.scores("completed_jobs") == {ID: -(NOW + 1)}
    assert basics(job).items() <= board.hash(ID).items()
    assert board.hash(ID)["status"] == "completed"
    assert board.hash(ID)["completed_at"] == "4102444801.8399"
    assert board.ends(ID) == int(NOW + 1) + WEEK


def test_completed_job_with_tags_nobody_monitors_is_not_remembered(board):
    board.redis.sadd(H + "monitoring", "other")

    board.run(Horizon().completed(listed(tags=[TAG]), NOW, 1))

    assert "monitored_jobs" not in board.names()
    assert board.ends(ID) == int(NOW) + HOUR


def test_metrics_count_runs_and_hold_their_mean(board):
    for runtime in (10, 20, 45.129):
        board.run(Horizon().completed(listed(), NOW, runtime))

    for name in ("queue:orders", "job:App\\Jobs\\Ship"):
        assert board.hash(name)["throughput"] == "3"
        assert float(board.hash(name)["runtime"]) == pytest.approx((10 + 20 + 45.13) / 3)
        assert board.ends(name) == -1
    assert board.redis.smembers(H + "measured_queues") == {H + "queue:orders"}
    assert board.redis.smembers(H + "measured_jobs") == {H + "job:App\\Jobs\\Ship"}


def test_first_runtime_is_taken_as_it_is(board):
    board.run(Horizon().completed(listed(), NOW, 12.5))

    assert board.hash("queue:orders") == {"throughput": "1", "runtime": "12.5"}


def test_metrics_start_again_after_a_snapshot(board):
    board.run(Horizon().completed(listed(), NOW, 10))
    board.redis.delete(H + "queue:orders")  # as horizon:snapshot leaves it

    board.run(Horizon().completed(listed(), NOW, 30))

    assert board.hash("queue:orders") == {"throughput": "1", "runtime": "30"}


def test_failed_job_is_listed_with_its_exception(board):
    job = listed(attempts=1)
    board.run(Horizon().pushed(listed(), NOW))
    board.run(Horizon().reserved(job, NOW + 1))

    board.run(Horizon().failed(job, NOW + 2, "ValueError: no\n  at x.py:1", {"user": "ü/1"}))

    assert board.scores("failed_jobs") == {ID: -(NOW + 2)}
    assert board.scores("recent_failed_jobs") == {ID: -(NOW + 2)}
    assert board.hash(ID) == {
        **basics(job),
        "status": "failed",
        "created_at": "4102444800.8399",
        "updated_at": "4102444801.8399",
        "reserved_at": "4102444801.8399",
        "completed_at": "4102444802.8399",
        "failed_at": "4102444802.8399",
        "exception": "ValueError: no\n  at x.py:1",
        "context": '{"user":"\\u00fc\\/1"}',
    }
    assert board.ends(ID) == int(NOW + 2) + WEEK
    assert board.names() == {"recent_jobs", "failed_jobs", "recent_failed_jobs", ID}


def test_failed_job_without_context_has_an_empty_one(board):
    board.run(Horizon().failed(listed(), NOW, "oops"))

    assert board.hash(ID)["context"] == ""


@pytest.mark.parametrize("silenced", [False, True])
def test_failed_job_is_on_no_other_list(board, silenced):
    job = listed(silenced=silenced)
    board.run(Horizon().completed(job, NOW, 1))  # as a PHP worker does it just before

    board.run(Horizon().failed(job, NOW, "oops"))

    assert not {"pending_jobs", "completed_jobs", "silenced_jobs"} & board.names()


def test_failed_job_is_listed_under_all_its_tags_for_a_week(board):
    board.run(Horizon().failed(listed(tags=["idle", TAG]), NOW, "oops"))

    for tag in ("idle", TAG):
        assert board.scores(f"failed:{tag}") == {ID: NOW}
        assert board.redis.ttl(f"{H}failed:{tag}") in (WEEK, WEEK - 1)


def retried_by(*retries):
    return json.dumps([{"id": i, "status": s, "retried_at": 4102444799} for i, s in retries])


@pytest.mark.parametrize("ending", ["completed", "failed"])
def test_retry_that_ends_is_told_to_its_parent(board, ending):
    board.redis.hset(H + PARENT, "retried_by", retried_by(("other", "failed"), (ID, "pending")))
    job = listed(retry_of=PARENT)

    board.run(
        Horizon().completed(job, NOW, 1)
        if ending == "completed"
        else Horizon().failed(job, NOW, "oops")
    )

    assert json.loads(board.hash(PARENT)["retried_by"]) == json.loads(
        retried_by(("other", "failed"), (ID, ending))
    )


@pytest.mark.parametrize(
    "kept", [retried_by(("other", "pending")), "[]", "{oops", "7", '["odd"]', '[{"status":"x"}]']
)
def test_list_of_retries_without_this_one_stays_as_it_is(board, kept):
    board.redis.hset(H + PARENT, "retried_by", kept)

    board.run(Horizon().completed(listed(retry_of=PARENT), NOW, 1))

    assert board.hash(PARENT) == {"retried_by": kept}


def test_parent_that_is_gone_stays_gone(board):
    board.run(Horizon().failed(listed(retry_of=PARENT), NOW, "oops"))

    assert PARENT not in board.names()


@pytest.mark.parametrize("step", ["reserved", "released", "migrated"])
def test_unannounced_job_is_listed_when_it_is_first_seen(board, step):
    job = listed(plain(), tags=None)
    steps = {
        "reserved": Horizon().reserved(job, NOW),
        "released": Horizon().released(job, NOW, 0),
        "migrated": Horizon().migrated([job], NOW),
    }

    board.run(steps[step])

    assert board.scores("recent_jobs") == {ID: -NOW}
    assert board.scores("pending_jobs") == {ID: -NOW}
    assert basics(job).items() <= board.hash(ID).items()
    assert board.hash(ID)["created_at"] == "4102444800.8399"
    assert board.hash(ID)["status"] == ("reserved" if step == "reserved" else "pending")
    assert board.ends(ID) == int(NOW) + HOUR


def test_unannounced_job_keeps_its_place_when_it_is_seen_again(board):
    board.run(Horizon().reserved(listed(plain()), NOW))

    board.run(Horizon().reserved(listed(plain(attempts=1)), NOW + 60))

    assert board.scores("recent_jobs") == {ID: -NOW}
    assert board.scores("pending_jobs") == {ID: -NOW}
    assert board.hash(ID)["created_at"] == "4102444800.8399"
    assert board.hash(ID)["reserved_at"] == "4102444860.8399"
    assert json.loads(board.hash(ID)["payload"])["attempts"] == 1


def test_unannounced_job_with_a_monitored_tag_is_listed_under_it(board):
    board.redis.sadd(H + "monitoring", TAG)
    job = listed({**plain(), "tags": [TAG]})

    board.run(Horizon().reserved(job, NOW))

    assert board.scores(TAG) == {ID: NOW}


def test_job_whose_hash_ran_out_is_shown_when_it_comes_back(board):
    job = listed()

    board.run(Horizon().reserved(job, NOW))
    assert basics(job).items() <= board.hash(ID).items()
    board.redis.delete(H + ID)

    board.run(Horizon().completed(job, NOW, 1))
    assert board.hash(ID) == {
        **basics(job),
        "status": "completed",
        "completed_at": "4102444800.8399",
    }


def crew(status="running"):
    name = horizon.master_name("web-1.example.com", "aB3d")
    one = Supervisor(
        horizon.supervisor_name(name, "python"), 41, ("high", "orders"), 8, status, timeout=90
    )
    two = Supervisor(horizon.supervisor_name(name, "mail"), 42, ("mail",), 1)
    return Master(name, 40, (one, two), status, "production")


def test_worker_shows_as_master_with_its_supervisors(board):
    board.run(Horizon().present(crew(), NOW))

    name = "web-1examplecom-aB3d"
    assert board.scores("masters") == {name: int(NOW)}
    assert board.hash(f"master:{name}") == {
        "name": name,
        "environment": "production",
        "pid": "40",
        "status": "running",
        "supervisors": f'["{name}:python","{name}:mail"]',
    }
    assert board.redis.ttl(f"{H}master:{name}") in (15, 14)
    assert board.scores("supervisors") == {f"{name}:python": int(NOW), f"{name}:mail": int(NOW)}
    told = board.hash(f"supervisor:{name}:python")
    options = json.loads(told.pop("options"))
    assert told == {
        "name": f"{name}:python",
        "master": name,
        "pid": "41",
        "status": "running",
        "processes": '{"redis:high,orders":8}',
    }
    assert board.redis.ttl(f"{H}supervisor:{name}:python") in (30, 29)
    assert options == {
        "balance": "off",
        "connection": "redis",
        "queue": "high,orders",
        "backoff": 0,
        "force": False,
        "maxProcesses": 8,
        "minProcesses": 8,
        "maxTries": 0,
        "maxTime": 0,
        "maxJobs": 0,
        "memory": 0,
        "nice": 0,
        "name": f"{name}:python",
        "workersName": "default",
        "sleep": 3,
        "timeout": 90,
        "balanceCooldown": 3,
        "balanceMaxShift": 1,
        "parentId": 0,
        "rest": 0,
        "autoScalingStrategy": "time",
    }
    assert board.hash(f"supervisor:{name}:mail")["processes"] == '{"redis:mail":1}'


def test_worker_that_shows_again_is_alive_for_longer(board):
    board.run(Horizon().present(crew(), NOW))

    board.run(Horizon().present(crew("paused"), NOW + 7))

    assert board.scores("masters") == {"web-1examplecom-aB3d": int(NOW + 7)}
    assert board.hash("master:web-1examplecom-aB3d")["status"] == "paused"
    assert board.hash("supervisor:web-1examplecom-aB3d:python")["status"] == "paused"


def test_worker_that_is_gone_leaves_nothing(board):
    board.run(Horizon().present(crew(), NOW))
    board.redis.rpush(f"{H}commands:web-1examplecom-aB3d:python", "{}")
    board.redis.rpush(f"{H}commands:master:web-1examplecom-aB3d", "{}")

    board.run(Horizon().gone(crew()))

    assert board.names() == set()


def test_worker_that_is_gone_leaves_others_alone(board):
    other = Master("other-wxyz", 7, (Supervisor("other-wxyz:php", 8, ("orders",), 1),))
    board.run(Horizon().present(other, NOW))
    before = board.names()
    board.run(Horizon().present(crew(), NOW))

    board.run(Horizon().gone(crew()))

    assert board.names() == before
    assert board.scores("supervisors") == {"other-wxyz:php": int(NOW)}


@pytest.mark.parametrize(
    ("hostname", "name"),
    [
        ("web-1", "web-1-aB3d"),
        ("Web_1.Example.com", "web-1examplecom-aB3d"),
        ("-a__b--c d@e-", "a-b-c-d-at-e-aB3d"),
    ],
)
def test_master_is_named_as_laravel_makes_slugs(hostname, name):
    assert horizon.master_name(hostname, "aB3d") == name


def test_orders_are_taken_once_and_in_order(board):
    board.redis.rpush(
        f"{H}commands:m:python",
        r'{"command":"Laravel\\Horizon\\SupervisorCommands\\Pause","options":[]}',
        r'{"command":"Laravel\\Horizon\\SupervisorCommands\\ContinueWorking","options":[]}',
        r'{"command":"Laravel\\Horizon\\SupervisorCommands\\Scale","options":{"scale":3}}',
    )

    [reply] = board.run([Horizon().orders("m:python")])
    [again] = board.run([Horizon().orders("m:python")])

    orders = horizon.read_orders(reply)
    assert [(order.verb, order.options) for order in orders] == [
        ("pause", {}),
        ("continue", {}),
        ("scale", {"scale": 3}),
    ]
    assert again == []
    assert board.names() == set()


@pytest.mark.parametrize(
    ("command", "verb"),
    [
        ("Laravel\\Horizon\\SupervisorCommands\\Terminate", "terminate"),
        ("Laravel\\Horizon\\SupervisorCommands\\Restart", "restart"),
        ("Laravel\\Horizon\\SupervisorCommands\\Balance", "balance"),
        ("Pause", "pause"),
        ("Laravel\\Horizon\\MasterSupervisorCommands\\AddSupervisor", "unknown"),
        (None, "unknown"),
    ],
)
def test_order_is_read_from_its_class(command, verb):
    text = json.dumps({"command": command, "options": {"status": 1}})

    assert horizon.read_orders([text.encode()]) == [Order(verb, {"status": 1}, text)]


@pytest.mark.parametrize("text", ["{oops", "[]", "7"])
def test_order_that_cannot_be_read_is_unknown(text):
    assert horizon.read_orders([text]) == [Order("unknown", {}, text)]


def test_order_of_odd_bytes_is_unknown():
    assert horizon.read_orders([b"\xff"]) == [Order("unknown", {}, "\ufffd")]


def test_old_jobs_and_dead_workers_are_taken_off_the_lists(board):
    minutes = {
        "recent_jobs": 1,
        "pending_jobs": 2,
        "completed_jobs": 3,
        "silenced_jobs": 3,
        "recent_failed_jobs": 4,
        "failed_jobs": 5,
        "monitored_jobs": 6,
    }
    for name, age in minutes.items():
        old, young = -(int(NOW) - age * 60), -(int(NOW) - age * 60 + 1)
        board.redis.zadd(H + name, {"old": old, "young": young})
    for name, age in {"masters": 15, "supervisors": 30}.items():
        board.redis.zadd(H + name, {"dead": int(NOW) - age, "alive": int(NOW) - age + 1})

    trim = Trim(recent=1, pending=2, completed=3, recent_failed=4, failed=5, monitored=6)
    board.run(Horizon(trim_after=trim).trim(NOW))

    assert all(list(board.scores(name)) == ["young"] for name in minutes)
    assert list(board.scores("masters")) == ["alive"]
    assert list(board.scores("supervisors")) == ["alive"]


def test_trim_times_are_minutes_of_each_list(board):
    trim = Trim(pending=2, completed=3, failed=5, monitored=6)
    own = Horizon(trim_after=trim)
    board.redis.sadd(H + "monitoring", TAG)

    board.run(own.pushed(listed(uuid="pending"), NOW))
    board.run(own.completed(listed(uuid="completed"), NOW, 1))
    board.run(own.completed(listed(uuid="monitored", tags=[TAG]), NOW, 1))
    board.run(own.failed(listed(uuid="failed", tags=[TAG]), NOW, "oops"))

    ends = {name: board.ends(name) - int(NOW) for name in trim._fields if name in board.names()}
    assert ends == {"pending": 120, "completed": 180, "monitored": 360, "failed": 300}
    assert board.redis.ttl(f"{H}failed:{TAG}") in (300, 299)


def test_own_prefix_and_connection_are_used_everywhere(board):
    own = Horizon("shop:", "redis-long")
    job = listed(tags=[TAG], retry_of=PARENT)
    board.redis.sadd("shop:monitoring", TAG)

    for commands in (
        own.pushed(job, NOW),
        own.reserved(job, NOW),
        own.released(job, NOW, 1),
        own.migrated([job], NOW),
        own.completed(job, NOW, 1),
        own.failed(job, NOW, "oops"),
        own.present(crew(), NOW),
        [own.orders("x")],
        own.trim(NOW),
    ):
        board.run(commands)

    assert all(key.startswith("shop:") for key in board.redis.keys("*"))
    assert board.redis.hget(f"shop:{ID}", "connection") == "redis-long"
    assert "redis-long" in board.redis.hget(
        "shop:supervisor:web-1examplecom-aB3d:python", "processes"
    )
    assert board.redis.smembers("shop:measured_queues") == {"shop:queue:orders"}


def test_most_jobs_cost_few_commands():
    own, job = Horizon(), listed()

    assert len(own.pushed(job, NOW)) == 4
    assert len(own.reserved(job, NOW)) == 1
    assert len(own.released(job, NOW, 1)) == 1
    assert len(own.completed(job, NOW, 1)) == 5
    assert len(own.failed(job, NOW, "oops")) == 7


def test_listing_can_be_made_by_hand():
    job = Listing(ID, "orders", "App\\Jobs\\Ship", "{}")

    assert len(Horizon().completed(job, NOW, 1)) == 5
