"""Email campaign: bulk enqueue, retries that wait, a time limit, and a report at the end.

python examples/email_campaign.py
"""

import os
import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass

from liteq import RetryPolicy, TaskFailed, Worker, context, enqueue, task

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
    return f"{template} for {recipient.name}, attempt {context.attempt}"


def main() -> None:
    people = [Recipient(f"user{n}@example.com", f"User {n}") for n in range(60)]
    people.append(Recipient("nonsense", "Nobody"))

    # One transaction for all of them: either everybody is queued, or nobody.
    jobs = enqueue(send.job(person, "newsletter") for person in people)
    print(f"queued {len(jobs)} emails")

    Worker(queues=["campaign"], concurrency=4, burst=True).run()

    report = Counter(job.status() for job in jobs)
    print("report:", dict(report))
    print("first:", jobs[0].result())
    try:
        jobs[-1].result()
    except TaskFailed as exc:
        print("last:", exc)


if __name__ == "__main__":
    main()
