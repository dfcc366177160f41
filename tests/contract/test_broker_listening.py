"""What every broker promises to a worker that sleeps. Real clock: bells know no other."""

import select
import threading
import time

import pytest
from scenes import buried, claim, elsewhere, new, put

from liteq.job import Filter


@pytest.fixture
def listener(store):
    listener = store.listen(["default", "mail"])
    yield listener
    listener.close()


def rung(listener, within=0.0):
    ready, _, _ = select.select([listener], [], [], within)
    return bool(ready)


def test_nothing_rings_while_nothing_happens(store, listener):
    listener.arm()

    assert not rung(listener)


def test_a_job_from_another_thread_rings(store, listener):
    listener.arm()

    thread = threading.Thread(target=put, args=(store,))
    thread.start()

    assert rung(listener, within=30)
    thread.join()
    assert len(claim(store)) == 1


def test_a_job_from_another_process_rings(shared, listener):
    listener.arm()

    elsewhere(shared, "broker.enqueue([NewJob('theirs', '{}', 'mail')])")

    assert rung(listener, within=30)


def test_a_batch_rings(store, listener):
    listener.arm()

    put(store, *[new(queue="mail")] * 3)

    assert rung(listener)


def test_an_ear_that_is_not_armed_is_not_rung(store, listener):
    put(store)

    assert not rung(listener)


def test_disarm_forgets_the_ring(store, listener):
    listener.arm()
    put(store)

    listener.disarm()

    assert not rung(listener)
    put(store)
    assert not rung(listener)


def test_an_ear_can_be_armed_again_and_again(store, listener):
    for _ in range(3):
        listener.arm()
        put(store)
        assert rung(listener)
        listener.disarm()


def test_work_on_other_queues_lets_a_sleeper_sleep(store, listener):
    listener.arm()

    put(store, new(queue="reports"))

    assert not rung(listener)


def test_a_job_that_is_due_soon_rings_and_one_for_tomorrow_can_wait(store, listener):
    listener.arm()

    put(store, new(due=time.time() + 0.2))

    assert rung(listener)


def test_jobs_of_many_wake_all_who_sleep(store, listener):
    other = store.listen(["default"])
    listener.arm()
    other.arm()

    put(store, new(), new())

    assert rung(listener)
    assert rung(other)
    other.close()


def test_two_jobs_wake_two_sleepers(store, listener):
    other = store.listen(["default"])
    listener.arm()
    other.arm()

    put(store)
    put(store)

    assert rung(listener)
    assert rung(other)
    other.close()


def test_a_revived_job_rings(store, listener):
    put(store)
    store.finish([buried(job) for job in claim(store)])
    listener.arm()

    store.revive(Filter())

    assert rung(listener)


def test_a_resumed_queue_rings(store, listener):
    store.pause("mail")
    put(store, new(queue="mail"))
    listener.arm()

    store.resume("mail")

    assert rung(listener)


def test_who_left_is_not_rung(store):
    gone = store.listen(["default"])
    gone.arm()
    gone.close()

    put(store)

    assert len(claim(store)) == 1


def test_many_come_and_go(store):
    for _ in range(100):
        visitor = store.listen(["default"])
        visitor.arm()
        visitor.close()
    last = store.listen(["default"])
    last.arm()

    put(store)

    assert rung(last)
    last.close()


def test_more_can_listen_than_there_are_places(store):
    crowd = [store.listen(["default"]) for _ in range(100)]
    for one in crowd:
        one.arm()

    put(store, new(), new())

    assert any(rung(one) for one in crowd)
    for one in crowd:
        one.close()


def test_what_others_changed_stirs_once(shared, listener):
    put(shared)
    listener.stirred()
    assert not listener.stirred()

    elsewhere(shared, "broker.enqueue([NewJob('theirs', '{}')])")

    assert listener.stirred()
    assert not listener.stirred()


def test_jobs_stir_a_listener_of_the_same_process_or_ring_it(store, listener):
    listener.stirred()
    listener.arm()

    put(store)

    assert rung(listener) or listener.stirred()
