"""PHP's workers and Python's are killed at random, and nothing is lost.

A longer play of the same: `python -m benchmarks.laravel_crash`.
"""

import plays
import pytest
from consumers import Crew

KILLS = 12


@pytest.mark.parametrize("driver", ["redis", "database"])
def test_nothing_is_lost_when_either_side_is_killed(laravel, redis_server, driver):
    crew = Crew(laravel, redis_server)
    try:
        found = plays.kill(crew, kills=KILLS, seed=3, pause=0.3, driver=driver)
    finally:
        crew.close()

    assert sum(found.kills.values()) == KILLS
    assert found.sides.keys() == {"php", "py"}
