"""The short crash test: workers, pool processes and the producer killed at random, nothing lost.

The long one is `make crash`. What is promised, and how it is judged: benchmarks/verdict.py.
"""

import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KILLS, JOBS = 25, 2000


def test_nothing_is_lost_when_everybody_is_killed_at_random(tmp_path):
    findings = tmp_path / "findings.json"
    options = ["--kills", str(KILLS), "--jobs", str(JOBS), "--pause", "0.25", "--seed", "2"]
    command = [sys.executable, "-m", "benchmarks.crash", *options, "--json", str(findings)]

    ended = subprocess.run(
        [*command, "--dir", str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    found = json.loads(findings.read_text(encoding="utf-8"))
    assert found["faults"] == []
    assert found["jobs"] >= JOBS
    assert found["jobs"] == sum(found["statuses"].values())
    assert found["statuses"].keys() <= {"done", "failed"}
    assert found["cut_off"] + found["unrecorded"] > 0  # the kills did hit jobs in flight
    assert found["recoveries"]
