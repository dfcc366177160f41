"""Letters: jobs that nobody could run, kept in a list on Redis until a person decides."""

import json
from collections.abc import Sequence
from typing import NamedTuple

from liteq.brokers.laravel.base import Driver
from liteq.brokers.laravel.redis import RedisDriver
from liteq.errors import BrokerError


class DeadLetter(NamedTuple):
    """A payload and why it lies here."""

    queue: str
    payload: str  # as it was on the queue
    error: str
    failed_at: int  # unix seconds
    text: str  # the letter itself, which says which one is meant


class Letters:
    """The dead letters of some queues."""

    def __init__(self, driver: Driver, queues: Sequence[str]):
        self._driver = driver
        self._queues = queues

    def find(self, limit: int) -> list[DeadLetter]:
        """The newest ones, newest first."""
        driver = self._redis()
        found = [_read(queue, text) for queue in self._queues for text in driver.dead(queue, limit)]
        return sorted(found, key=lambda letter: letter.failed_at, reverse=True)[:limit]

    def retry(self, letter: DeadLetter) -> bool:
        """Push it again with all its attempts; False if it is gone. ValueError if it cannot run."""
        return self._redis().exhume(letter.queue, letter.text, _anew(letter))

    def delete(self, letter: DeadLetter) -> bool:
        """Delete it; False if it is gone."""
        return self._redis().exhume(letter.queue, letter.text, None)

    def _redis(self) -> RedisDriver:
        if not isinstance(self._driver, RedisDriver):
            raise BrokerError(
                "the database driver has no dead letters: failures are in Laravel's failed_jobs; "
                "see `php artisan queue:failed`"
            )
        return self._driver


def _read(queue: str, text: str) -> DeadLetter:
    told = json.loads(text)
    return DeadLetter(
        queue, told["payload"], str(told["error"]), int(told.get("failed_at") or 0), text
    )


def _anew(letter: DeadLetter) -> str:
    """Its payload as it is to be pushed: no attempt is counted yet."""
    try:
        fields = json.loads(letter.payload)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise ValueError(
            f"the payload {letter.payload!r:.120} is no JSON object, so it can never run; "
            "delete the letter"
        )
    fields["attempts"] = 0
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
