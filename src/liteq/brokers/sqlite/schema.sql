-- The tables. Everything here can run again on a file that has it already.
-- `place` is a pending job's place in its line: NULL not looked at yet (rows written with plain
-- SQL), 0 waits for its run_at, else the moment it was due, in microseconds since the epoch.

CREATE TABLE IF NOT EXISTS tasks (
    id           INTEGER PRIMARY KEY,  -- never used twice, see PURGE in statements.py
    name         TEXT    NOT NULL,
    payload      TEXT    NOT NULL DEFAULT '{"args": [], "kwargs": {}}',
    queue        TEXT    NOT NULL DEFAULT 'default',
    status       TEXT    NOT NULL DEFAULT 'pending',
    priority     INTEGER NOT NULL DEFAULT 0,
    attempts     INTEGER NOT NULL DEFAULT 0,
    max_retries  INTEGER NOT NULL DEFAULT 3,
    worker_id    TEXT,
    run_at       TEXT,  -- NULL: at once
    created_at   TEXT    DEFAULT (strftime('%Y-%m-%dT%H:%M:%f000Z', 'now')),
    started_at   TEXT,
    finished_at  TEXT,
    result       TEXT,
    error        TEXT,
    timeout      REAL,
    place        INTEGER,
    receipt      TEXT,
    losses       INTEGER NOT NULL DEFAULT 0,
    cancel       INTEGER NOT NULL DEFAULT 0,
    at_most_once INTEGER NOT NULL DEFAULT 0,
    keep         INTEGER NOT NULL DEFAULT 0  -- 1: never pruned, as what LiteQ 0.2 had finished
);

CREATE TABLE IF NOT EXISTS attempts (
    id          INTEGER PRIMARY KEY,
    task_id     INTEGER NOT NULL,
    attempt     INTEGER NOT NULL,
    ending      TEXT    NOT NULL,
    worker_id   TEXT,
    started_at  TEXT    NOT NULL,
    finished_at TEXT    NOT NULL,
    error       TEXT,
    traceback   TEXT
);

CREATE TABLE IF NOT EXISTS workers (
    worker_id      TEXT PRIMARY KEY,
    hostname       TEXT,
    queues         TEXT,
    concurrency    INTEGER,
    last_heartbeat TEXT,
    pid            INTEGER,
    machine        TEXT,
    born           TEXT,
    started_at     TEXT,
    active         INTEGER NOT NULL DEFAULT 0,
    boot           TEXT,  -- lease_until is in seconds of the steady clock of this boot
    lease_until    REAL
);

CREATE TABLE IF NOT EXISTS queues (
    name      TEXT PRIMARY KEY,
    paused_at TEXT
);

-- Only jobs that may start now, so that a claim never walks past a future or a finished one.
CREATE INDEX IF NOT EXISTS tasks_ready ON tasks (queue, priority DESC, place)
    WHERE status = 'pending' AND place > 0;
CREATE INDEX IF NOT EXISTS tasks_waiting ON tasks (run_at, queue)
    WHERE status = 'pending' AND place = 0;
CREATE INDEX IF NOT EXISTS tasks_unseen ON tasks (queue)
    WHERE status = 'pending' AND place IS NULL;
CREATE INDEX IF NOT EXISTS tasks_state ON tasks (status, queue)
    WHERE status <> 'pending';
CREATE INDEX IF NOT EXISTS attempts_task ON attempts (task_id);
