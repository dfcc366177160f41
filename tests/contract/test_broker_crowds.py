"""What every broker promises under many hands at once. Real clock, real threads and processes."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenes import LEASE, claim, done, elsewhere, new, put, worker

from liteq import lifecycle
from liteq.job import Filter


@pytest.fixture
def crowd():
    with ThreadPoolExecutor(8) as pool:
        yield lambda work, *arguments: list(pool.map(work, *arguments))


def test_many_threads_enqueue_at_once(store, crowd):
    batches = crowd(lambda n: put(store, *[new()] * (n % 5 + 1)), range(100))

    ids = [id for batch in batches for id in batch]
    assert len(ids) == len(set(ids)) == 300
    assert store.count() == [("default", "pending", 300)]
    assert all(batch == list(range(batch[0], batch[0] + len(batch))) for batch in batches)


def test_many_threads_claim_and_no_job_goes_to_two(store, crowd):
    ids = put(store, *[new()] * 500)

    def drain(name):
        mine = []
        while jobs := claim(store, 7, worker=name):
            mine += [job.id for job in jobs]
        return mine

    shares = crowd(drain, [f"w{n}" for n in range(8)])

    assert sorted(id for share in shares for id in share) == ids


def test_producers_and_workers_at_once_lose_nothing_and_double_nothing(store, crowd):
    stored, runs, guard = [], [], threading.Lock()
    produced = threading.Barrier(5)

    def produce(_):
        for _ in range(40):
            ids = put(store, new(), new())
            with guard:
                stored.extend(ids)
        produced.wait(timeout=60)

    def work(name):
        drained_after_all_came = False
        while not drained_after_all_came:
            all_came = len(stored) == 320
            jobs = claim(store, 5, worker=name)
            accepted = store.finish([done(job) for job in jobs])
            store.beat(worker(name), [], LEASE)
            with guard:
                runs.extend(accepted)
            drained_after_all_came = all_came and not jobs
        if name == "w0":
            produced.wait(timeout=60)

    crowd(
        lambda play: play[0](play[1]),
        [(produce, n) for n in range(4)] + [(work, f"w{n}") for n in range(4)],
    )

    assert sorted(runs) == sorted(stored)
    assert store.count() == [("default", "done", 320)]


def test_of_many_that_finish_one_run_exactly_one_does(store, crowd):
    put(store)
    [job] = claim(store)

    accepted = crowd(lambda _: store.finish([done(job)]), range(20))

    assert [ids for ids in accepted if ids] == [{job.id}]


def test_people_act_while_others_work(store, crowd):
    ids = put(store, *[new()] * 200)

    def play(n):
        if n % 4 == 0:
            store.cancel(Filter(ids=(ids[n],)))
        else:
            store.finish([lifecycle.released(job) for job in claim(store, 3, worker=f"w{n}")])
        return store.find(Filter(status="pending"), 10)

    crowd(play, range(100))

    counts = {status: n for _, status, n in store.count()}
    assert sum(counts.values()) == 200
    assert counts["cancelled"] == 25
    assert "running" not in counts


def test_two_processes_share_the_jobs(shared, crowd):
    put(shared, *[new()] * 300)
    theirs = """
from liteq import lifecycle
from liteq.job import Outcome
while jobs := broker.claim("theirs", ["default"], 5, 30.0):
    changes = [lifecycle.succeeded(job, Outcome(job.receipt, "done", 1.0, 2.0)) for job in jobs]
    assert broker.finish(changes) == {job.id for job in jobs}
"""

    def ours(_):
        mine = 0
        while jobs := claim(shared, 5, worker="ours"):
            assert shared.finish([done(job) for job in jobs]) == {job.id for job in jobs}
            mine += len(jobs)
        return mine

    crowd(lambda work: work(None), [lambda _: elsewhere(shared, theirs), ours])

    assert shared.count() == [("default", "done", 300)]
