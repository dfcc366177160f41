"""The benchmarks run and report; whether targets are met is for a quiet machine to say."""

import json
import os
import subprocess
import sys

import servers

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


def test_laravel_figures_stand_beside_plain_redis(tmp_path, need):
    need(servers.Redis.there(), "redis-server")
    path = tmp_path / "figures.json"
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "laravel"]

    ended = subprocess.run(
        [*command, "--json", str(path), "--dir", str(tmp_path)],
        check=False,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=180,
    )

    assert ended.returncode == 0, ended.stderr
    figures = json.loads(path.read_text(encoding="utf-8"))["figures"]
    goals = {each["name"]: each for each in figures if each["targets"]}
    for name in ("Queue.push", "Queue.listen", "AsyncQueue.push", "AsyncQueue.listen"):
        assert goals[name]["raw"] > 0
        assert goals[name]["targets"] == [{"of": "ratio", "sense": "≥", "bound": 0.6}]
    assert goals["AsyncQueue, 20 naps at a time"]["ratio"] >= 10
    assert goals["PHP's serialize"]["value"] < 100
    assert os.listdir(tmp_path) == ["figures.json"]
