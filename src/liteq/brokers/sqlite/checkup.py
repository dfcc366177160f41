"""Checkup: is the file fit for use? Looks only, and never creates the file it looks at."""

import os
import sqlite3
from collections.abc import Iterator
from urllib.parse import quote

from liteq import config
from liteq.brokers.sqlite import filesystem, schema
from liteq.findings import Finding, fault, ok, warn

_OLDEST = (3, 35, 0)  # the first SQLite with RETURNING
_CHECKED_BYTES = 200 * 1024 * 1024  # a quick check reads all of the file: up to here a second or so
_TIGHT_BYTES = 200 * 1024 * 1024  # less free space than this is worth a warning …
_FULL_BYTES = 8 * 1024 * 1024  # … and this is less than a checkpoint may need
_MOST_FOLDERS = 300  # looked into for other databases


def check(path: str) -> Iterator[Finding]:
    """What there is to say about the file, most basic first; ends at what makes the rest moot."""
    yield _library()
    if not os.path.exists(path):
        yield _missing(path)
        return
    yield _file_system(path)
    access = _access(path)
    yield access
    yield _space(path)
    if access.level == "fault":
        return
    yield from _content(path)


def others(path: str) -> list[str]:
    """Other files that may be meant: of this name, or of the default one, in folders near by.

    The usual reasons for two: a relative LITEQ_DB and processes started in different folders, or
    a LITEQ_DB that only some of the processes have.
    """
    own, names = os.path.realpath(path), {os.path.basename(path), config.DEFAULT_DB}
    folders = [*_above(os.path.dirname(path)), *_above(os.getcwd()), *_below(os.getcwd())]
    found = {os.path.realpath(os.path.join(folder, name)) for folder in folders for name in names}
    return sorted(other for other in found if other != own and os.path.isfile(other))


def _library() -> Finding:
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _OLDEST:
        return fault(
            "SQLite",
            f"version {version} is too old for LiteQ",
            "use a Python built with SQLite 3.35 (2021) or newer",
        )
    return ok("SQLite", f"version {version}")


def _missing(path: str) -> Finding:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        return fault("Database", f"there is no folder {folder}", "create it, or set LITEQ_DB")
    return fault(
        "Database",
        f"there is no file {path}: nothing was ever queued here",
        "queue something, or point LITEQ_DB (or --db) to where your program queues",
    )


def _file_system(path: str) -> Finding:
    kind = filesystem.kind_of(path)
    if kind in filesystem.NETWORK:
        return fault(
            "File system",
            f"{path} lies on a network file system ({kind}), where SQLite's locks do not hold",
            "move the file to a local disk and set LITEQ_DB",
        )
    return ok("File system", f"{kind or 'unknown'}, local")


def _access(path: str) -> Finding:
    """WAL needs the folder as well: the -wal and -shm files are made beside the database."""
    folder = os.path.dirname(path)
    if not os.path.isfile(path):
        return fault("Permissions", f"{path} is no file", "LITEQ_DB must name a file")
    lacking = [
        what
        for what, where, mode in (
            ("read the file", path, os.R_OK),
            ("write the file", path, os.W_OK),
            ("write its folder", folder, os.W_OK | os.X_OK),
            *((f"write {path}{end}", path + end, os.W_OK) for end in ("-wal", "-shm")),
        )
        if os.path.exists(where) and not os.access(where, mode)
    ]
    if lacking:
        return fault(
            "Permissions",
            f"this user may not {', nor '.join(lacking)} ({path})",
            "run as the user that owns it, or change its owner or mode",
        )
    return ok("Permissions", "the file and its folder can be read and written")


def _space(path: str) -> Finding:
    status = os.statvfs(os.path.dirname(path))
    free = status.f_bavail * status.f_frsize
    said = f"{free / 1024**2:,.0f} MB free, the database takes {_size(path) / 1024**2:,.1f} MB"
    if free < _FULL_BYTES:
        return fault(
            "Disk space", said, "free some space, or purge jobs: liteq purge --status done"
        )
    if free < _TIGHT_BYTES:
        return warn("Disk space", said, "free some space soon")
    return ok("Disk space", said)


def _size(path: str) -> int:
    return sum(os.stat(path + end).st_size for end in ("", "-wal") if os.path.exists(path + end))


def _content(path: str) -> Iterator[Finding]:
    """Opened read-only, so that nothing is created or migrated by looking."""
    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=2)
        try:
            yield _version(connection)
            yield _integrity(connection, path)
        finally:
            connection.close()
    except sqlite3.Error as error:
        yield fault(
            "Content",
            f"{path} cannot be read as a SQLite database: {error}",
            "restore it from a backup, or move it away to start with an empty one",
        )


def _version(connection: sqlite3.Connection) -> Finding:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > schema.VERSION:
        return fault(
            "Schema",
            f"version {version} was written by a newer LiteQ; this one knows {schema.VERSION}",
            "upgrade liteq here",
        )
    if version < schema.VERSION:
        return ok("Schema", f"version {version}; brought up to {schema.VERSION} at the next use")
    return ok("Schema", f"version {version}")


def _integrity(connection: sqlite3.Connection, path: str) -> Finding:
    size = _size(path)
    if size > _CHECKED_BYTES:
        return ok(
            "Content",
            f"not checked: {size / 1024**2:,.0f} MB would take long "
            f"(sqlite3 {path} 'PRAGMA quick_check' does it)",
        )
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        return fault("Content", f"the file is damaged: {answer}", "restore it from a backup")
    return ok("Content", "sound")


def _above(folder: str) -> Iterator[str]:
    while True:
        yield folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return
        folder = parent


def _below(folder: str) -> list[str]:
    """The folders up to two levels down; hidden ones seldom hold a queue."""
    found: list[str] = []
    level = [folder]
    for _ in range(2):
        level = [child for parent in level for child in _children(parent)]
        found += level
        if len(found) > _MOST_FOLDERS:
            break
    return found[:_MOST_FOLDERS]


def _children(folder: str) -> list[str]:
    try:
        return [
            entry.path
            for entry in os.scandir(folder)
            if entry.is_dir(follow_symlinks=False) and not entry.name.startswith(".")
        ]
    except OSError:
        return []
