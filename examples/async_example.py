"""AsyncQueue: twenty jobs at a time in one process, with events, retries and figures.

python examples/async_example.py     (needs a Redis; REDIS_URL says where, if not at localhost)

The jobs are pushed here, but they are what Laravel's `CheckPage::dispatch($url)` would push, and
what Laravel's own workers can run.
"""

import asyncio
import os
import time
from typing import Any

import redis.asyncio

from lara_queue import AsyncQueue, RetryPolicy

REDIS_URL = os.environ.get("REDIS_URL", "redis://localhost:6379/0")


async def main() -> None:
    client = redis.asyncio.Redis.from_url(REDIS_URL)
    queue = AsyncQueue(
        client=client,
        queue="liteq-example-async",
        max_concurrent_jobs=20,  # no more than these are ever taken off the queue
        retry=RetryPolicy("exponential", first=1.0, cap=60.0),
    )

    @queue.handler("App\\Jobs\\CheckPage")
    async def check_page(job: dict[str, Any]) -> None:
        await asyncio.sleep(0.05)  # waits, as for a web server; twenty of them wait together
        if job["data"]["url"].endswith("/7") and not stumbled:
            stumbled.append(job)
            raise TimeoutError("no answer")  # a failed attempt: it comes again in a second

    @queue.handler
    async def anything_else(job: dict[str, Any]) -> None:
        print(f"{job['name']} with {job['data']}")

    @queue.on("retrying")
    async def tell(event: dict[str, Any]) -> None:
        print(f"attempt {event['attempt']} of {event['name']}: {event['error']}")

    @queue.on("processed")
    def count(event: dict[str, Any]) -> None:
        ended.append(event)
        if len(ended) == 201:
            queue.stop()  # a worker of yours would listen until SIGTERM

    stumbled: list[Any] = []
    ended: list[Any] = []
    await queue.clear()
    await queue.bulk(
        ("App\\Jobs\\CheckPage", {"url": f"https://example.com/{n}"}) for n in range(200)
    )
    await queue.push("App\\Jobs\\SendReport", {"report": 7})

    began = time.monotonic()
    await queue.listen()

    seconds = time.monotonic() - began
    metrics = await queue.get_metrics()
    print(f"{metrics['jobs']['processed']} jobs, {metrics['jobs']['retried']} of them twice")
    print(f"{seconds:.1f} s, where one after the other would take {201 * 0.05:.0f} s")
    print(f"Throughput: {metrics['performance']['throughput_per_second']:.0f} jobs/sec")
    await client.aclose()


if __name__ == "__main__":
    asyncio.run(main())
