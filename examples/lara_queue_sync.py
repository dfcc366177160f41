"""Queue: push jobs that Laravel can run, and run those that Laravel pushes, in a plain program.

python examples/lara_queue_sync.py     (needs a Redis; REDIS_URL says where, if not at localhost)
"""

import os
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import redis

from lara_queue import Queue

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")

client = redis.Redis.from_url(REDIS_URL)
queue = Queue(client, queue=["liteq-example-urgent", "liteq-example"], max_retries=0)


@queue.handler("App\\Jobs\\SendInvoice")
def send_invoice(job: dict[str, Any]) -> None:
    data = job["data"]  # the PHP object's properties, as plain Python
    print(f"invoice {data['number']} over {data['total']}, due {data['due']:%Y-%m-%d}")


@queue.handler("App\\Jobs\\Break")
def break_down(job: dict[str, Any]) -> None:
    raise ValueError(f"no user {job['data']['user']}")


@queue.handler
def everything_else(job: dict[str, Any]) -> None:
    print(f"{job['name']}: {job['data']}")


def main() -> None:
    queue.clear("liteq-example-urgent")
    queue.clear("liteq-example")

    # What an `App\Jobs\SendInvoice` of PHP has as properties; those left out take its defaults.
    invoice = {
        "number": "A-1",
        "total": Decimal("19.99"),
        "due": datetime(2026, 12, 24, tzinfo=timezone.utc),
    }
    queue.push("App\\Jobs\\SendInvoice", invoice, queue="liteq-example", max_tries=5, backoff=[10])
    queue.push("App\\Jobs\\Break", {"user": 7}, queue="liteq-example")
    queue.push("App\\Jobs\\Alarm", {"level": "red"})  # to the first queue, which goes first
    queue.push("App\\Jobs\\Tomorrow", queue="liteq-example", delay=timedelta(days=1))

    queue.listen(stop_when_empty=True)  # a worker of yours would listen until SIGTERM

    [letter] = queue.dead_letters()
    print(f"nobody could run: {letter.error.splitlines()[0]}")
    print(f"still to come: {queue.size('liteq-example').delayed}")
    print(f"processed: {queue.get_metrics()['jobs']['processed']}")
    queue.delete_dead_letter(letter)
    queue.clear("liteq-example")


if __name__ == "__main__":
    main()
