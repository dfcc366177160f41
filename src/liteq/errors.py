"""Errors: every fault LiteQ names, in one tree. What to do about a fault is its message's business.

LiteqError
├── InvalidArguments (TypeError)      a call that could never run
├── EncodingError (ValueError)        an argument or a result that JSON cannot carry
│   ├── PayloadTooLarge               more bytes than the limit
│   └── UnreadablePayload             bytes that no later attempt will read
├── DuplicateTask (ValueError)        two functions under one task name
├── TaskNotFound (LookupError)        a name that no loaded module registers
├── JobNotFound (LookupError)         an id that the broker does not hold
├── AppNotFound (ImportError)         --app names nothing that can be loaded
├── TaskTimeout (TimeoutError)        a run passed its time limit
├── TaskFailed                        .result() of a job that failed for good
├── TaskCancelled                     .result() of a job that was cancelled
├── Retry                             raised by a task: run me again later
├── Cancel                            raised by a task: end me without retry
└── BrokerError                       the store cannot do its work
    ├── BrokerUnavailable             cannot be opened or reached, or is busy past all patience
    ├── BrokerReadOnly                may be read, not written
    ├── BrokerFull                    no space left
    ├── BrokerCorrupt                 not a database, or a damaged one
    ├── SchemaTooNew                  written by a newer LiteQ
    └── UnsupportedFileSystem         a network file system under a SQLite file
"""


class LiteqError(Exception):
    """Root of every error that LiteQ raises on purpose."""


class InvalidArguments(LiteqError, TypeError):
    """The arguments do not fit the task's signature, so the call could never run."""


class EncodingError(LiteqError, ValueError):
    """A value cannot be written as JSON, or cannot be rebuilt from it by the annotations."""


class PayloadTooLarge(EncodingError):
    """The encoded arguments or result take more bytes than `payload_limit`."""


class UnreadablePayload(EncodingError):
    """Stored bytes that no later attempt will read: damaged, or encrypted with another key."""


class DuplicateTask(LiteqError, ValueError):
    """Two functions in different modules ask for one task name."""


class TaskNotFound(LiteqError, LookupError):
    """No loaded module registers a task under this name."""


class JobNotFound(LiteqError, LookupError):
    """The broker holds no job with this id (never did, or it was pruned)."""


class AppNotFound(LiteqError, ImportError):
    """`--app` names nothing that can be loaded."""


class TaskTimeout(LiteqError, TimeoutError):
    """Raised inside a task whose run has passed its time limit."""


class TaskFailed(LiteqError):
    """The job whose result was asked for has failed for good; the message is its last error."""


class TaskCancelled(LiteqError):
    """The job whose result was asked for was cancelled."""


class Retry(LiteqError):
    """Raise inside a task to run it again in `after` seconds (None: by the task's retry policy).

    Uses up an attempt like any failed run; after the last attempt the job fails with `reason`.
    """

    def __init__(self, reason: str = "the task asked for a retry", *, after: float | None = None):
        if after is not None and not 0 <= after < float("inf"):
            raise ValueError(f"Retry(after={after!r}) is no wait; give seconds, 0 or more")
        super().__init__(reason)
        self.after = after


class Cancel(LiteqError):
    """Raise inside a task to end the job as `cancelled`, without retry."""

    def __init__(self, reason: str = "the task cancelled itself"):
        super().__init__(reason)


class BrokerError(LiteqError):
    """The store behind the queue cannot do its work."""


class BrokerUnavailable(BrokerError):
    """The store cannot be opened or reached, or stayed busy past all patience."""


class BrokerReadOnly(BrokerError):
    """The store may be read but not written."""


class BrokerFull(BrokerError):
    """The store has no space left. Nothing was stored; free space and try again."""


class BrokerCorrupt(BrokerError):
    """The file is not a SQLite database, or is damaged."""


class SchemaTooNew(BrokerError):
    """The store was written by a newer LiteQ than this one."""


class UnsupportedFileSystem(BrokerError):
    """The SQLite file lies on a network file system, where its locks cannot be trusted."""
