"""Handlers: how much of what was routed is kept until it runs."""

import json

from lara_queue.handlers import Handlers
from liteq import registry
from liteq.backoff import DEFAULT
from liteq.laravel import payload


def routed(handlers, number, padding=0):
    body = json.dumps({"job": "X@run", "data": {"n": number, "x": "x" * padding}, "attempts": 0})
    return handlers.route(payload.read(body), body)


def test_payloads_that_run_elsewhere_are_not_kept_for_ever():
    handlers = Handlers("q", 3, DEFAULT, None)
    handlers.add(print, None, None)
    handlers.open()
    try:
        for number in range(3000):
            routed(handlers, number)
        routed(handlers, 3000, padding=1_000_000)

        kept = handlers._routed
        assert 0 < len(kept) <= 256
        assert max(map(len, kept)) < 1000
    finally:
        handlers.close()
    assert handlers._routed == {}


def test_payload_is_read_again_where_it_was_not_kept():
    handlers = Handlers("q", 3, DEFAULT, None)
    handlers.add(print, None, None)
    handlers.open()
    try:
        route = routed(handlers, 1)
        codec = registry.find(route.name).codec

        first, again = codec.call(route.payload), codec.call(route.payload)

        assert first == again == ([{"name": "X@run", "data": {"n": 1, "x": ""}}], {})
    finally:
        handlers.close()
