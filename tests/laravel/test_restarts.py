"""Redis is restarted under load; Python's consumers wait, and go on where they were.

A longer play of the same: `python -m benchmarks.laravel_crash`.
"""

import plays
import pytest
from consumers import KINDS, Crew

RESTARTS = 5


def test_consumers_outlive_restarts_of_redis(own_laravel, own_redis):
    crew = Crew(own_laravel, own_redis)
    try:
        found = plays.restart(crew, restarts=RESTARTS, seed=4)
    finally:
        crew.close()

    assert found.restarts == RESTARTS
    for name, waits in found.waits.items():
        assert max(waits) < 5, (name, waits)  # 2 on a machine that has time for us


@pytest.mark.parametrize("kind", [*KINDS, "processes"])
def test_answers_that_are_lost_cost_no_job_its_only_try(laravel, redis_server, kind):
    crew = Crew(laravel, redis_server)
    lossy = plays.Lossy(redis_server.port, seed=5, share=0.05)
    try:
        consumer = crew.start(kind, port=lossy.port, concurrency=3)
        crew.push(range(150), milliseconds=1, max_tries=1)
        crew.handled(range(150))
        lossy.calm()
        crew.drained()
        code, _ = consumer.stop()
    finally:
        crew.close()
        lossy.close()

    assert lossy.lost > 5
    assert code == 0
    assert crew.runs() == dict.fromkeys(range(150), 1)
    assert laravel.ask.rows("failed_jobs") == []
    assert consumer.troubles() == []
