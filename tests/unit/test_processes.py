"""The process pool from its worker's side, where no worker is needed to see it."""

import os
import time
from multiprocessing.process import BaseProcess

import pytest

from liteq.config import settings
from liteq.pools import marks
from liteq.pools.base import Limits
from liteq.pools.processes import ProcessPool


class Watcher:
    def watch(self, descriptor, write=False):
        pass

    def unwatch(self, descriptor):
        pass


@pytest.fixture
def worker():
    worker = f"test-{os.getpid()}-pool"
    yield worker
    marks.remove_of(worker)


def test_a_process_that_cannot_be_started_leaves_nothing_behind(worker, monkeypatch):
    pool = ProcessPool(worker, 1, Limits(None, 1000), settings(start_method="spawn"))
    pool.start(Watcher())
    [child] = pool._children
    before = marks._files(worker, "*")

    def no_memory(_):
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(BaseProcess, "start", no_memory)
    os.kill(child.pid, 9)
    pool.collect({child.pidfd})
    pool.tend()

    assert pool._children == []
    assert len(marks._files(worker, "*")) == len(before) - 1  # the dead one's are gone
    assert pool._vacant[0] > time.monotonic()  # and it will be tried again
    pool.close()
