"""Routes: a task named like a job class, `App\\Jobs\\SendReport`, runs what Laravel dispatches."""

import base64
import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from liteq import registry
from liteq.brokers.laravel.site import Route
from liteq.errors import UnreadablePayload
from liteq.laravel import payload
from liteq.laravel.encryption import Encrypter
from liteq.laravel.payload import Envelope

UniqueId = Callable[[Any], str]
_unique_ids: dict[str, UniqueId] = {}  # by class


def unique_by(name: str, unique_id: UniqueId) -> None:
    """Say how a job class makes its `uniqueId()`, so that its lock is released after its run.

    `unique_id` gets the job's data. Only PHP knows that method; Python has just the properties.
    """
    _unique_ids[name] = unique_id


def unique_id_of(name: str) -> UniqueId | None:
    """What `unique_by` was told about this class."""
    return _unique_ids.get(name)


class TaskRouter:
    """Finds the registered task by the job's class, or by the name that Laravel shows for it.

    The function gets those of the job's properties that it names, rebuilt by its annotations; a
    property that is absent because it has its class's default, takes the function's.
    """

    def __init__(self, encrypter: Encrypter | None):
        self._encrypter = encrypter

    def route(self, envelope: Envelope, body: str) -> Route:
        """The task and its payload. Raises UnreadablePayload for what nobody can run."""
        name = next(
            (each for each in names_of(envelope) if registry.get(each) is not None), envelope.name
        )
        definition = registry.get(name)
        unique_id = unique_id_of(envelope.name)
        if definition is None:  # the run will say what is registered
            return Route(name, "{}", max_retries=0, unique_id=unique_id)
        data = payload.data_of(envelope, self._encrypter)
        if isinstance(data, dict):
            call = {"args": [], "kwargs": definition.codec.named(data)}
        else:
            call = {"args": data if isinstance(data, list) else [data], "kwargs": {}}
        try:
            text = json.dumps(call, ensure_ascii=False, default=_plain, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UnreadablePayload(f"the data of {envelope.name} is no JSON: {error}") from None
        return Route(name, text, definition.max_retries, unique_id)


def names_of(envelope: Envelope) -> list[str]:
    """What a job may be known by: its class, with and without its method, and its shown name.

    The shown name is the class within, where a listener, a mail or a notification is wrapped.
    """
    return [envelope.name, envelope.name.partition("@")[0], envelope.display_name]


def _plain(value: Any) -> Any:
    """As the codec's shapes read it."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, UUID | Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r:.80}")
