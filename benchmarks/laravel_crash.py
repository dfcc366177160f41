"""The long plays of Laravel's queues: kills on either side, restarts of Redis, many jobs in a run.

    python -m benchmarks.laravel_crash                            # all, some minutes
    python -m benchmarks.laravel_crash --only kills --kills 500 --seed 7

The test suite plays them short (tests/laravel/plays.py). Needs PHP with Laravel, php-redis and
php-sqlite3, and redis-server. Exit status 1 if a promise was broken.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from benchmarks import stage
from benchmarks.report import percentile

sys.path[:0] = [os.path.join(stage.ROOT, "tests"), os.path.join(stage.ROOT, "tests", "laravel")]

import artisan  # noqa: E402 - they lie with the tests, which are no package
import plays  # noqa: E402
from consumers import Crew  # noqa: E402

import servers  # noqa: E402

_IDLE = 10.0  # seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Play, and print what came of it."""
    args = _parser().parse_args(argv)
    chosen = args.only or list(_PLAYS)
    broken = 0
    for name in chosen:
        began = time.monotonic()
        try:
            for line in _PLAYS[name](args):
                print(line, flush=True)
        except AssertionError as error:
            broken += 1
            print(f"BROKEN: {name}: {error}", flush=True)
        print(f"({name}: {time.monotonic() - began:.0f} s)", flush=True)
    print(f"{broken} broken promises" if broken else "every promise was kept")
    return 1 if broken else 0


@contextlib.contextmanager
def _crew(*, append: bool = False) -> Iterator[Crew]:
    """A Redis and a Laravel of our own, and room for consumers."""
    with stage.folder() as folder, servers.running(servers.Redis(append=append)) as redis:
        database = os.path.join(folder, "laravel.sqlite")
        with open(database, "wb"):
            pass
        laravel = artisan.Laravel(folder, redis.port, database)
        crew = Crew(laravel, redis)
        try:
            laravel.dispatch("migrate")
            yield crew
        finally:
            crew.close()
            laravel.close()


def _kills(driver: str, args: argparse.Namespace) -> Iterator[str]:
    with _crew() as crew:
        found = plays.kill(crew, kills=args.kills, seed=args.seed, driver=driver)
    whom = ", ".join(f"{count} of {kind}" for kind, count in sorted(found.kills.items()))
    sides = ", ".join(f"{count:,} by {side}" for side, count in sorted(found.sides.items()))
    yield f"{driver}: {sum(found.kills.values())} kills ({whom}) in {found.seconds:.0f} s"
    yield f"  {found.jobs:,} jobs, runs to their end: {sides}; none lost"
    yield (
        f"  {found.again} ran again after a kill; "
        f"{found.failed} of a single try were cut off and are in failed_jobs"
    )


def _restarts(args: argparse.Namespace) -> Iterator[str]:
    with _crew(append=True) as crew:
        found = plays.restart(crew, restarts=args.restarts, seed=args.seed)
    yield f"{found.restarts} restarts of Redis, {found.jobs:,} jobs of one try: each handled once"
    yield f"  {found.refused} results whose storing Redis could not confirm"
    for name, waits in found.waits.items():
        half, most = percentile(waits, 50), max(waits)
        yield f"  {name}: consuming again after {half:.2f} s (p50), {most:.2f} s at most"
    slowest = max(max(waits) for waits in found.waits.values())
    if slowest > 2.0:
        raise AssertionError(f"consuming again took {slowest:.2f} s")


def _many(args: argparse.Namespace) -> Iterator[str]:
    for kind in ("queue", "aqueue"):
        with _crew() as crew:
            found = plays.run_many(crew, kind, args.jobs)
        early, late = found.memory
        yield (
            f"{kind}: {found.jobs:,} jobs in one run, {found.jobs / found.seconds:,.0f} a second; "
            f"resident {early:.1f} MB after a tenth, {late:.1f} MB at the end"
        )
        if late > early + 5:
            raise AssertionError(f"{kind}: memory grew from {early:.1f} to {late:.1f} MB")


def _idle(args: argparse.Namespace) -> Iterator[str]:
    with _crew() as crew:
        for kind in ("queue", "aqueue", "liteq"):
            consumer = crew.start(kind).listening()
            crew.push([1])
            crew.drained()
            time.sleep(2)  # what a first job has left to do is done
            pids = consumer.tree()
            before = stage.processor_seconds(pids)
            time.sleep(_IDLE)
            share = (stage.processor_seconds(pids) - before) / _IDLE * 100
            consumer.stop()
            yield f"{kind}, idle: {share:.2f} % of a core"


_PLAYS: dict[str, Callable[[Any], Iterator[str]]] = {
    "kills": partial(_kills, "redis"),
    "database-kills": partial(_kills, "database"),
    "restarts": _restarts,
    "many": _many,
    "idle": _idle,
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.laravel_crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="of workers and their processes")
    parser.add_argument("--restarts", type=int, default=20, help="of Redis")
    parser.add_argument("--jobs", type=int, default=100_000, help="in one run")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", nargs="+", choices=list(_PLAYS), metavar="PLAY")
    return parser


if __name__ == "__main__":
    sys.exit(main())
