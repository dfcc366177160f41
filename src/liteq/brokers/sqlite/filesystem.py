"""Filesystem: refuses to put a SQLite file where its locks and shared memory do not work."""

import os
import re

from liteq.errors import UnsupportedFileSystem

# WAL needs shared memory between all processes that use the file, and POSIX locks that hold:
# https://www.sqlite.org/wal.html#noshm and https://www.sqlite.org/howtocorrupt.html, §2.1
NETWORK = frozenset(
    "nfs nfs4 cifs smb smb2 smb3 smbfs ncpfs afs ceph glusterfs fuse.glusterfs lustre gpfs "
    "ocfs2 beegfs fuse.sshfs fuse.s3fs fuse.rclone fuse.gcsfuse fuse.davfs davfs 9p".split()
)

_ESCAPE = re.compile(r"\\([0-7]{3})")  # \040 is a space


def check(path: str) -> None:
    """Raise UnsupportedFileSystem if the file is, or would be, on a network file system."""
    kind = kind_of(path)
    if kind in NETWORK:
        raise UnsupportedFileSystem(
            f"{path} lies on a network file system ({kind}), where SQLite's locks cannot be "
            "trusted and jobs could be lost; put the file on a local disk (LITEQ_DB=/local/path)"
        )


def kind_of(path: str, mounts: str | None = None) -> str | None:
    """The type of the file system that holds `path`, as Linux names it; None where unknown.

    `mounts` is the text of /proc/self/mountinfo (proc(5) has its format), read if not given.
    """
    if mounts is None:
        try:
            with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
                mounts = file.read()
        except OSError:  # not Linux
            return None
    path = os.path.realpath(path)
    best, kind = "", None
    for line in mounts.splitlines():
        fields, _, rest = line.partition(" - ")
        point = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), fields.split(" ")[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, rest.split(" ")[0]
    return kind
