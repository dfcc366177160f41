import os
import signal
import subprocess
import sys
import textwrap
from itertools import pairwise

import pytest

from liteq import reloading


@pytest.fixture
def supervised(tmp_path):
    """Starts a supervisor over `command` (Python code) that watches a folder."""
    started = []

    def start(command, patience=0.2):
        script = f"""
            import logging, sys
            from liteq import reloading
            logging.basicConfig(level="INFO", stream=sys.stdout, format="%(message)s")
            reloading._PATIENCE = {patience}
            sys.exit(reloading.run([sys.executable, "-c", {textwrap.dedent(command)!r}], ["."]))
        """
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script)],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_process_that_does_not_stop_is_killed_for_a_change(supervised, tmp_path):
    stubborn = """
        import os, signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("pid", os.getpid(), flush=True)
        time.sleep(60)
    """
    process = supervised(stubborn)
    first = process.stdout.readline()

    (tmp_path / "new.py").touch()

    assert process.stdout.readline() == "new.py changed; starting the worker again\n"
    second = process.stdout.readline()
    assert second.startswith("pid ")
    assert second != first
    with pytest.raises(ProcessLookupError):
        os.kill(int(first.split()[1]), 0)
    os.kill(int(second.split()[1]), signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_ends_both(supervised, number):
    process = supervised("import time; print('up', flush=True); time.sleep(60)")
    assert process.stdout.readline() == "up\n"

    process.send_signal(number)

    assert process.wait(30) == 128 + number


def test_a_change_is_a_new_a_changed_or_a_deleted_python_file(tmp_path):
    seen = [reloading.snapshot([str(tmp_path)])]
    file = tmp_path / "sub" / "tasks.py"
    file.parent.mkdir()

    file.write_text("1")
    seen.append(reloading.snapshot([str(tmp_path)]))
    file.write_text("12")
    seen.append(reloading.snapshot([str(tmp_path)]))
    os.utime(file, (1, 1))
    seen.append(reloading.snapshot([str(tmp_path)]))
    file.unlink()
    seen.append(reloading.snapshot([str(tmp_path)]))

    assert all(before != after for before, after in pairwise(seen))
    assert seen[0] == seen[-1] == {}


@pytest.mark.parametrize(
    "path", [".git/x.py", "__pycache__/x.py", "env/lib/x.py", "node_modules/x.py", "notes.txt"]
)
def test_what_is_hidden_installed_or_no_python_is_not_watched(tmp_path, path):
    (tmp_path / "env").mkdir()
    (tmp_path / "env" / "pyvenv.cfg").touch()
    file = tmp_path / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()

    assert reloading.snapshot([str(tmp_path), str(tmp_path / "nowhere")]) == {}
