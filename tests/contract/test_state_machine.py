"""Every broker against a plain model of what it must hold, under random plays of all its verbs.

The model is a dict of jobs. Every decision is lifecycle's, for the model as for the broker.
"""

import tempfile
from dataclasses import dataclass, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scenes import LEASE, URLS, FakeClock, new, opened, worker

from liteq import lifecycle
from liteq.job import STATUSES, Change, Filter, Job, Outcome
from liteq.times import stamp

QUEUES = ("a", "b")
WORKERS = ("w1", "w2")
WAIT = 8.0  # between attempts; all times are multiples of 0.25 s, which floats hold exactly

queues = st.sampled_from(QUEUES)
some_queues = st.sampled_from([("a", "b"), ("b", "a"), ("a",), ("b",)])
names = st.sampled_from(WORKERS)
choices = st.integers(0, 10**6)
filters = st.one_of(
    st.builds(lambda pick: ("one", pick), choices),
    st.builds(lambda queue: ("all", Filter(queue=queue)), queues),
    st.builds(lambda status: ("all", Filter(status=status)), st.sampled_from(STATUSES)),
)
new_jobs = st.builds(
    new,
    queue=queues,
    priority=st.integers(-1, 1),
    due=st.none() | st.integers(-8, 80),  # quarters of a second from now
    max_retries=st.integers(0, 2),
    at_most_once=st.booleans(),
)
endings = st.sampled_from(
    ["done", "failed", "timeout", "retry", "cancelled", "lost", "released", "final"]
)


@dataclass(frozen=True)
class Model:
    """What a job must look like, and where it stands in line."""

    id: int
    queue: str
    priority: int
    max_retries: int
    at_most_once: bool
    since: float
    run_at: str | None
    status: str = "pending"
    attempts: int = 0
    losses: int = 0
    worker: str | None = None
    receipt: str | None = None
    cancel: bool = False
    records: int = 0
    result: str | None = None
    ended: float | None = None


class Machine(RuleBasedStateMachine):
    """The play; `broker_name` says with whom."""

    broker_name: str

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.broker = opened(self.broker_name, self.folder.name)
        self.clock = self.broker.clock = FakeClock()
        self.jobs: dict[int, Model] = {}
        self.gone: set[int] = set()
        self.runs: dict[str, Job] = {}  # every receipt that was ever given out
        self.paused: set[str] = set()
        self.leases: dict[str, float] = {}

    def teardown(self):
        self.broker.close()
        self.folder.cleanup()

    # What happens

    @initialize(jobs=st.lists(new_jobs, min_size=2, max_size=8))
    def begin(self, jobs):
        self.enqueue(jobs)

    @rule(jobs=st.lists(new_jobs, min_size=1, max_size=4))
    def enqueue(self, jobs):
        now = self.clock.wall()
        batch = [job._replace(due=job.due and now + job.due / 4) for job in jobs]

        ids = self.broker.enqueue(batch)

        assert not self.jobs.keys() & set(ids)
        assert not self.gone & set(ids)
        for id, job in zip(ids, batch, strict=True):
            self.jobs[id] = Model(
                id,
                job.queue,
                job.priority,
                job.max_retries,
                job.at_most_once,
                since=now if job.due is None else job.due,
                run_at=None if job.due is None else stamp(job.due),
            )

    @rule(name=names, limit=st.integers(1, 4))
    def claim_anything(self, name, limit):
        self.claim(name, QUEUES, limit)

    @rule(name=names, queues=some_queues, limit=st.integers(1, 4))
    def claim(self, name, queues, limit):
        line = sorted(
            (model for model in self.jobs.values() if self.is_next(model, queues)),
            key=lambda model: (-model.priority, model.since, model.id),
        )

        claimed = self.broker.claim(name, queues, limit, LEASE)

        assert [job.id for job in claimed] == [model.id for model in line[:limit]]
        for job, model in zip(claimed, line, strict=False):
            assert job.receipt not in self.runs
            assert (job.attempt, job.losses) == (model.attempts + 1, model.losses)
            assert (job.max_retries, job.at_most_once) == (model.max_retries, model.at_most_once)
            self.runs[job.receipt] = job
            self.become(
                model,
                status="running",
                attempts=job.attempt,
                worker=name,
                receipt=job.receipt,
                ended=None,
            )
        if claimed:
            until = self.clock.steady() + LEASE
            self.leases[name] = max(until, self.leases.get(name, until))

    def is_next(self, model, queues):
        return (
            model.status == "pending"
            and model.queue in queues
            and model.queue not in self.paused
            and model.since <= self.clock.wall()
        )

    @precondition(lambda self: self.runs)
    @rule(picks=st.lists(st.tuples(choices, endings), min_size=1, max_size=4))
    def finish(self, picks):
        """Runs end in every way, in one batch; those whose receipt is stale change nothing."""
        self.finish_some(list(self.runs), picks)

    @precondition(lambda self: any(model.receipt for model in self.jobs.values()))
    @rule(picks=st.lists(st.tuples(choices, endings), min_size=1, max_size=4))
    def finish_well(self, picks):
        """Runs end in every way; all the receipts hold."""
        self.finish_some([m.receipt for m in self.jobs.values() if m.receipt], picks)

    def finish_some(self, receipts, picks):
        changes = [
            self.decided(self.runs[receipts[pick % len(receipts)]], ending)
            for pick, ending in picks
        ]
        # "done" may be applied first in a batch; of one run there is at most one change here.
        changes = list({change.receipt: change for change in changes}.values())

        accepted = self.broker.finish(changes)

        assert accepted == {change.id for change in changes if self.holds(change)}
        for change in [change for change in changes if self.holds(change)]:
            self.apply(change)

    def decided(self, job, ending):
        now = self.clock.wall()
        outcome = Outcome(
            job.receipt,
            "failed" if ending == "final" else ending,
            started=now - 0.5,
            ended=now,
            result='"ok"' if ending == "done" else None,
            error=None if ending == "done" else ending,
            final=ending == "final",
        )
        return lifecycle.settled(job, outcome, WAIT, now)

    def holds(self, change):
        model = self.jobs.get(change.id)
        return model is not None and model.receipt == change.receipt

    def apply(self, change: Change):
        model = self.jobs[change.id]
        records = model.records + (change.record is not None)
        if change.status == "pending":
            due = {} if change.due is None else {"since": change.due, "run_at": stamp(change.due)}
            self.become(
                model,
                attempts=change.attempts,
                losses=change.losses,
                records=records,
                worker=None,
                receipt=None,
                cancel=False,
                status="cancelled" if model.cancel else "pending",
                ended=self.clock.wall() if model.cancel else None,
                **due,
            )
            return
        self.become(
            model,
            status=change.status,
            attempts=change.attempts,
            losses=change.losses,
            records=records,
            receipt=None,
            cancel=False,
            result=change.result,
            ended=change.ended,
        )

    @rule(name=names, forgets=choices)
    def beat(self, name, forgets):
        """A worker beats, and perhaps does not know of one run that the broker says it has."""
        held = self.held(name)
        forgotten = held[forgets % len(held)] if held and forgets % 3 == 0 else None
        known = [receipt for receipt in self.runs if self.runs_at(receipt) == name]
        known = [r for r in known if forgotten is None or r != forgotten.receipt]
        stale = [receipt for receipt in self.runs if self.runs_at(receipt) is None][-2:]

        verdict = self.broker.beat(worker(name), [*known, *stale], LEASE)

        assert set(verdict.lost) == set(stale)
        assert set(verdict.cancelled) == {m.receipt for m in held if m.cancel} & set(known)
        self.leases[name] = self.clock.steady() + LEASE
        if forgotten:
            self.apply(lifecycle.released(self.runs[forgotten.receipt]))

    def runs_at(self, receipt):
        model = self.jobs.get(self.runs[receipt].id)
        return model.worker if model and model.receipt == receipt else None

    def held(self, name):
        return [
            model
            for model in self.jobs.values()
            if model.status == "running" and model.worker == name
        ]

    @rule(quarters=st.integers(1, 200))
    def time_passes(self, quarters):
        self.clock.advance(quarters / 4)

    @rule(seconds=st.integers(0, 100_000), name=names)
    def something_odd_happens(self, seconds, name):
        """The wall clock is set forward, connections break, a worker is struck off."""
        if seconds % 3 == 0:
            self.clock.jump(seconds)
        elif seconds % 3 == 1:
            self.broker.close()
        else:
            self.broker.forget(name)
            self.leases.pop(name, None)

    @rule()
    def the_dead_are_buried_and_their_jobs_recovered(self):
        """What a worker does about others whose lease has run out."""
        now = self.clock.wall()
        expired = {info.worker_id for info in self.broker.workers() if info.expired}
        assert expired == {
            name
            for name in WORKERS
            if (name in self.leases or self.held(name))
            and self.leases.get(name, 0.0) < self.clock.steady()
        }
        for name in expired:
            changes = [
                lifecycle.lost(job, Outcome(job.receipt, "lost", now, now), WAIT, now)
                for job in self.broker.held(name)
            ]
            assert self.broker.finish(changes) == {model.id for model in self.held(name)}
            self.broker.forget(name)
            for change in changes:
                self.apply(change)
            self.leases.pop(name, None)

    @rule(which=filters)
    def cancel_some(self, which):
        self.cancel(self.filter(which))

    @precondition(lambda self: any(model.receipt for model in self.jobs.values()))
    @rule(pick=choices)
    def cancel_what_runs(self, pick):
        ids = [model.id for model in self.jobs.values() if model.receipt]
        self.cancel(Filter(ids=(ids[pick % len(ids)],)))

    def cancel(self, which):
        count = 0
        for model in self.matching(which):
            if model.status == "pending":
                self.become(model, status="cancelled", ended=self.clock.wall())
            elif model.status == "running" and not model.cancel:
                self.become(model, cancel=True)
            else:
                continue
            count += 1

        assert self.broker.cancel(which) == count

    @rule(which=filters)
    def revive_some(self, which):
        self.revive(self.filter(which))

    def revive(self, which):
        models = [m for m in self.matching(which) if m.status in ("failed", "cancelled")]

        assert self.broker.revive(which) == len(models)

        for model in models:
            self.become(
                model,
                status="pending",
                attempts=0,
                losses=0,
                since=self.clock.wall(),
                run_at=None,
                worker=None,
                result=None,
                ended=None,
            )

    @rule(which=filters)
    def purge_some(self, which):
        self.purge(self.filter(which))

    def purge(self, which):
        ids = {model.id for model in self.matching(which) if model.status != "running"}

        assert self.broker.purge(which) == len(ids)

        self.drop(ids)

    @rule(status=st.sampled_from(["done", "failed", "cancelled"]), age=st.integers(0, 100))
    def prune(self, status, age):
        before = self.clock.wall() - age
        ids = {
            model.id
            for model in self.jobs.values()
            if model.status == status and model.ended is not None and model.ended < before
        }

        assert self.broker.prune([status], float(age), 10_000) == len(ids)

        self.drop(ids)

    @rule(queue=queues, resume=st.integers(0, 3))
    def pause(self, queue, resume):
        """Mostly resume, or soon nothing moves."""
        if resume:
            self.broker.resume(queue)
            self.paused.discard(queue)
        else:
            self.broker.pause(queue)
            self.paused.add(queue)

    # What must hold at every moment

    @invariant()
    def every_job_is_as_the_model_says(self):
        records = {record.id: record for record in self.broker.find(Filter(), 10**6)}
        assert records.keys() == self.jobs.keys()
        for id, model in self.jobs.items():
            record = records[id]
            assert (record.status, record.attempts) == (model.status, model.attempts)
            assert (record.queue, record.priority) == (model.queue, model.priority)
            assert (record.run_at, record.result) == (model.run_at, model.result)
            assert (record.finished_at is None) == (model.ended is None)
            if model.status in ("pending", "running"):
                assert record.worker_id == model.worker

    @invariant()
    def every_bad_attempt_is_on_record(self):
        for id, model in self.jobs.items():
            assert len(self.broker.attempts(id)) == model.records

    @invariant()
    def counts_agree(self):
        expected: dict[tuple[str, str], int] = {}
        for model in self.jobs.values():
            key = model.queue, model.status
            expected[key] = expected.get(key, 0) + 1
        assert self.broker.count() == [(*key, n) for key, n in sorted(expected.items())]

    @invariant()
    def the_right_worker_holds_the_right_jobs(self):
        for name in WORKERS:
            held = {job.receipt: job.id for job in self.broker.held(name)}
            assert held == {model.receipt: model.id for model in self.held(name)}
            stop = {model.receipt for model in self.held(name) if model.cancel}
            assert set(self.broker.cancellations(name)) == stop

    @invariant()
    def paused_queues_are_known(self):
        assert self.broker.paused().keys() == self.paused

    # How

    def become(self, model, **fields):
        self.jobs[model.id] = replace(model, **fields)

    def filter(self, which):
        kind, what = which
        if kind == "all":
            return what
        ids = list(self.jobs) or [1]
        return Filter(ids=(ids[what % len(ids)],))

    def matching(self, which):
        return [
            model
            for model in self.jobs.values()
            if (which.ids is None or model.id in which.ids)
            and (which.queue is None or model.queue == which.queue)
            and (which.status is None or model.status == which.status)
        ]

    def drop(self, ids):
        for id in ids:
            del self.jobs[id]
        self.gone |= ids


@pytest.mark.parametrize("name", URLS)
def test_a_broker_does_what_the_model_does(name):
    class Play(Machine):
        broker_name = name

    run_state_machine_as_test(Play, settings=settings(stateful_step_count=100))
