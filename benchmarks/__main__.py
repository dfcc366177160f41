"""Run the benchmarks and print one table. `python -m benchmarks --help` tells the options."""

import argparse
import json
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import (
    backlog,
    enqueueing,
    idling,
    importing,
    laravel,
    mixing,
    noops,
    peers,
    report,
    stage,
)
from benchmarks.report import Figure

Scene = Callable[[str, bool], Iterator[Figure]]  # (folder, quick)
SCENES: dict[str, Scene] = {
    "enqueue": enqueueing.one_by_one,
    "bulk": enqueueing.in_bulk,
    "noop": noops.figures,
    "latency": idling.latency,
    "idle": idling.costs,
    "import": importing.figures,
    "backlog": backlog.figures,
    "mixed": mixing.short_and_long,
    "naps": mixing.naps,
    "laravel": laravel.figures,
    "peers": peers.figures,
}
_EXTRA = {"peers"}  # run only when asked for


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and write the JSON; with --check, 1 if a target was missed."""
    args = _parser().parse_args(argv)
    names = args.only or [name for name in SCENES if name not in _EXTRA or args.peers]
    figures: list[Figure] = []
    began = time.monotonic()
    with stage.folder(args.dir) as folder:
        about = _about(folder, quick=args.quick)
        print(", ".join(f"{key} {value}" for key, value in about.items()), flush=True)
        for name in names:
            figures += _played(name, os.path.join(folder, name), quick=args.quick)
    print(f"\n{report.table(figures)}\n\n{time.monotonic() - began:.0f} s in all")
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "figures": report.as_data(figures)}, file, indent=2)
    missed = any("NO" in figure.verdict() for figure in figures)
    return 1 if args.check and missed else 0


def _played(name: str, folder: str, *, quick: bool) -> list[Figure]:
    os.mkdir(folder)
    began = time.monotonic()
    print(f"{name} ...", end="", flush=True, file=sys.stderr)
    figures = list(SCENES[name](folder, quick))
    stage.clear(folder)
    print(f" {time.monotonic() - began:.0f} s", flush=True, file=sys.stderr)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument(
        "--peers", action="store_true", help="install huey beside and let it do the same work"
    )
    parser.add_argument(
        "--only", action="append", choices=SCENES, metavar="NAME", help=", ".join(SCENES)
    )
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--dir", help="where to make the temporary folder (default: /var/tmp)")
    return parser


def _about(folder: str, *, quick: bool) -> dict[str, Any]:
    return {
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
        "processors": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "load": round(os.getloadavg()[0], 2),
        "folder": os.path.dirname(folder),
        "quick": quick,
    }


if __name__ == "__main__":
    sys.exit(main())
