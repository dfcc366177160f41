"""Email campaign: bulk enqueue, retries that wait, a time limit, and a report at the end.

python examples/email_campaign.py
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass

from liteq import JobId, RetryPolicy, TaskFailed, context, enqueue, task

os.environ.setdefault("LITEQ_DB", os.path.join(tempfile.mkdtemp(), "campaign.db"))


@dataclass
class Recipient:
    """Goes to the worker as JSON and comes out as a Recipient again."""

    address: str
    name: str


class MailServerBusy(Exception):
    """Worth another try."""


class AddressRefused(Exception):
    """Not worth another try."""


@task(
    queue="campaign",
    max_retries=8,
    timeout=10,
    retry=RetryPolicy("exponential", first=0.05, cap=0.4, never=(AddressRefused,)),
)
def send(recipient: Recipient, template: str) -> str:
    """Send one email through a mail server that has its moods."""
    time.sleep(0.01)
    if "@" not in recipient.address:
        raise AddressRefused(recipient.address)
    if random.random() < 0.2:
        raise MailServerBusy("451 try again later")
    return f"{template} sent at attempt {context.attempt}"


def ending(job: JobId) -> str:
    """How a job ended; waits for it."""
    try:
        return str(job.result(timeout=30))
    except TaskFailed as exc:
        return f"failed: {exc}"


def main() -> None:
    people = [Recipient(f"user{n}@example.com", f"User {n}") for n in range(60)]
    people.append(Recipient("nonsense", "Nobody"))

    # One transaction for all of them: either everybody is queued, or nobody.
    jobs = enqueue(send.job(person, "newsletter") for person in people)
    print(f"queued {len(jobs)} emails")

    command = [sys.executable, "-m", "liteq", "worker", "--app", __file__, "--concurrency", "4"]
    with subprocess.Popen([*command, "--log-level", "error"]) as worker:
        endings = Counter(ending(job) for job in jobs)
        worker.terminate()

    for how, count in sorted(endings.items()):
        print(f"{count:3} {how}")


if __name__ == "__main__":
    main()
