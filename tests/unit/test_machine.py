"""Machine: whether a process that was seen before is still the same and alive."""

import os
import signal
import subprocess
import sys

from liteq import machine


def test_the_names_of_boot_and_machine_are_the_same_in_every_process():
    script = "from liteq import machine; print(machine.boot_id(), machine.identity(), sep='|')"

    there = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )

    assert there.stdout.strip() == f"{machine.boot_id()}|{machine.identity()}"
    assert machine.identity().startswith(machine.boot_id())


def test_this_process_is_alive():
    pid = os.getpid()

    assert machine.born(pid) == machine.born(pid)
    assert machine.alive(pid, machine.born(pid))


def test_a_process_that_ended_is_not_alive_even_before_it_is_waited_for():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    born = machine.born(child.pid)
    assert machine.alive(child.pid, born)

    os.kill(child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)

    assert not machine.alive(child.pid, born)
    child.wait()
    assert machine.born(child.pid) is None
    assert not machine.alive(child.pid, born)


def test_another_process_under_the_same_pid_is_another():
    assert not machine.alive(os.getpid(), "12345")
    assert not machine.alive(os.getpid(), "")


def test_a_name_with_brackets_and_spaces_does_not_mislead(tmp_path):
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([odd, "100"])
    try:
        plain = subprocess.Popen(["/bin/sleep", "100"])
        try:
            assert machine.born(child.pid).isdigit()
            assert int(machine.born(plain.pid)) >= int(machine.born(child.pid))
        finally:
            plain.kill()
            plain.wait()
    finally:
        child.kill()
        child.wait()


def test_without_proc_the_pid_alone_must_do():
    assert machine._born_without_proc(os.getpid()) == "?"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert machine._born_without_proc(child.pid) is None
