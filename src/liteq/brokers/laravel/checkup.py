"""Checkup: what can be said of Laravel's queues to somebody who asks why nothing runs.

Changes nothing, and looks into no payload.
"""

from collections.abc import Iterator
from shlex import quote

from liteq.brokers.base import Store
from liteq.brokers.laravel.broker import LaravelBroker
from liteq.brokers.laravel.redis import RedisDriver
from liteq.errors import BrokerError
from liteq.findings import Finding, fault, ok, warn

_LETTERS = 1000  # dead letters that are counted


def check(broker: Store) -> Iterator[Finding]:
    """The findings on the queues that the broker's URL names, and on what is beside them."""
    if not isinstance(broker, LaravelBroker):
        raise TypeError(f"{broker.url} is none of Laravel's queues")
    try:
        for queue in broker.queues:
            yield from _of_queue(broker, queue)
    except BrokerError as error:
        yield fault("Queues", str(error))
        return
    yield from _signals(broker)
    yield from _failures(broker)
    yield _key(broker)


def _of_queue(broker: LaravelBroker, queue: str) -> Iterator[Finding]:
    ready, delayed, reserved = broker.driver.counts(queue)
    yield ok(f"Queue {queue}", f"{ready} ready, {delayed} delayed, {reserved} reserved by workers")
    if isinstance(broker.driver, RedisDriver):
        letters = len(broker.driver.dead(queue, _LETTERS))
        if letters:
            more = " or more" if letters == _LETTERS else ""
            yield warn(
                f"Queue {queue}",
                f"{letters}{more} dead letters lie in {broker.driver.keys.dead(queue)}",
                "lara_queue's Queue.dead_letters() shows them, retry_dead_letter() pushes them",
            )


def _signals(broker: LaravelBroker) -> Iterator[Finding]:
    """Restart, pause and the locks of unique jobs are kept in Laravel's cache."""
    if broker.site.cache is None:
        said = "none is known: queue:restart and pauses are not heeded, unique jobs stay locked"
        yield warn("Cache", said, "name it in the URL: cache_prefix, cache_db or cache")
        return
    try:
        paused = broker.paused()
    except BrokerError as error:
        yield fault("Cache", str(error))
        return
    yield ok("Cache", "it can be read")
    for queue in paused:
        yield fault(f"Queue {queue}", "it is paused", f"liteq resume {quote(queue)}")


def _failures(broker: LaravelBroker) -> Iterator[Finding]:
    if broker.site.ledger is None:
        said = "jobs that fail are kept in the queue's list of dead letters"
        yield ok("Failures", f"{said}; `failed=` in the URL names a database with failed_jobs")
        return
    try:
        broker.site.ledger.batch_cancelled("")
        yield ok("Failures", "they go to failed_jobs, whose database can be read")
    except BrokerError as error:
        yield fault("Failures", str(error))


def _key(broker: LaravelBroker) -> Finding:
    if broker.site.encrypter is None:
        return ok("APP_KEY", "not given: encrypted jobs would fail; LARAVEL_APP_KEY names it")
    return ok("APP_KEY", "given: encrypted jobs can be read")
