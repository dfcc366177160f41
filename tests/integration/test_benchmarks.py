"""The benchmarks run and report; whether targets are met is for a quiet machine to say."""

import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_figures_are_printed_and_written_beside_their_raw_limits(tmp_path):
    path = tmp_path / "figures.json"
    scenes = ["--only", "enqueue", "--only", "naps"]
    command = [
        sys.executable,
        "-m",
        "benchmarks",
        "--quick",
        "--check",
        *scenes,
        "--json",
        str(path),
    ]

    ended = subprocess.run(
        [*command, "--dir", str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert ended.returncode in (0, 1), ended.stderr
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["about"]["quick"] is True
    assert len(report["figures"]) == 4
    for figure in report["figures"]:
        assert figure["name"] in ended.stdout
        assert figure["value"] > 0
        assert figure["raw"] > 0
    missed = any(met is False for figure in report["figures"] for met in figure["met"])
    assert ended.returncode == int(missed)
    assert os.listdir(tmp_path) == ["figures.json"]
