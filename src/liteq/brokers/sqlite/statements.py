"""Statements: every piece of SQL that the broker says, as data; when to say it is broker's.

The conditions `status = 'pending' AND place …` and `status <> 'pending'` are those of the partial
indexes in schema.sql; SQLite uses such an index only where a query repeats its condition.
"""

JOB = (
    "id, name, payload, queue, priority, attempts, max_retries, timeout, receipt, losses, "
    "at_most_once"
)
RECORD = (
    "id, name, payload, queue, status, priority, attempts, max_retries, worker_id, run_at, "
    "created_at, started_at, finished_at, result, error, timeout"
)

COLUMNS = """name, queue, priority, max_retries, timeout, at_most_once, run_at, created_at, place,
payload"""
INSERT = f"INSERT INTO tasks ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

# Many calls that differ in nothing but their payload: a third of the time of one row each.
INSERT_ALIKE = f"""
INSERT INTO tasks ({COLUMNS})
SELECT ?, ?, ?, ?, ?, ?, ?, ?, ?, column1 FROM (VALUES {{payloads}})
"""

# Three looks at the tops of indexes, without a lock: is there anything to begin a claim for?
PEEK = """
SELECT EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND place > 0 AND queue IN ({queues})),
       EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND place = 0 AND run_at <= ?),
       EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND place IS NULL)
"""
# Rows that other programs wrote may hold anything: a text for a number, bytes that are no UTF-8.
UNSEEN = """
SELECT id, CAST(run_at AS BLOB), CAST(name AS BLOB), CAST(payload AS BLOB), CAST(queue AS BLOB)
FROM tasks WHERE status = 'pending' AND place IS NULL LIMIT 1000
"""
SEE = """
UPDATE tasks SET place = ?, run_at = ?, created_at = coalesce(created_at, ?), name = ?, payload = ?,
                 queue = ?, priority = coalesce(CAST(priority AS INTEGER), 0),
                 attempts = max(0, coalesce(CAST(attempts AS INTEGER), 0)),
                 max_retries = max(0, coalesce(CAST(max_retries AS INTEGER), 3)), losses = 0,
                 timeout = iif(typeof(timeout) IN ('integer', 'real') AND timeout > 0,
                               min(timeout, 1e9), NULL),
                 at_most_once = coalesce(CAST(at_most_once AS INTEGER), 0)
WHERE id = ?
"""
# From `2026-01-31T09:00:00.123456Z` to microseconds.
PROMOTE = """
UPDATE tasks SET place = max(1, CAST(strftime('%s', run_at) AS INTEGER) * 1000000
                                + CAST(substr(run_at, 21, 6) AS INTEGER))
WHERE id IN (
    SELECT id FROM tasks WHERE status = 'pending' AND place = 0 AND run_at <= ?
    ORDER BY run_at LIMIT 1000)
"""
PAUSED = "SELECT name, paused_at FROM queues WHERE paused_at IS NOT NULL"

# The best of each queue, by its index; then the best of those.
TOP_OF_QUEUE = """
SELECT * FROM (SELECT id, priority, place FROM tasks
               WHERE status = 'pending' AND place > 0 AND queue = ?
               ORDER BY priority DESC, place, id LIMIT ?)
"""
TOP_OF_QUEUE_WITHOUT = """
SELECT * FROM (SELECT id, priority, place
               FROM (SELECT id, priority, place, name FROM tasks
                     WHERE status = 'pending' AND place > 0 AND queue = ?
                     ORDER BY priority DESC, place, id LIMIT 1000)
               WHERE name NOT IN ({names}) ORDER BY priority DESC, place, id LIMIT ?)
"""
CLAIM = f"""
UPDATE tasks SET status = 'running', attempts = attempts + 1, worker_id = ?,
                 receipt = ? || id, started_at = ?, finished_at = NULL
WHERE id IN (SELECT id FROM ({{tops}}) ORDER BY priority DESC, place, id LIMIT ?)
RETURNING {JOB}, place
"""
LEASE = """
INSERT INTO workers (worker_id, boot, lease_until, last_heartbeat) VALUES (?, ?, ?, ?)
ON CONFLICT (worker_id) DO UPDATE SET boot = excluded.boot,
    lease_until = max(coalesce(lease_until, 0), excluded.lease_until)
"""
BEAT = """
INSERT INTO workers (worker_id, hostname, queues, concurrency, last_heartbeat, pid, machine, born,
                     started_at, active, boot, lease_until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (worker_id) DO UPDATE SET hostname = excluded.hostname, queues = excluded.queues,
    concurrency = excluded.concurrency, last_heartbeat = excluded.last_heartbeat,
    pid = excluded.pid, machine = excluded.machine, born = excluded.born,
    started_at = excluded.started_at, active = excluded.active, boot = excluded.boot,
    lease_until = excluded.lease_until
"""
RUNS_OF = """
SELECT id, receipt, cancel FROM tasks
WHERE status = 'running' AND status <> 'pending' AND worker_id = ?
"""
CANCELLED_RUNS_OF = RUNS_OF + " AND cancel = 1"
HELD = f"""
SELECT {JOB} FROM tasks WHERE status = 'running' AND status <> 'pending' AND worker_id IS ?
"""
# Somebody may have asked to cancel the run meanwhile: that wins over another round, as in AGAIN.
UNCLAIM = """
UPDATE tasks SET status = iif(cancel, 'cancelled', 'pending'), finished_at = iif(cancel, ?, NULL),
                 attempts = attempts - 1, worker_id = NULL, receipt = NULL, started_at = NULL,
                 cancel = 0
WHERE id = ? AND receipt = ?
"""

DONE = """
UPDATE tasks SET status = 'done', result = ?, error = NULL, started_at = ?, finished_at = ?,
                 receipt = NULL, cancel = 0
WHERE id = ? AND receipt IS ?
"""
# The same for many rows at once: a fifth less time than one after the other.
DONE_TOGETHER = """
UPDATE tasks SET status = 'done', result = column1, error = NULL, started_at = column2,
                 finished_at = column3, receipt = NULL, cancel = 0
FROM (VALUES {rows}) WHERE id = column4 AND receipt = column5
"""
ENDED = """
UPDATE tasks SET status = ?, attempts = ?, losses = ?, error = ?,
                 started_at = coalesce(?, started_at), finished_at = ?, receipt = NULL, cancel = 0
WHERE id = ? AND receipt IS ?
"""
AGAIN = """
UPDATE tasks SET status = iif(cancel, 'cancelled', 'pending'), place = coalesce(?, place, 1),
                 finished_at = iif(cancel, ?, NULL), attempts = ?, losses = ?,
                 error = coalesce(?, error),
                 run_at = coalesce(?, run_at), started_at = NULL, worker_id = NULL, receipt = NULL,
                 cancel = 0
WHERE id = ? AND receipt IS ?
"""
QUEUES_OF = "SELECT DISTINCT queue FROM tasks WHERE id IN ({ids})"
RECORD_ATTEMPT = """
INSERT INTO attempts (task_id, attempt, ending, worker_id, started_at, finished_at, error,
                      traceback)
SELECT id, ?, ?, worker_id, coalesce(?, started_at, ?), ?, ?, ?
FROM tasks WHERE id = ? AND receipt IS ?
"""

NEXT_DUE = "SELECT min(run_at) FROM tasks WHERE status = 'pending' AND place = 0"

GET = f"SELECT {RECORD} FROM tasks WHERE id = ? AND status <> 'purged'"
ATTEMPTS = """
SELECT attempt, ending, worker_id, started_at, finished_at, error, traceback
FROM attempts WHERE task_id = ? ORDER BY id
"""
COUNT = """
SELECT queue, status, sum(n) FROM (
    SELECT queue, 'pending' AS status, count(*) AS n FROM tasks
        WHERE status = 'pending' AND place > 0 GROUP BY queue
    UNION ALL SELECT queue, 'pending', count(*) FROM tasks
        WHERE status = 'pending' AND place = 0 GROUP BY queue
    UNION ALL SELECT queue, 'pending', count(*) FROM tasks
        WHERE status = 'pending' AND place IS NULL GROUP BY queue
    UNION ALL SELECT queue, status, count(*) FROM tasks
        WHERE status <> 'pending' AND status <> 'purged' GROUP BY status, queue)
GROUP BY queue, status ORDER BY queue, status
"""
OLDEST_READY = """
SELECT queue, min(place) FROM tasks WHERE status = 'pending' AND place > 0 GROUP BY queue
"""
# Nobody has claimed since they came due, or since another program wrote them.
OLDEST_NOT_YET_READY = """
SELECT queue, min(run_at) FROM tasks WHERE status = 'pending' AND place = 0 AND run_at <= ?
GROUP BY queue
UNION ALL
SELECT queue, min(coalesce(run_at, created_at)) FROM tasks
WHERE status = 'pending' AND place IS NULL GROUP BY queue
"""
WORKERS = """
SELECT worker_id, coalesce(hostname, ''), coalesce(queues, ''), coalesce(concurrency, 0),
       coalesce(pid, 0), coalesce(machine, ''), coalesce(born, ''), started_at, last_heartbeat,
       active, boot IS NOT ? OR lease_until IS NULL OR lease_until < ?
FROM workers ORDER BY worker_id
"""
UNKNOWN_WORKERS = """
SELECT DISTINCT coalesce(worker_id, '') FROM tasks
WHERE status = 'running' AND status <> 'pending'
  AND coalesce(worker_id, '') NOT IN (SELECT worker_id FROM workers)
"""
FORGET = "DELETE FROM workers WHERE worker_id = ?"

CANCEL_PENDING = """
UPDATE tasks SET status = 'cancelled', finished_at = ?, error = 'cancelled before it ran'
WHERE status = 'pending' AND id IN ({ids})
"""
CANCEL_RUNNING = "UPDATE tasks SET cancel = 1 WHERE status = 'running' AND id IN ({ids})"
REVIVE = """
UPDATE tasks SET status = 'pending', place = ?, attempts = 0, losses = 0, run_at = NULL,
                 started_at = NULL, finished_at = NULL, worker_id = NULL, result = NULL
WHERE status IN ('failed', 'cancelled') AND id IN ({ids})
RETURNING queue
"""
# SQLite gives a new row the highest id plus one, so the row with the highest stays, emptied, as
# `purged`: else its id would be used again. AUTOINCREMENT would see to that too, at 6 µs a row.
NEWEST = "SELECT max(id) FROM tasks"
PURGE = "DELETE FROM tasks WHERE status <> 'running' AND id IN ({ids}) AND id < ?"
PURGE_NEWEST = """
UPDATE tasks SET status = 'purged', name = '', payload = '', result = NULL, error = NULL
WHERE status <> 'running' AND id IN ({ids}) AND id = ?
"""
PURGE_PURGED = """
DELETE FROM tasks WHERE status = 'purged' AND status <> 'pending' AND id < ?
"""
PURGE_ATTEMPTS = "DELETE FROM attempts WHERE task_id IN ({ids})"
PAUSE = """
INSERT INTO queues (name, paused_at) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET paused_at = coalesce(paused_at, excluded.paused_at)
"""
RESUME = "UPDATE queues SET paused_at = NULL WHERE name = ?"

# Queue by queue in the order of ids, which is nearly that of time: no index on finished_at, whose
# upkeep every job would pay for, and no walk over what stays.
QUEUES_IN_STATE = """
WITH RECURSIVE q (name) AS (
    SELECT min(queue) FROM tasks WHERE status = :status AND status <> 'pending'
    UNION ALL
    SELECT (SELECT min(queue) FROM tasks
            WHERE status = :status AND status <> 'pending' AND queue > q.name)
    FROM q WHERE q.name IS NOT NULL)
SELECT name FROM q WHERE name IS NOT NULL
"""
AGED = """
SELECT id FROM (SELECT id, finished_at FROM tasks
                WHERE status = ? AND status <> 'pending' AND queue = ? AND keep = 0
                ORDER BY id LIMIT ?)
WHERE finished_at < ?
"""
