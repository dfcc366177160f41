"""Payload: the JSON that Laravel puts on a queue, opened and made. Texts in, data out.

What is inside of its serialized command is `phpserialize`'s and `plain`'s business.
Source: `Illuminate\\Queue\\Queue::createPayload` and `Queue\\Jobs\\Job`, Laravel 5.5 to 13.
"""

import json
import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from liteq.errors import EncodingError, UnreadablePayload
from liteq.laravel import phpserialize, plain
from liteq.laravel.encryption import Encrypter
from liteq.laravel.phpserialize import PhpObject

CALL_OBJECT = "Illuminate\\Queue\\CallQueuedHandler@call"  # `job` of every job that is an object
CLOSURE = "Illuminate\\Queue\\CallQueuedClosure"
_PASSED_ON = ("chainConnection", "chainQueue", "chainCatchCallbacks")
_SHOWN = 120  # characters of a payload in a message
# Kept, as json.dumps would make one for each payload.
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_LONGEST = 1e10  # seconds, 300 years: no wait is that long
_LONGEST_RUN = 10**9  # seconds, 30 years


class Envelope(NamedTuple):
    """A payload, opened as far as it must be before its job runs."""

    uuid: str  # the job's identity everywhere; its `id` where Laravel is older than 7
    name: str  # the job's class; of a string job `Class@method`, or `Class` where it is `fire`
    display_name: str  # what Laravel shows: mostly the class
    command: str | None  # the serialized object, perhaps encrypted; None: a string job
    data: Any  # of a string job: free JSON
    max_tries: int | None  # 0: without limit; None: the worker decides
    max_exceptions: int | None
    backoff: tuple[float, ...]  # seconds
    timeout: float | None  # seconds
    retry_until: float | None  # unix seconds
    fail_on_timeout: bool
    fields: dict[str, Any]  # the whole payload


class Options(NamedTuple):
    """What a job may ask for when it is pushed; None: what its worker has set."""

    max_tries: int | None = None
    max_exceptions: int | None = None
    backoff: tuple[int, ...] = ()
    timeout: int | None = None
    retry_until: int | None = None
    fail_on_timeout: bool = False
    delete_when_missing_models: bool | None = None
    display_name: str | None = None


class Chain(NamedTuple):
    """The next job of a chain, and where it is to go."""

    command: PhpObject  # it carries the rest of the chain
    connection: str | None
    queue: str | None
    due: float | None  # unix seconds; None: at once


def read(body: str) -> Envelope:
    """The payload, opened. Raises UnreadablePayload telling what is wrong with it."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UnreadablePayload(f"the payload {_shown(body)} is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise UnreadablePayload(f"the payload {_shown(body)} is not a JSON object")
    job, data = fields.get("job"), fields.get("data")
    if not isinstance(job, str) or not job:
        raise UnreadablePayload(f"the payload {_shown(body)} names no job; `job` must be a text")
    command, name = None, job.removesuffix("@fire")
    if isinstance(data, dict) and isinstance(data.get("command"), str):
        command = data["command"]
        name = data.get("commandName") or name
    elif job == CALL_OBJECT:
        raise UnreadablePayload(f"the payload {_shown(body)} has no `data.command` to run")
    return Envelope(
        uuid=str(fields.get("uuid") or fields.get("id") or ""),
        name=str(name),
        display_name=str(fields.get("displayName") or name),
        command=command,
        data=data,
        max_tries=_whole(fields, "maxTries"),
        max_exceptions=_whole(fields, "maxExceptions"),
        backoff=_backoff(fields),
        # PHP's alarm takes no less than 0 either, and no timer takes all that is more.
        timeout=min(max(0, _whole(fields, "timeout") or 0), _LONGEST_RUN) or None,
        retry_until=_whole(fields, "retryUntil", "timeoutAt"),
        fail_on_timeout=bool(fields.get("failOnTimeout")),
        fields=fields,
    )


def opened(envelope: Envelope, encrypter: Encrypter | None) -> PhpObject:
    """The job itself, as PHP would have it. Raises UnreadablePayload."""
    command = envelope.command or ""
    if not command.startswith("O:"):
        if encrypter is None:
            raise UnreadablePayload(
                f"the command of {envelope.name} is encrypted, or is no object; to read it, give "
                "the application's APP_KEY (app_key=…, or the variable LARAVEL_APP_KEY)"
            )
        serialized = encrypter.decrypt_job(command)
    else:
        serialized = command.encode("utf-8", "surrogateescape")
    found = phpserialize.loads(serialized)
    if not isinstance(found, PhpObject):
        raise UnreadablePayload(f"the command of {envelope.name} is no object but {found!r:.80}")
    return found


def is_encrypted(envelope: Envelope) -> bool:
    """Whether the command is not to be read by everybody."""
    return envelope.command is not None and not envelope.command.startswith("O:")


def data_of(envelope: Envelope, encrypter: Encrypter | None) -> Any:
    """What the job was given, as plain Python: a dict by property; free data of a string job.

    Raises UnreadablePayload, also for a closure, which only PHP can run.
    """
    if envelope.command is None:
        return envelope.data
    if envelope.name == CLOSURE:
        raise UnreadablePayload(
            "this job is a PHP closure, which only PHP can run; dispatch it to a queue that "
            "no Python worker reads"
        )
    return plain.properties(opened(envelope, encrypter))


def made(
    name: str,
    data: Any,
    *,
    uuid: str,
    now: float,
    options: Options | None = None,
    delay: int | None = None,
    encrypter: Encrypter | None = None,
) -> dict[str, Any]:
    """The payload for a job of this class with these properties; with `Class@method`, as free data.

    With `encrypter` its command is encrypted. `delay` is only told: when a job becomes ready
    is the queue's business. Raises EncodingError for what PHP cannot hold.
    """
    if "@" in name:
        return _fields(name, name.partition("@")[0], _free(name, data), uuid, now, options, delay)
    if not isinstance(data, Mapping):
        raise EncodingError(
            f"the data of {name} must be a dict of the job's properties, not {data!r:.80}"
        )
    return of_command(
        plain.job(name, data),
        uuid=uuid,
        now=now,
        options=options,
        delay=delay,
        encrypter=encrypter,
    )


def of_command(
    command: PhpObject,
    *,
    uuid: str,
    now: float,
    options: Options | None = None,
    delay: int | None = None,
    encrypter: Encrypter | None = None,
) -> dict[str, Any]:
    """The payload for this job object."""
    serialized = phpserialize.dumps(command)
    if encrypter is not None:
        text = encrypter.encrypt_job(serialized)
    else:
        text = _as_text(command.class_name, serialized)
    data = {"commandName": command.class_name, "command": text}
    return _fields(CALL_OBJECT, command.class_name, data, uuid, now, options, delay)


def as_text(fields: Mapping[str, Any]) -> str:
    """The payload as JSON text. Raises EncodingError for free data that JSON cannot carry."""
    try:
        text = _JSON.encode(fields)
        text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        said = f"the data of {fields.get('displayName')} cannot be written as JSON: {error}"
        raise EncodingError(f"{said}; pass plain values, or text") from None
    return text


def next_of_chain(command: PhpObject, now: float) -> Chain | None:
    """What is to be pushed when this job has done its work; None: it is no chain, or its end.

    As `Illuminate\\Bus\\Queueable::dispatchNextJobInChain` does it; a delay counts from `now`.
    Raises UnreadablePayload for a next job that cannot be read.
    """
    have = _by_name(command)
    chained = have.get("chained")
    if not isinstance(chained, dict) or not chained:
        return None
    first, *rest = chained.values()
    if not isinstance(first, str | bytes):
        raise UnreadablePayload(f"the next job of the chain of {command.class_name} is no text")
    follower = phpserialize.loads(first.encode() if isinstance(first, str) else first)
    if not isinstance(follower, PhpObject):
        raise UnreadablePayload(f"the next job of the chain of {command.class_name} is no object")
    its = _by_name(follower)
    connection = _text(its.get("connection")) or _text(have.get("chainConnection"))
    queue = _text(its.get("queue")) or _text(have.get("chainQueue"))
    due = _due(its.get("delay"), now, follower.class_name)
    follower.properties |= {
        "chained": dict(enumerate(rest)),
        "connection": connection,
        "queue": queue,
        **{name: have.get(name) for name in _PASSED_ON},
    }
    return Chain(follower, connection, queue, due)


def options_of(command: PhpObject) -> Options:
    """What the job object asks for by its own properties, as far as they are written out."""
    its = _by_name(command)
    backoff = its.get("backoff")
    waits = backoff.values() if isinstance(backoff, dict) else str(backoff).split(",")
    return Options(
        max_tries=_int(its.get("tries")),
        max_exceptions=_int(its.get("maxExceptions")),
        backoff=tuple(wait for wait in map(_int, waits) if wait is not None),
        timeout=_int(its.get("timeout")),
        retry_until=_moment(its.get("retryUntil")),
        fail_on_timeout=bool(its.get("failOnTimeout")),
        delete_when_missing_models=bool(its.get("deleteWhenMissingModels")) or None,
    )


def batch_of(envelope: Envelope, command: PhpObject | None) -> str | None:
    """The id of the batch that the job belongs to."""
    data = envelope.data
    told = data.get("batchId") if isinstance(data, dict) else None
    return _text(told) or _text(_by_name(command).get("batchId") if command else None)


def _fields(
    job: str,
    shown: str,
    data: Any,
    uuid: str,
    now: float,
    options: Options | None,
    delay: int | None,
) -> dict[str, Any]:
    asked = options or Options()
    fields = {
        "uuid": uuid,
        "displayName": asked.display_name or shown,
        "job": job,
        "maxTries": asked.max_tries,
        "maxExceptions": asked.max_exceptions,
        "failOnTimeout": asked.fail_on_timeout,
        "backoff": ",".join(map(str, asked.backoff)) or None,
        "timeout": asked.timeout,
        "retryUntil": asked.retry_until,
        "data": data,
        "createdAt": int(now),
        "delay": delay,
    }
    if asked.delete_when_missing_models is not None:
        fields["deleteWhenMissingModels"] = asked.delete_when_missing_models
    return fields


def _free(name: str, data: Any) -> Any:
    as_text({"displayName": name, "data": data})
    return data


def _as_text(name: str, serialized: bytes) -> str:
    try:
        return serialized.decode()
    except UnicodeDecodeError:
        raise EncodingError(
            f"the data of {name} holds bytes that are no UTF-8 text, which Laravel's JSON cannot "
            "carry; pass them as base64 text, or push the job encrypted"
        ) from None


def _by_name(command: PhpObject) -> dict[str, Any]:
    """The object's properties without what their names tell of visibility."""
    return {
        str(name).rpartition("\0")[2]: value
        for name, value in command.properties.items()
        if not isinstance(name, bytes)
    }


def _backoff(fields: Mapping[str, Any]) -> tuple[float, ...]:
    """Seconds; `delay` where there is no backoff, as `Queue\\Jobs\\Job::backoff` has it."""
    told = fields.get("backoff")
    if told is None:
        told = fields.get("delay")
    if told is None:
        return ()
    if isinstance(told, dict):  # a list that cjson has emptied on its way
        told = list(told.values())
    parts = told.split(",") if isinstance(told, str) else told if isinstance(told, list) else [told]
    try:
        waits = tuple(max(0.0, float(part or 0)) for part in parts)  # PHP: (int) '' is 0
    except (TypeError, ValueError):
        waits = (math.inf,)
    if any(wait > _LONGEST for wait in waits):
        raise UnreadablePayload(
            f"the payload's backoff {told!r:.80} is no number of seconds; it should read like "
            "'10,30'"
        )
    return waits


def _due(delay: Any, now: float, name: str) -> float | None:
    """When a job with this delay is ready; None: at once. As `InteractsWithTime::availableAt`."""
    found = plain.plain(delay)
    if isinstance(found, datetime):
        return found.timestamp()
    seconds = found.total_seconds() if isinstance(found, timedelta) else found
    try:
        wait = float(seconds or 0)
    except (TypeError, ValueError):
        wait = math.inf
    if wait > _LONGEST:
        raise UnreadablePayload(
            f"{name}, the next job of the chain, has a delay of {found!r:.200}, whose length only "
            "PHP knows"
        )
    return now + wait if wait > 0 else None


def _whole(fields: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        told = fields.get(name)
        if told is not None:
            break
    else:
        return None
    try:
        return int(told)
    except (TypeError, ValueError, OverflowError):
        raise UnreadablePayload(
            f"the payload's {names[0]} {told!r:.80} is not a whole number"
        ) from None


def _int(value: Any) -> int | None:
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _moment(value: Any) -> int | None:
    found = plain.plain(value)
    return int(found.timestamp()) if isinstance(found, datetime) else _int(found)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _shown(body: str) -> str:
    return repr(body) if len(body) <= _SHOWN else f"{body[:_SHOWN]!r}…"
