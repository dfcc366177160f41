"""Importing: what `import liteq` adds to the start of Python."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks import stage
from benchmarks.report import Figure, alternate, at_most

_HOW = (
    "Wall time of `python -I -c 'import liteq'` minus that of `python -I -c pass`, taking turns "
    "with the same interpreter and environment (its compiled files are warm); medians. Raw is the "
    "bare start itself, the ratio that of the two whole starts."
)


def figures(_folder: str, quick: bool) -> Iterator[Figure]:
    """Milliseconds that the import takes."""
    _started("import liteq")  # compiles, if need be
    ours, raws = alternate(
        11 if quick else 31, lambda: _started("import liteq"), lambda: _started("pass")
    )
    whole, bare = statistics.median(ours), statistics.median(raws)
    cost = whole - bare
    yield Figure("import liteq", cost, "ms", bare, whole / bare, (at_most(40),), _HOW)


def _started(code: str) -> float:
    """Milliseconds that this program takes from start to end."""
    environment = stage.environment("unused.db")
    began = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-c", code], check=True, env=environment)
    return (time.perf_counter() - began) * 1e3
