"""Machine: which machine and process this is, so that others can tell whether it still lives.

A pid means something only on one boot of one machine, inside one process namespace, and may be
used again after its process is gone; hence the boot id, the namespace and the start time.
"""

import os
import time


def boot_id() -> str:
    """Names this boot of this machine; containers on it share it, and its steady clock."""
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            return file.read().strip()
    except OSError:  # not Linux: the moment of the boot, in steps that outlast a clock's drift
        return f"{os.uname().nodename}-{round((time.time() - time.monotonic()) / 60)}"


def identity() -> str:
    """Names the space in which a pid of ours is unique: the boot and the process namespace."""
    try:
        return f"{boot_id()}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return boot_id()


def born(pid: int) -> str | None:
    """The start time of a process as its system counts it; None when there is none, or a zombie.

    Source: proc(5), /proc/pid/stat, fields 3 (state) and 22 (starttime).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
    except FileNotFoundError:
        return None if os.path.exists("/proc/self/stat") else _born_without_proc(pid)
    except ProcessLookupError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def alive(pid: int, born_then: str) -> bool:
    """Whether the process with this pid is still the one that was born then."""
    return born(pid) == born_then


def _born_without_proc(pid: int) -> str | None:
    """Elsewhere the pid alone must do; the lease covers a pid that is used again."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "?"
