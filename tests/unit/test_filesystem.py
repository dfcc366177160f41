"""Filesystem: the kind of file system under a path, read from Linux' own table of mounts."""

import os

import pytest

from liteq.brokers.sqlite import filesystem
from liteq.errors import UnsupportedFileSystem

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /proc rw - proc proc rw
40 22 0:40 / /mnt/share rw,relatime shared:2 master:3 - nfs4 server:/export rw,vers=4.2
41 40 8:2 / /mnt/share/local rw - xfs /dev/sdb1 rw
42 22 0:42 / /mnt/my\040disk rw - cifs //server/share rw
43 22 0:43 / /mnt/диск\040два rw - 9p host rw
44 22 0:44 / /data rw - ext4 /dev/sdc1 rw
45 22 0:45 / /data rw - nfs server:/data rw
46 22 0:46 / /ssh rw - fuse.sshfs user@host:/ rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/liteq.db", "ext4"),
        ("/home/me/liteq.db", "ext4"),
        ("/mnt/share/liteq.db", "nfs4"),
        ("/mnt/share", "nfs4"),
        ("/mnt/shared/liteq.db", "ext4"),
        ("/mnt/share/local/liteq.db", "xfs"),
        ("/mnt/my disk/liteq.db", "cifs"),
        ("/mnt/диск два/liteq.db", "9p"),
        ("/data/liteq.db", "nfs"),
        ("/ssh/liteq.db", "fuse.sshfs"),
    ],
)
def test_the_nearest_mount_above_the_path_counts(path, kind):
    assert filesystem.kind_of(path, MOUNTS) == kind


def test_a_link_is_followed(tmp_path):
    (tmp_path / "link").symlink_to("/mnt/share")

    assert filesystem.kind_of(str(tmp_path / "link" / "liteq.db"), MOUNTS) == "nfs4"


def test_this_machines_own_table_is_understood(tmp_path):
    if not os.path.exists("/proc/self/mountinfo"):
        pytest.skip("not Linux")

    assert filesystem.kind_of("/proc/self") == "proc"
    assert filesystem.kind_of(str(tmp_path)) not in (None, *filesystem.NETWORK)


def test_where_nothing_is_known_nothing_is_refused():
    assert filesystem.kind_of("/liteq.db", "") is None


def test_a_network_file_system_is_refused_by_name(monkeypatch):
    kind_of = filesystem.kind_of
    monkeypatch.setattr(filesystem, "kind_of", lambda path: kind_of(path, MOUNTS))

    with pytest.raises(UnsupportedFileSystem, match=r"/mnt/share/liteq\.db .*\(nfs4\).*LITEQ_DB="):
        filesystem.check("/mnt/share/liteq.db")
    filesystem.check("/mnt/share/local/liteq.db")
