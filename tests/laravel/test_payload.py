"""The JSON on Laravel's queues, opened and made, with PHP's own payloads as the measure."""

import json
from datetime import datetime, timezone

import artisan
import pytest

from liteq.errors import EncodingError, UnreadablePayload
from liteq.laravel import payload, phpserialize, plain
from liteq.laravel.encryption import Encrypter
from liteq.laravel.payload import Options
from liteq.laravel.phpserialize import PhpObject

NOW = 1_800_000_000.5
UUID = "9d0f1d2e-5d8a-4c6c-9d2f-0a1b2c3d4e5f"
BASE = {"uuid": UUID, "displayName": "App\\Jobs\\X", "job": payload.CALL_OBJECT, "attempts": 0}
COMMAND = {"commandName": "App\\Jobs\\X", "command": 'O:10:"App\\Jobs\\X":0:{}'}


@pytest.fixture
def encrypter():
    return Encrypter(artisan.APP_KEY)


@pytest.fixture
def pushed(laravel, redis_client):
    """`pushed(question, …)`: the payload that Laravel has put into its queue, as text."""

    def push(*args, **env):
        laravel.dispatch(*args, **env)
        return redis_client.rpop("laravel_database_queues:default")

    return push


def envelope(**fields):
    return payload.read(json.dumps({**BASE, "data": COMMAND, **fields}))


def follower(delay=None, now=NOW, head=None, **its):
    """The chain whose next job has that delay."""
    following = PhpObject("App\\Jobs\\Next", {"delay": delay, **its})
    first = phpserialize.dumps(following).decode()
    job = PhpObject("App\\Jobs\\First", {"chained": {0: first}, **(head or {})})
    return payload.next_of_chain(job, now)


# ── what Laravel itself writes ──


def test_a_job_of_laravels_is_read_with_all_that_it_asks_for(pushed):
    found = payload.read(pushed("job", "Options"))

    assert found.name == "App\\Jobs\\Options"
    assert found.display_name == "Pretty Name"
    assert (found.max_tries, found.max_exceptions) == (3, 2)
    assert found.backoff == (10.0, 20.0, 30.0)
    assert (found.timeout, found.retry_until, found.fail_on_timeout) == (45, 2000000000, True)
    assert found.uuid == found.fields["uuid"] != found.fields["id"]
    assert payload.data_of(found, None)["value"] == 1
    assert payload.batch_of(found, None) is None


def test_a_plain_job_of_laravels_asks_for_nothing(pushed):
    found = payload.read(pushed("job", "Plain", "héllo / 日本 🎉"))

    assert found[5:11] == (None, None, (), None, None, False)
    assert payload.data_of(found, None) == {"name": "héllo / 日本 🎉"}
    assert not payload.is_encrypted(found)


def test_an_encrypted_job_of_laravels_needs_the_key(pushed, encrypter):
    found = payload.read(pushed("job", "Secret", "5555"))

    assert payload.is_encrypted(found)
    assert payload.data_of(found, encrypter) == {"card": 5555}
    with pytest.raises(UnreadablePayload, match="give the application's APP_KEY"):
        payload.data_of(found, None)


@pytest.mark.parametrize(
    ("job", "name"),
    [
        ("App\\Handlers\\Report@build", "App\\Handlers\\Report@build"),
        ("App\\Handlers\\Report", "App\\Handlers\\Report"),
        ("App\\Handlers\\Report@fire", "App\\Handlers\\Report"),
    ],
)
def test_a_string_job_of_laravels_carries_free_data(pushed, job, name):
    found = payload.read(pushed("string", job, '{"a": [1, {"b": null}]}'))

    assert (found.name, found.display_name) == (name, "App\\Handlers\\Report")
    assert found.command is None
    assert payload.data_of(found, None) == {"a": [1, {"b": None}]}
    assert not payload.is_encrypted(found)


def test_a_closure_is_left_to_php(pushed):
    found = payload.read(pushed("closure"))

    with pytest.raises(UnreadablePayload, match="which only PHP can run"):
        payload.data_of(found, None)


def test_a_listener_goes_by_the_name_that_is_shown(pushed):
    found = payload.read(pushed("listener", 5))

    assert found.name == "Illuminate\\Events\\CallQueuedListener"
    assert found.display_name == "App\\Listeners\\SendReceipt"
    assert found.max_tries == 2


def test_a_batch_of_laravels_is_known_by_its_job(pushed):
    found = payload.read(pushed("batch", "InBatch"))
    command = payload.opened(found, None)

    assert payload.batch_of(found, command) == command.properties["batchId"]
    told = found._replace(data={**found.data, "batchId": "of 12.51"})
    assert payload.batch_of(told, None) == "of 12.51"
    assert payload.batch_of(found, None) is None


# ── older Laravels, and what cjson does to a payload ──


def test_a_job_of_laravel_5_has_its_fields_under_their_old_names():
    found = envelope(uuid=None, id="x" * 32, timeoutAt=1900000000, delay=7)

    assert (found.uuid, found.retry_until, found.backoff) == ("x" * 32, 1900000000, (7.0,))


def test_a_new_name_wins_over_an_old_one():
    found = envelope(retryUntil=5, timeoutAt=6, backoff="1", delay=7)

    assert (found.retry_until, found.backoff) == (5, (1.0,))


def test_numbers_that_cjson_has_spoilt_are_read():
    body = '{"job":"J","maxTries":1e+14,"timeout":1e+2,"retryUntil":2e+9,"data":{},"backoff":{}}'

    found = payload.read(body)

    assert (found.max_tries, found.timeout, found.retry_until) == (10**14, 100, 2 * 10**9)
    assert found.backoff == ()
    assert payload.data_of(found, None) == {}


@pytest.mark.parametrize(
    ("told", "waits"),
    [
        ([10, "20"], (10, 20)),
        ("10,20", (10, 20)),
        ("10, 20", (10, 20)),
        (5, (5,)),
        (1.5, (1.5,)),
        ("", (0,)),
        ("-3", (0,)),
        (None, ()),
        ({"1": 5}, (5,)),
        (0, (0,)),
    ],
)
def test_a_backoff_is_read_as_php_reads_it(told, waits):
    assert envelope(backoff=told).backoff == waits


@pytest.mark.parametrize("told", ["soon", [[1]], "1e999", float("inf"), ["5", "x"], 1e11])
def test_a_backoff_that_is_no_number_of_seconds_is_refused(told):
    with pytest.raises(UnreadablePayload, match="no number of seconds; it should read like"):
        envelope(backoff=told)


@pytest.mark.parametrize(("told", "seconds"), [(0, None), (-5, None), ("30", 30), (None, None)])
def test_no_timeout_is_none(told, seconds):
    assert envelope(timeout=told).timeout == seconds


@pytest.mark.parametrize("name", ["maxTries", "maxExceptions", "timeout", "retryUntil"])
@pytest.mark.parametrize("told", ["many", [1], float("inf"), float("nan")])
def test_a_number_that_is_none_is_refused_by_its_name(name, told):
    with pytest.raises(UnreadablePayload, match=f"{name} .* is not a whole number"):
        envelope(**{name: told})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[1]", "is not a JSON object"),
        ("5", "is not a JSON object"),
        ("{}", "names no job"),
        ('{"job": 5}', "names no job"),
        (json.dumps({"job": payload.CALL_OBJECT, "data": {}}), "no `data.command` to run"),
        (json.dumps({"job": payload.CALL_OBJECT, "data": {"command": 5}}), "no `data.command`"),
    ],
)
def test_a_payload_that_is_none_says_why(body, why):
    with pytest.raises(UnreadablePayload, match=why) as caught:
        payload.read(body)

    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("command", ["i:5;", "", "Tm90IGEgdG9rZW4="])
def test_a_command_that_is_no_object_says_so(command, encrypter):
    found = envelope(data={"commandName": "X", "command": command})

    for key in (None, encrypter):
        with pytest.raises(UnreadablePayload):
            payload.data_of(found, key)


def test_an_encrypted_command_that_is_no_object_says_so(encrypter):
    token = encrypter.encrypt_job(b"i:5;")

    with pytest.raises(UnreadablePayload, match="is no object but 5"):
        payload.opened(envelope(data={"commandName": "X", "command": token}), encrypter)


def test_bytes_that_are_no_utf8_reach_the_job():
    body = json.dumps({**BASE, "data": {**COMMAND, "command": 'O:1:"X":1:{s:1:"a";s:1:"\udcff";}'}})

    assert payload.data_of(payload.read(body), None) == {"a": b"\xff"}


# ── chains ──


def test_a_chain_of_laravels_goes_on_as_laravel_itself_lets_it(laravel, redis_client):
    key = "laravel_database_queues:default"
    laravel.dispatch("chain", CHAIN_QUEUE="default", CHAIN_CONNECTION="redis")
    command = payload.opened(payload.read(redis_client.lindex(key, 0)), None)

    chain = payload.next_of_chain(command, NOW)
    laravel.work("once")  # its first step, after which PHP pushes the second

    assert (chain.connection, chain.queue, chain.due) == ("redis", "default", None)
    theirs = payload.read(redis_client.lindex(key, 0)).command
    ours = phpserialize.dumps(chain.command)
    assert laravel.ask.unserialize(ours) == laravel.ask.unserialize(theirs.encode())

    second = payload.next_of_chain(chain.command, NOW)
    assert plain.properties(second.command) == {"n": 3}
    assert payload.next_of_chain(second.command, NOW) is None


@pytest.mark.parametrize(
    ("delay", "after"),
    [
        ("10", 10),
        ("'15'", 15),
        ("0", None),
        ("null", None),
        ("new DateInterval('PT5M')", 300),
        ("Carbon\\CarbonInterval::hours(2)", 7200),
        ("Carbon\\Carbon::createFromTimestamp(1800000060)", 59.5),
        ("new DateTimeImmutable('2027-01-15 09:00:00', new DateTimeZone('Europe/Paris'))", -0.5),
        ("Carbon\\CarbonImmutable::createFromTimestamp(1800000060, '+05:00')", 59.5),
    ],
)
def test_a_delay_of_the_next_job_is_kept_whatever_its_kind(php, delay, after):
    theirs = phpserialize.loads(php.evaluate(f"return serialize({delay});").encode())

    chain = follower(theirs)

    assert chain.due == (None if after is None else NOW + after)


@pytest.mark.parametrize("delay", ["Carbon\\CarbonInterval::months(2)", "[1]", "'soon'", "1e300"])
def test_a_delay_whose_length_python_does_not_know_is_refused(php, delay):
    theirs = phpserialize.loads(php.evaluate(f"return serialize({delay});").encode())

    with pytest.raises(UnreadablePayload, match=r"has a delay of .*, whose length only PHP knows"):
        follower(theirs)


def test_the_next_job_keeps_its_own_place():
    chain = follower(
        connection="sqs", queue="own", head={"chainConnection": "redis", "chainQueue": "all"}
    )

    assert (chain.connection, chain.queue) == ("sqs", "own")
    assert chain.command.properties["chainQueue"] == "all"
    assert chain.command.properties["chained"] == {}


def test_a_next_job_of_any_bytes_goes_on():
    job = PhpObject("X", {"chained": {0: b'O:1:"N":1:{s:1:"a";s:1:"\xff";}'}})

    assert payload.next_of_chain(job, NOW).command.properties["a"] == b"\xff"


@pytest.mark.parametrize(
    ("first", "why"), [(5, "is no text"), ("i:5;", "is no object"), ("O:1", "at byte")]
)
def test_a_next_job_that_is_none_says_so(first, why):
    with pytest.raises(UnreadablePayload, match=why):
        payload.next_of_chain(PhpObject("X", {"chained": {0: first}}), NOW)


@pytest.mark.parametrize("chained", [{}, None, "x"])
def test_without_a_next_job_it_is_no_chain(chained):
    assert payload.next_of_chain(PhpObject("X", {"chained": chained}), NOW) is None


def test_the_next_job_is_tried_as_it_asks(php):
    def options(**its):
        return payload.options_of(PhpObject("X", its))

    moment = phpserialize.loads(
        php.evaluate("return serialize(Carbon\\Carbon::createFromTimestamp(1900000000));").encode()
    )

    assert options() == Options()
    assert options(tries=3, maxExceptions=2, timeout="45", failOnTimeout=True) == Options(
        max_tries=3, max_exceptions=2, timeout=45, fail_on_timeout=True
    )
    assert options(backoff={0: 10, 1: "20", 2: None}).backoff == (10, 20)
    assert options(backoff=5).backoff == (5,)
    assert options(backoff="1,2").backoff == (1, 2)
    assert options(retryUntil=moment).retry_until == 1900000000
    assert options(retryUntil=1900000001).retry_until == 1900000001
    assert options(tries=True).max_tries is None
    assert options(deleteWhenMissingModels=True).delete_when_missing_models is True
    assert payload.options_of(PhpObject("X", {b"\xff": 1, "\0*\0tries": 4})).max_tries == 4


# ── what we write ──


def test_what_we_write_has_all_that_laravels_own_has(laravel, pushed):
    theirs = json.loads(pushed("job", "Options"))
    options = Options(3, 2, (10, 20, 30), 45, 2000000000, True, True, "Pretty Name")

    ours = payload.made("App\\Jobs\\Options", {"value": 1}, uuid=UUID, now=NOW, options=options)

    told = {name for name in theirs if name not in ("uuid", "data", "id", "attempts")}
    assert {name: ours[name] for name in told} == {name: theirs[name] for name in told}
    assert ours["data"].keys() == theirs["data"].keys()
    assert (ours["createdAt"], ours["delay"]) == (1800000000, None)
    assert ours["deleteWhenMissingModels"] is True


def test_what_we_write_is_run_by_php(laravel, redis_client):
    fields = payload.made("App\\Jobs\\Plain", {"name": "von Python"}, uuid=UUID, now=NOW)
    laravel.ask.push_raw(payload.as_text({**fields, "id": "x" * 32, "attempts": 0}))

    events = laravel.work()

    [handled] = [each for each in events if each["event"] == "handled"]
    assert handled["got"] == {"+name": "von Python"}


def test_a_string_job_of_ours_carries_free_data():
    fields = payload.made("App\\Report@build", [1, {"a": None}], uuid=UUID, now=NOW, delay=5)

    assert (fields["job"], fields["displayName"]) == ("App\\Report@build", "App\\Report")
    assert (fields["data"], fields["delay"]) == ([1, {"a": None}], 5)
    assert payload.read(payload.as_text(fields)).data == [1, {"a": None}]


def test_an_encrypted_job_of_ours_is_read_by_php(php, encrypter):
    fields = payload.made(
        "App\\Jobs\\Secret", {"card": b"\xff"}, uuid=UUID, now=NOW, encrypter=encrypter
    )

    token = fields["data"]["command"]

    assert payload.data_of(payload.read(payload.as_text(fields)), encrypter) == {"card": b"\xff"}
    assert php.evaluate(f"return unserialize(decrypt('{token}'))->card === chr(255);") is True


@pytest.mark.parametrize("data", [[1], None, "text", 5])
def test_properties_must_have_names(data):
    with pytest.raises(EncodingError, match="must be a dict of the job's properties"):
        payload.made("App\\Jobs\\X", data, uuid=UUID, now=NOW)


def test_bytes_go_encrypted_or_not_at_all():
    with pytest.raises(EncodingError, match="as base64 text, or push the job encrypted"):
        payload.made("App\\Jobs\\X", {"a": b"\xff"}, uuid=UUID, now=NOW)


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "data",
    [float("nan"), {"a": float("inf")}, datetime.now(timezone.utc), b"x", "\ud800", nested(10**5)],
    ids=["nan", "inf", "moment", "bytes", "surrogate", "deep"],
)
def test_free_data_that_json_cannot_carry_is_refused(data):
    with pytest.raises(EncodingError, match=r"App\\Report@build cannot be written as JSON"):
        payload.made("App\\Report@build", data, uuid=UUID, now=NOW)
