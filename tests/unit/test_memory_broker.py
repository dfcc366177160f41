"""What is peculiar to the memory broker; what it shares with others is in tests/contract."""

import os
import subprocess
import sys

import pytest

from liteq.brokers.memory import MemoryBroker


def test_a_listener_may_be_closed_twice():
    listener = MemoryBroker().listen(["default"])

    listener.close()
    listener.close()

    assert listener.fileno() == -1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_is_told_that_it_has_only_a_copy():
    program = """
import os
from liteq.brokers.memory import MemoryBroker
from liteq.errors import BrokerUnavailable
from liteq.job import NewJob

broker = MemoryBroker("memory://mine")
child = os.fork()
if child == 0:
    try:
        broker.enqueue([NewJob("add", "{}")])
    except BrokerUnavailable as error:
        os._exit(7 if "memory://mine" in str(error) else 1)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert said.stdout.strip() == b"7"
