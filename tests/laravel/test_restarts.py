"""Redis is restarted under load; Python's consumers wait, and go on where they were.

A longer play of the same: `python -m benchmarks.laravel_crash`.
"""

import plays
from consumers import Crew

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
