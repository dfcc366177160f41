"""Basic: two tasks, one plain and one async; queue them, run them, read their results.

python examples/basic.py
"""

import asyncio
import os
import tempfile
import time

from liteq import Worker, get_task_status, task

# A database of its own, so that the example leaves nothing behind in this folder.
os.environ.setdefault("LITEQ_DB", os.path.join(tempfile.mkdtemp(), "basic.db"))


@task()
def send_email(to: str, subject: str) -> str:
    time.sleep(0.2)
    return f"sent {subject!r} to {to}"


@task(max_retries=5, timeout=30)
async def fetch(url: str) -> dict[str, int]:
    await asyncio.sleep(0.2)
    return {"bytes": len(url) * 1000}


def main() -> None:
    email = send_email.delay("user@example.com", subject="Hello")
    page = fetch.delay("https://example.com")
    print(f"queued: jobs {email} and {page}, now {email.status()} and {page.status()}")

    # In real life: `liteq worker --app basic.py` in another terminal. burst: stop when all is done.
    Worker(concurrency=2, burst=True).run()

    print(f"job {email}: {email.result()}")
    print(f"job {page}: {page.result()}")
    status = get_task_status(page)
    assert status is not None
    print(f"job {page} is {status['status']} after {status['attempts']} attempt")


if __name__ == "__main__":
    main()
