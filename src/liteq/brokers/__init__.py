"""Brokers: where jobs are kept. `connect(url)` gives the one for a URL, opened once a process."""

import atexit
import os

from liteq.brokers.base import Store

_open: dict[str, Store] = {}  # by the broker's own, absolute URL
_asked: dict[tuple[str, str], Store] = {}  # by the URL as asked for, and the working directory
_named: dict[tuple[str | None, str | None], Store] = {}  # by LITEQ_URL and an absolute LITEQ_DB


def current() -> Store:
    """The broker that LITEQ_URL or LITEQ_DB name at this moment."""
    named = os.environ.get("LITEQ_URL"), os.environ.get("LITEQ_DB")
    known = _named.get(named)
    if known is not None:
        return known
    from liteq import config  # its settings are a dataclass, and that takes 9 ms to import

    broker = connect(config.broker_url())
    if config.broker_url() == broker.url:  # absolute: the working directory does not matter
        _named[named] = broker
    return broker


def connect(url: str) -> Store:
    """The broker for this URL; the same object each time within a process.

    `sqlite:///liteq.db` is relative to the working directory, `sqlite:////var/q.db` absolute,
    `memory://NAME` lives in this process only, `laravel+redis://…` and its kin are Laravel's own
    queues (see brokers.laravel.urls). Raises ValueError for any other scheme.
    """
    key = (url, os.getcwd())
    known = _asked.get(key)
    if known is None:
        made = _make(url)
        known = _asked[key] = _open.setdefault(made.url, made)
    return known


@atexit.register
def _close_all() -> None:
    """Leave no connection for the interpreter's end to find."""
    for broker in _open.values():
        broker.close()


def _make(url: str) -> Store:
    scheme, separator, rest = url.partition("://")
    if scheme == "sqlite" and separator and rest.startswith("/"):
        from liteq.brokers.sqlite import SqliteBroker

        return SqliteBroker(url)
    if scheme == "memory" and separator:
        from liteq.brokers.memory import MemoryBroker

        return MemoryBroker(url)
    if scheme.startswith("laravel+") and separator:
        from liteq.brokers.laravel.urls import broker

        return broker(url)
    raise ValueError(
        f"no broker for the URL {url!r}; use sqlite:///path/to/file.db, "
        "or LITEQ_DB=path/to/file.db for short"
    )
