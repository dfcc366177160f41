"""Many producers and many workers on one file: no lock error, nothing lost, nothing twice."""

from collections import Counter

from crew import done, wait_for

from liteq import brokers

PRODUCERS, WORKERS = 16, 4
SECONDS = 6.0

PRODUCER = """
import json, sys, time
import chores
from liteq import enqueue

path, number, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
until, count = time.monotonic() + seconds, 0
while time.monotonic() < until:
    chores.note.delay(path, f"{number}-{count}")
    jobs = enqueue(chores.note_async.job(path, f"{number}-{count}-{n}") for n in range(3))
    count += 1
    time.sleep(0.02)
print(json.dumps(count))
"""


def test_sixteen_producers_and_four_workers_share_a_file(crew, notes):
    hands = [crew.hire("--concurrency", "1", wait=False) for _ in range(WORKERS)]

    producers = [crew.script(PRODUCER, notes.path, n, SECONDS) for n in range(PRODUCERS)]
    counts = [done(producer) for producer in producers]
    total = 4 * sum(counts)
    wait_for(lambda: _counts() == {"done": total}, f"{total} done jobs, not {_counts()}", 30)

    assert min(counts) > 5
    wrote = Counter(notes.lines())
    assert len(wrote) == total
    assert set(wrote.values()) == {1}
    assert [hand.stop() for hand in hands] == [0] * WORKERS
    for hand in hands:
        assert "locked" not in hand.log()
        assert "ERROR" not in hand.log()
        assert "WARNING" not in hand.log()


def _counts():
    counts = Counter()
    for _, status, number in brokers.current().count():
        counts[status] += number
    return dict(counts)
