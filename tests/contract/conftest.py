"""Fixtures of the contract: every test runs against every broker, through both of its faces."""

import pytest
from scenes import URLS, AwaitingFace, FakeClock, opened


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=URLS)
def store(request, tmp_path):
    """A broker as it is, with the real clock."""
    broker = opened(request.param, tmp_path)
    yield broker
    broker.close()


@pytest.fixture(params=["blocking", "awaiting"])
def broker(request, store, clock):
    """A broker behind one of its faces, with a clock that goes when it is told to."""
    store.clock = clock
    if request.param == "blocking":
        yield store
        return
    face = AwaitingFace(store)
    yield face
    face.leave()


@pytest.fixture
def shared(store):
    """A broker that other processes see."""
    if "share" not in store.supports:
        pytest.skip("only this process sees it")
    return store
