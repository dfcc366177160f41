"""Horizon: what Laravel's dashboard reads about jobs and workers, as commands for Redis.

Commands only: no client, no clock, and what becomes of a job is decided elsewhere. A caller sends
each list of commands in one pipeline. Keys, fields, scores and expiries are Horizon 5's, and so
are the forms of texts: a dashboard, and PHP workers on the same queues, see no difference.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Literal, NamedTuple

Command = tuple[str | int | float | bytes, ...]
Status = Literal["running", "paused"]
Kind = Literal["job", "broadcast", "event", "mail", "notification"]
Verb = Literal["pause", "continue", "terminate", "restart", "scale", "balance", "unknown"]

MASTER_TTL = 15  # seconds a master is shown without news of it
SUPERVISOR_TTL = 30

_KINDS: dict[str, Kind] = {
    "Illuminate\\Broadcasting\\BroadcastEvent": "broadcast",
    "Illuminate\\Events\\CallQueuedListener": "event",
    "Illuminate\\Mail\\SendQueuedMailable": "mail",
    "Illuminate\\Notifications\\SendQueuedNotifications": "notification",
}

_VERBS: dict[str, Verb] = {
    "Pause": "pause",
    "ContinueWorking": "continue",
    "Terminate": "terminate",
    "Restart": "restart",
    "Scale": "scale",
    "Balance": "balance",
}

# Horizon reads, compares and writes in separate round trips. Here a script does each such step,
# which costs none and leaves no gap for another worker to write into.

# KEYS: the set of monitored tags, then each tag's list. ARGV: time, id, then each tag.
_WATCH = """
for i = 2, #KEYS do
  if redis.call('SISMEMBER', KEYS[1], ARGV[i + 1]) == 1 then
    redis.call('ZADD', KEYS[i], ARGV[1], ARGV[2])
  end
end
"""

# KEYS: the set of monitored tags, the list of monitored jobs, the job's hash.
# ARGV: score, id, expiry, then each tag.
_REMEMBER = """
local watched = 0
for i = 4, #ARGV do
  watched = watched + redis.call('SISMEMBER', KEYS[1], ARGV[i])
end
if watched > 0 then
  redis.call('ZADD', KEYS[2], ARGV[1], ARGV[2])
  redis.call('EXPIREAT', KEYS[3], ARGV[3])
end
"""

# KEYS: pairs of a measured thing's hash and the set of all such hashes. ARGV: runtime (ms).
_MEASURE = """
for i = 1, #KEYS, 2 do
  local seen = redis.call('HMGET', KEYS[i], 'throughput', 'runtime')
  local runs = tonumber(seen[1]) or 0
  local mean = tonumber(ARGV[1])
  if seen[2] then mean = (runs * seen[2] + mean) / (runs + 1) end
  redis.call('SADD', KEYS[i + 1], KEYS[i])
  redis.call('HSET', KEYS[i], 'throughput', runs + 1, 'runtime', mean)
end
"""

# KEYS: the hash of the job that was retried. ARGV: the retry's id, its status.
# A list that is no JSON stays as it is: it is Horizon's own, and this job has ended all the same.
_RETRIED = """
local text = redis.call('HGET', KEYS[1], 'retried_by')
local _, retries = pcall(cjson.decode, text)
if type(retries) ~= 'table' then return end
for _, retry in ipairs(retries) do
  if type(retry) == 'table' and retry.id == ARGV[1] then
    retry.status = ARGV[2]
    redis.call('HSET', KEYS[1], 'retried_by', cjson.encode(retries))
  end
end
"""

# KEYS: a list of orders.
_TAKE = """
local orders = redis.call('LRANGE', KEYS[1], 0, -1)
redis.call('DEL', KEYS[1])
return orders
"""


class Trim(NamedTuple):
    """How long Horizon keeps jobs of each list, in minutes: `trim` of config/horizon.php."""

    recent: int = 60
    pending: int = 60
    completed: int = 60
    recent_failed: int = 10080
    failed: int = 10080
    monitored: int = 10080


class Listing(NamedTuple):
    """One job as Horizon lists it; made by `listing`."""

    id: str
    queue: str  # bare name, no prefix
    name: str  # displayName
    body: str  # the payload as the dashboard shows and retries it; not always the queue's text
    tags: tuple[str, ...] = ()
    silenced: bool = False
    retry_of: str | None = None
    announced: bool = True  # False: its producer told Horizon nothing of it


class Supervisor(NamedTuple):
    """A group of worker processes with the same queues, as Horizon's page of supervisors shows it.

    The fields after `status` are shown as its options. Horizon reads `timeout` too: when it
    terminates, it waits for its own workers up to the longest timeout of all supervisors.
    """

    name: str  # by `supervisor_name`
    pid: int
    queues: tuple[str, ...]
    processes: int  # how many jobs it can run at a time
    status: Status = "running"
    timeout: int = 60  # seconds
    tries: int = 0
    backoff: int = 0  # seconds
    memory: int = 0  # MB; 0: no limit
    sleep: int = 3  # seconds between looks into an empty queue


class Master(NamedTuple):
    """A worker's main process with the supervisors it has, as Horizon shows it."""

    name: str  # by `master_name`
    pid: int
    supervisors: tuple[Supervisor, ...]
    status: Status = "running"
    environment: str = ""


class Order(NamedTuple):
    """What Horizon wants of a supervisor or master."""

    verb: Verb
    options: Mapping[str, Any]  # {"scale": 3}, {"status": 1}, or processes by queue to "balance"
    text: str  # as it was sent


class Horizon(NamedTuple):
    """Horizon's place in Redis, and the commands that keep it told.

    `prefix` is `horizon.prefix` of the Laravel application and stands instead of the Redis prefix;
    `connection` is Laravel's name of the queue connection. `now` is unix seconds with their
    fraction. Each method but `orders` returns commands in order, for one pipeline.

    Horizon on Redis Cluster needs a prefix with a hash tag, {horizon}, and so do the scripts here.
    """

    prefix: str = "laravel_horizon:"
    connection: str = "redis"
    trim_after: Trim = Trim()

    def pushed(self, job: Listing, now: float) -> list[Command]:
        """List a job that went into its queue, now or for later, as pending."""
        time = _time(now)
        key = self.prefix + job.id
        news = {"status": "pending", "created_at": time, "updated_at": time}
        return [
            ("ZADD", f"{self.prefix}recent_jobs", f"-{time}", job.id),
            ("ZADD", f"{self.prefix}pending_jobs", f"-{time}", job.id),
            _hset(key, self._basics(job) | news),
            ("EXPIREAT", key, _after(now, self.trim_after.pending)),
            *self._watched(job, time),
        ]

    def reserved(self, job: Listing, now: float) -> list[Command]:
        """Show the job as running."""
        return self._news(job, now, {"status": "reserved", "reserved_at": _time(now)})

    def released(self, job: Listing, now: float, delay: int) -> list[Command]:
        """Show the job as pending again, to run in `delay` seconds."""
        return self._news(job, now, {"status": "pending", "delay": delay})

    def migrated(self, jobs: Iterable[Listing], now: float) -> list[Command]:
        """Show the jobs, whose delay or reservation has run out, as pending in their queue."""
        return [told for job in jobs for told in self._news(job, now, {"status": "pending"})]

    def completed(self, job: Listing, now: float, runtime_ms: float) -> list[Command]:
        """Show the job as done, and count it into the metrics of its queue and its name."""
        time = _time(now)
        prefix = self.prefix
        key = prefix + job.id
        done = "silenced_jobs" if job.silenced else "completed_jobs"
        measured = (
            f"{prefix}queue:{job.queue}",
            f"{prefix}measured_queues",
            f"{prefix}job:{job.name}",
            f"{prefix}measured_jobs",
        )
        return [
            *self._retried(job, "completed"),
            ("ZADD", prefix + done, f"-{time}", job.id),
            ("ZREM", f"{prefix}pending_jobs", job.id),
            _hset(key, self._basics(job) | {"status": "completed", "completed_at": time}),
            ("EXPIREAT", key, _after(now, self.trim_after.completed)),
            *self._remembered(job, now),
            _eval(_MEASURE, measured, f"{round(runtime_ms, 2):.14g}"),
        ]

    def failed(
        self, job: Listing, now: float, exception: str, context: Mapping[str, Any] | None = None
    ) -> list[Command]:
        """Show the job as failed for good, with the exception's text and trace.

        A PHP worker first lists the job as completed and takes that back at once; only the
        `completed_at` that stays behind is written here.
        """
        time = _time(now)
        key = self.prefix + job.id
        news = {
            "status": "failed",
            "exception": exception,
            "context": "" if context is None else _json(context),
            "completed_at": time,
            "failed_at": time,
        }
        return [
            *self._retried(job, "failed"),
            ("ZADD", f"{self.prefix}failed_jobs", f"-{time}", job.id),
            ("ZADD", f"{self.prefix}recent_failed_jobs", f"-{time}", job.id),
            ("ZREM", f"{self.prefix}pending_jobs", job.id),
            ("ZREM", f"{self.prefix}completed_jobs", job.id),
            ("ZREM", f"{self.prefix}silenced_jobs", job.id),
            _hset(key, self._basics(job) | news),
            ("EXPIREAT", key, _after(now, self.trim_after.failed)),
            *(told for tag in job.tags for told in self._failed_under(tag, job.id, time)),
        ]

    def present(self, master: Master, now: float) -> list[Command]:
        """Show a worker as alive; to be sent about every second."""
        key = f"{self.prefix}master:{master.name}"
        news: dict[str, str | int] = {
            "name": master.name,
            "environment": master.environment,
            "pid": master.pid,
            "status": master.status,
            "supervisors": _json([supervisor.name for supervisor in master.supervisors]),
        }
        return [
            _hset(key, news),
            ("ZADD", f"{self.prefix}masters", int(now), master.name),
            ("EXPIRE", key, MASTER_TTL),
            *(
                told
                for supervisor in master.supervisors
                for told in self._supervising(supervisor, master.name, now)
            ),
        ]

    def gone(self, master: Master) -> list[Command]:
        """Take a worker that ends off the page, with its supervisors and any orders for them."""
        names = [supervisor.name for supervisor in master.supervisors]
        keys = [f"master:{master.name}", f"commands:master:{master.name}"]
        keys += [f"{kind}:{name}" for name in names for kind in ("supervisor", "commands")]
        return [
            ("DEL", *(self.prefix + key for key in keys)),
            ("ZREM", f"{self.prefix}masters", master.name),
            *(("ZREM", f"{self.prefix}supervisors", name) for name in names),
        ]

    def orders(self, name: str) -> Command:
        """Take all orders for a supervisor, or for a master ("master:" and its name).

        What the command answers goes into `read_orders`.
        """
        return _eval(_TAKE, [f"{self.prefix}commands:{name}"])

    def trim(self, now: float) -> list[Command]:
        """Take what is too old off the lists; to be sent about every minute.

        Horizon's own master does the same. Without one nobody does, and the lists only grow.
        """
        ages = {
            "recent_jobs": self.trim_after.recent,
            "recent_failed_jobs": self.trim_after.recent_failed,
            "pending_jobs": self.trim_after.pending,
            "completed_jobs": self.trim_after.completed,
            "silenced_jobs": self.trim_after.completed,
            "failed_jobs": self.trim_after.failed,
            "monitored_jobs": self.trim_after.monitored,
        }
        lives = {"masters": MASTER_TTL, "supervisors": SUPERVISOR_TTL}
        return [
            *(
                ("ZREMRANGEBYSCORE", self.prefix + jobs, -_after(now, -minutes), "+inf")
                for jobs, minutes in ages.items()
            ),
            *(
                ("ZREMRANGEBYSCORE", self.prefix + names, "-inf", int(now) - seconds)
                for names, seconds in lives.items()
            ),
        ]

    def _basics(self, job: Listing) -> dict[str, str | int]:
        # Written with every change, though Horizon does not: a hash that ran out while its job was
        # waiting or running would come back without id and name, and be counted but never shown.
        return {
            "id": job.id,
            "connection": self.connection,
            "queue": job.queue,
            "name": job.name,
            "payload": job.body,
        }

    def _news(self, job: Listing, now: float, news: Mapping[str, str | int]) -> list[Command]:
        time = _time(now)
        fields = self._basics(job) | {"updated_at": time, **news}
        told = _hset(self.prefix + job.id, fields)
        return [told] if job.announced else [told, *self._announced(job, now)]

    def _announced(self, job: Listing, now: float) -> list[Command]:
        time = _time(now)
        key = self.prefix + job.id
        return [  # NX: the first to see the job dates it
            ("ZADD", f"{self.prefix}recent_jobs", "NX", f"-{time}", job.id),
            ("ZADD", f"{self.prefix}pending_jobs", "NX", f"-{time}", job.id),
            ("HSETNX", key, "created_at", time),
            ("EXPIREAT", key, _after(now, self.trim_after.pending)),
            *self._watched(job, time),
        ]

    def _watched(self, job: Listing, time: str) -> list[Command]:
        if not job.tags:
            return []
        keys = [self.prefix + key for key in ("monitoring", *job.tags)]
        return [_eval(_WATCH, keys, time, job.id, *job.tags)]

    def _remembered(self, job: Listing, now: float) -> list[Command]:
        if not job.tags:
            return []
        time = _time(now)
        keys = [self.prefix + key for key in ("monitoring", "monitored_jobs", job.id)]
        until = _after(now, self.trim_after.monitored)
        return [_eval(_REMEMBER, keys, f"-{time}", job.id, until, *job.tags)]

    def _retried(self, job: Listing, status: str) -> list[Command]:
        if job.retry_of is None:
            return []
        return [_eval(_RETRIED, [self.prefix + job.retry_of], job.id, status)]

    def _failed_under(self, tag: str, id: str, time: str) -> tuple[Command, Command]:
        key = f"{self.prefix}failed:{tag}"
        return ("ZADD", key, time, id), ("EXPIRE", key, self.trim_after.failed * 60)

    def _supervising(self, supervisor: Supervisor, master: str, now: float) -> list[Command]:
        key = f"{self.prefix}supervisor:{supervisor.name}"
        pool = f"{self.connection}:{','.join(supervisor.queues)}"
        news: dict[str, str | int] = {
            "name": supervisor.name,
            "master": master,
            "pid": supervisor.pid,
            "status": supervisor.status,
            "processes": _json({pool: supervisor.processes}),
            "options": _json(self._options(supervisor)),
        }
        return [
            _hset(key, news),
            ("ZADD", f"{self.prefix}supervisors", int(now), supervisor.name),
            ("EXPIRE", key, SUPERVISOR_TTL),
        ]

    def _options(self, supervisor: Supervisor) -> dict[str, object]:
        # All that Horizon's own supervisors write, in its order, with its defaults for what a
        # Python worker does not have.
        return {
            "balance": "off",
            "connection": self.connection,
            "queue": ",".join(supervisor.queues),
            "backoff": supervisor.backoff,
            "force": False,
            "maxProcesses": supervisor.processes,
            "minProcesses": supervisor.processes,
            "maxTries": supervisor.tries,
            "maxTime": 0,
            "maxJobs": 0,
            "memory": supervisor.memory,
            "nice": 0,
            "name": supervisor.name,
            "workersName": "default",
            "sleep": supervisor.sleep,
            "timeout": supervisor.timeout,
            "balanceCooldown": 3,
            "balanceMaxShift": 1,
            "parentId": 0,
            "rest": 0,
            "autoScalingStrategy": "time",
        }


def dressed(
    payload: Mapping[str, Any],
    now: float,
    *,
    tags: Sequence[str] = (),
    silenced: bool = False,
) -> dict[str, Any]:
    """The payload with what Horizon adds to it before a push: id, type, tags, silenced, pushedAt.

    Tags that it already has stay in front. Raises ValueError for a payload without uuid and id.
    """
    identity = _identity_of(payload)
    if not identity:
        raise ValueError("a payload needs a uuid (or an id) for Horizon to list it under")
    data = payload.get("data")
    command = data.get("commandName") if isinstance(data, Mapping) else None
    return {
        **payload,
        "id": identity,
        "type": _KINDS.get(command, "job") if isinstance(command, str) else "job",
        "tags": list(dict.fromkeys([*_tags(payload), *tags])),
        "silenced": silenced or payload.get("silenced") is True,
        "pushedAt": _time(now),
    }


def listing(
    queue: str, body: str, now: float, payload: Mapping[str, Any] | None = None
) -> Listing | None:
    """The job as Horizon lists it; None for a payload with neither uuid nor id.

    `body` is the queue's text of the payload, after a pop the reserved one. `payload` is the same
    decoded, where the caller has it. If the producer told Horizon nothing of the job, the listing
    has its own body, dressed up as far as the dashboard and its button "Retry" need it.
    Raises ValueError if `body` has to be decoded and is no JSON object.
    """
    if payload is None:
        payload = _decoded(body)
    identity = _identity_of(payload)
    if not identity:
        return None
    announced = "pushedAt" in payload
    if not announced:
        plain = _decoded(body)
        created = plain.get("createdAt")
        body = _json(dressed(plain, created if isinstance(created, int | float) else now))
    parent = payload.get("retry_of")
    return Listing(
        id=identity,
        queue=queue,
        name=str(payload.get("displayName") or payload.get("job") or ""),
        body=body,
        tags=_tags(payload),
        silenced=payload.get("silenced") is True,
        retry_of=None if parent is None else str(parent),
        announced=announced,
    )


def model_tags(models: Iterable[tuple[str, object]]) -> list[str]:
    """The tags of a job without its own: "App\\Models\\User:1" for each model in its properties.

    Each model is the `class` and the `id` of a ModelIdentifier; a collection has a list of ids.
    """
    tags: dict[str, None] = {}
    for name, ids in models:
        for key in ids if isinstance(ids, list | tuple) else [ids]:
            tags[f"{name}:{key}"] = None
    return list(tags)


def master_name(hostname: str, token: str) -> str:
    """A master's name, which `horizon:terminate` and `horizon:pause` on its host look for.

    `token` tells the masters of a host apart: four random letters and digits.
    """
    text = hostname.lower().replace("_", "-").replace("@", "-at-")
    text = re.sub(r"[^-a-z0-9\s]+", "", text)
    text = re.sub(r"[-\s]+", "-", text).strip("-")
    return f"{text}-{token}"


def supervisor_name(master: str, label: str) -> str:
    """A supervisor's name: its master's, and what tells its own apart there."""
    return f"{master}:{label}"


def read_orders(reply: Iterable[str | bytes]) -> list[Order]:
    """What the command of `Horizon.orders` has brought, oldest first.

    An order that is not understood has the verb "unknown": to be logged, not to be obeyed.
    """
    return [
        _order(text if isinstance(text, str) else text.decode(errors="replace")) for text in reply
    ]


def _order(text: str) -> Order:
    try:
        order = _decoded(text)
    except ValueError:
        return Order("unknown", {}, text)
    verb = _VERBS.get(str(order.get("command")).rpartition("\\")[2], "unknown")
    options = order.get("options")
    # PHP writes an empty array of options as a list.
    return Order(verb, options if isinstance(options, dict) else {}, text)


def _decoded(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError(f"no JSON object: {text[:80]!r}")
    return value


def _identity_of(payload: Mapping[str, Any]) -> str:
    return str(payload.get("uuid") or payload.get("id") or "")


def _tags(payload: Mapping[str, Any]) -> tuple[str, ...]:
    # Redis turns an empty list into {} when a job is popped; PHP writes one with gaps as {"1": …}.
    tags = payload.get("tags")
    if isinstance(tags, Mapping):
        tags = list(tags.values())
    return tuple(map(str, tags)) if isinstance(tags, list) else ()


def _hset(key: str, fields: Mapping[str, str | int]) -> Command:
    return ("HSET", key, *chain.from_iterable(fields.items()))


def _eval(script: str, keys: Sequence[str], *arguments: str | int) -> Command:
    return ("EVAL", script, len(keys), *keys, *arguments)


def _time(now: float) -> str:
    return f"{now:.14g}"  # PHP writes a float with 14 digits: ten of seconds, four of fraction


def _after(now: float, minutes: int) -> int:
    return int(now) + minutes * 60


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace("/", "\\/")  # as PHP's json_encode
