"""Commands: what each `liteq` command asks or does, and how it shows the answer.

A command takes its parsed arguments and returns its exit code. Decisions are made below.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from liteq import brokers, findings, loading, monitoring, terminal, views
from liteq.brokers.base import Store
from liteq.errors import AppNotFound, BrokerError, BrokerUnavailable, JobNotFound, PayloadTooLarge
from liteq.findings import Finding
from liteq.job import STATUSES, Filter, NewJob
from liteq.terminal import Screen

_COUNTED = 10_000  # jobs, before a confirmation says "or more"


def choose_database(args: argparse.Namespace) -> None:
    """Let --db and --url hold for this process and all that it starts, the user's code as well."""
    if args.url:
        os.environ["LITEQ_URL"] = args.url
    elif args.db:
        os.environ["LITEQ_DB"] = os.path.abspath(args.db)
        os.environ.pop("LITEQ_URL", None)


# ── work ──


def worker(args: argparse.Namespace) -> int:
    """Run jobs until told to stop."""
    from liteq import logs

    if args.reload:
        return _reloading_worker(args)
    apps = _apps(args)
    _load(apps, args)
    logs.configure(args.log_format, args.log_level)
    loading.warn_if_empty(apps)
    from liteq.worker import Worker

    worker = Worker(
        args.queues,
        args.concurrency,
        args.timeout,
        pool=args.pool,
        burst=args.burst,
        async_limit=args.async_limit,
        max_jobs=args.max_jobs,
        max_memory_mb=args.max_memory_mb,
        memory_limit_mb=args.memory_limit_mb,
        shutdown_grace=args.shutdown_grace,
    )
    worker.run()
    if args.pool == "threads" and worker.cut_off:
        _leave_now()
    return 0


def _leave_now() -> None:
    """End the process and the threads in it: their jobs were handed back and may run elsewhere."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(0)


def enqueue(args: argparse.Namespace) -> int:
    """Queue a call and print its id."""
    positional = _json_argument("--args", args.args, list, """'["user@example.com", 2]'""")
    named = _json_argument("--kwargs", args.kwargs, dict, """'{"to": "user@example.com"}'""")
    if args.app:
        _load(_apps(args), args)
        id = _enqueue_checked(args, positional, named)
    else:
        id = _enqueue_as_told(args, positional, named)
    queue, screen = _queue_of(args, id), Screen(sys.stdout)
    on_record = _has_records(brokers.current())  # otherwise the number means nothing to anybody
    if args.json:
        _print_json({"id": id if on_record else None, "name": args.name, "queue": queue})
    elif screen.person:
        number = f" {id}" if on_record else ""
        screen.line(f"job{number} queued on {terminal.clean(str(queue))}")
    elif on_record:
        screen.line(str(id))
    return 0


# ── questions ──


def status(args: argparse.Namespace) -> int:
    """A line for each queue."""
    store = _store()
    queues, on_record = monitoring.get_queue_overview(), monitoring.get_workers()
    if args.json:
        _print_json({"database": store.url, "queues": queues, "workers": on_record})
        return 0
    known = on_record if _has_records(store) else None
    views.overview(Screen(sys.stdout), _place(store), queues, known)
    return 0


def list_jobs(args: argparse.Namespace) -> int:
    """Jobs that match, newest first."""
    store = _store()
    found = monitoring.find_tasks(_filter(args), args.limit)
    if args.json:
        _print_json(found)
        return 0 if found else 1
    screen = Screen(sys.stdout)
    if not found:
        if screen.person:
            screen.line("No job matches.")
        return 1
    views.jobs(screen, found, store.clock.wall())
    if screen.person and len(found) == args.limit:
        screen.line(f"Older ones: --before {found[-1]['id']}", "dim")
    return 0


def show(args: argparse.Namespace) -> int:
    """All about one job."""
    store = _store()
    job = monitoring.get_task_details(args.id)
    if job is None:
        raise JobNotFound(f"there is no job {args.id} in {_place(store)}")
    if args.json:
        _print_json(job)
        return 0
    views.job(Screen(sys.stdout), job, store.clock.wall())
    return 0


def workers(args: argparse.Namespace) -> int:
    """The workers on record."""
    store = _store()
    if not _has_records(store):
        raise BrokerError(f"workers of {_place(store)} are not on record; Horizon may show them")
    found = monitoring.get_workers()
    if args.json:
        _print_json(found)
        return 0 if found else 1
    screen = Screen(sys.stdout)
    if not found:
        if screen.person:
            screen.line("No worker is running. Start one: liteq worker --app tasks.py")
        return 1
    views.workers(screen, found, store.clock.wall())
    return 0


def doctor(args: argparse.Namespace) -> int:
    """Findings, the summary, and 1 if there is a fault."""
    from liteq import doctor

    found = [_app_finding(app, args) for app in _apps(args)]
    found += doctor.examine(args.id)
    summary = doctor.summary(found)
    if args.json:
        listed = [finding._asdict() for finding in found]
        _print_json({"findings": listed, "summary": summary})
    else:
        views.findings(Screen(sys.stdout), found, summary)
    return 1 if any(finding.level == "fault" for finding in found) else 0


# ── actions ──


def retry(args: argparse.Namespace) -> int:
    """Send failed or cancelled jobs round again."""
    which = _chosen(args)
    if which.ids is None and which.status is None:
        which = which._replace(status="failed")  # cancelled ones were cancelled on purpose
    return _act(args, _store().revive, which, "retried", ("failed", "cancelled"))


def cancel(args: argparse.Namespace) -> int:
    """Cancel pending jobs, stop running ones."""
    return _act(args, _store().cancel, _chosen(args), "cancelled", ("pending", "running"))


def purge(args: argparse.Namespace) -> int:
    """Delete jobs, once that is confirmed."""
    which, store = _chosen(args), _store()
    if not args.yes and not _is_confirmed(which):
        return 1
    others = tuple(status for status in STATUSES if status != "running")
    return _act(args, store.purge, which, "deleted", others)


def pause(args: argparse.Namespace) -> int:
    """Let workers take nothing more from the queues."""
    store = _store(create=True)
    for queue in args.queues:
        store.pause(queue)
    return _tell(args, {"paused": args.queues}, f"paused {', '.join(args.queues)}", code=0)


def resume(args: argparse.Namespace) -> int:
    """Let workers take from the queues again; 1 if one was not paused."""
    store = _store()
    # Where queues are not on record either, only those are known that the URL names.
    paused = store.paused() if _has_records(store) else args.queues
    not_paused = [queue for queue in args.queues if queue not in paused]
    resumed = [queue for queue in args.queues if queue in paused]
    for queue in resumed:
        store.resume(queue)
    for queue in not_paused:
        _warn(f"queue {queue!r} was not paused")
    document = {"resumed": resumed, "not_paused": not_paused}
    text = f"resumed {', '.join(resumed)}" if resumed else ""
    return _tell(args, document, text, code=1 if not_paused else 0)


# ── loading ──


def _apps(args: argparse.Namespace) -> list[str]:
    return [name.strip() for app in args.app for name in app.split(",") if name.strip()]


def _load(apps: Sequence[str], args: argparse.Namespace) -> None:
    for app in apps:
        try:
            loading.load(app)
        except AppNotFound:
            raise
        except (Exception, SystemExit) as error:
            _end_with_users_traceback(app, error)
    choose_database(args)  # the command line wins over what the app has set


def _end_with_users_traceback(app: str, error: BaseException) -> NoReturn:
    import traceback

    traceback.print_exception(type(error), error, loading.users_traceback(error))
    _warn(f"--app {app} cannot be loaded: the error above is raised by its code")
    raise SystemExit(1) from None


def _reloading_worker(args: argparse.Namespace) -> int:
    from liteq import logs, reloading

    logs.configure(args.log_format, args.log_level)
    command = [sys.executable, "-m", "liteq", *(a for a in args.argv if a != "--reload")]
    return reloading.run(command, loading.folders(_apps(args)))


def _app_finding(app: str, args: argparse.Namespace) -> Finding:
    try:
        loading.load(app)
        choose_database(args)
        return findings.ok("App", f"{app} is loaded")
    except AppNotFound as error:
        return findings.fault("App", str(error))
    except (Exception, SystemExit) as error:
        said = f"{app} cannot be loaded: {type(error).__name__}: {error}"
        return findings.fault("App", said, f"liteq worker --app {app} shows the traceback")


# ── queueing ──


def _enqueue_checked(args: argparse.Namespace, positional: list[Any], named: dict[str, Any]) -> int:
    """As the program itself would: the arguments are what the annotations make of the JSON."""
    from liteq import registry
    from liteq.core import Task

    definition = registry.find(args.name)
    task: Task[..., Any] = Task(definition)
    calls = task.options(
        queue=args.queue,
        priority=args.priority,
        delay=args.delay,
        max_retries=args.max_retries,
        timeout=args.timeout,
    )
    typed, typed_by_name = definition.codec.call(_payload(positional, named))
    return int(calls.delay(*typed, **typed_by_name))


def _enqueue_as_told(args: argparse.Namespace, positional: list[Any], named: dict[str, Any]) -> int:
    store = _store(create=True)
    payload = _payload(positional, named)
    size = len(payload.encode())
    if size > store.payload_limit:
        raise PayloadTooLarge(
            f"the arguments take {size} bytes, more than payload_limit={store.payload_limit}"
        )
    given = {
        "queue": args.queue,
        "priority": args.priority,
        "max_retries": args.max_retries,
        "timeout": args.timeout,
        "due": None if args.delay is None else store.clock.wall() + args.delay,
    }
    options: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    [id] = store.enqueue([NewJob(args.name, payload, **options)])
    return id


def _queue_of(args: argparse.Namespace, id: int) -> str:
    """The queue that the job went to."""
    from liteq import registry

    store = brokers.current()
    record = store.get(id) if _has_records(store) else None
    if record is not None:
        return record.queue
    definition = registry.get(args.name)
    return str(args.queue or (definition.queue if definition else NewJob("", "").queue))


def _payload(positional: list[Any], named: dict[str, Any]) -> str:
    return json.dumps({"args": positional, "kwargs": named}, ensure_ascii=False)


def _json_argument(option: str, text: str, kind: type, example: str) -> Any:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(
            f"{option} {text!r} is no JSON ({error}); write it like {example}"
        ) from None
    if not isinstance(value, kind):
        what = "list" if kind is list else "object"
        raise ValueError(f"{option} {text!r} is no JSON {what}; write it like {example}")
    return value


# ── which jobs, and acting on them ──


def _store(*, create: bool = False) -> Store:
    """The broker. A question is not answered by making an empty database in the wrong place."""
    store = brokers.current()
    if "share" not in store.supports:
        raise ValueError(f"{store.url} lives within one process; another one cannot look into it")
    path = getattr(store, "path", None)
    if path is not None and not create and not os.path.exists(path):
        raise BrokerUnavailable(
            f"there is no database {path}: nothing was queued yet, or it is elsewhere "
            "(LITEQ_DB or --db says where; `liteq doctor` looks around)"
        )
    return store


def _has_records(store: Store) -> bool:
    return "records" in store.supports


def _place(store: Store) -> str:
    return str(getattr(store, "path", store.url))


def _filter(args: argparse.Namespace) -> Filter:
    return Filter(
        queue=args.queue, status=args.status, name=args.name, text=args.text, before=args.before
    )


def _chosen(args: argparse.Namespace) -> Filter:
    """What the ids and conditions mean; to mean every job takes an --all."""
    which = _filter(args)._replace(ids=tuple(args.ids) or None)
    if which == Filter() and not args.all:
        raise ValueError("that would mean every job: give ids or conditions, or say --all")
    return which


def _act(
    args: argparse.Namespace,
    act: Callable[[Filter], int],
    which: Filter,
    done: str,
    statuses: Sequence[str],
) -> int:
    missed = _missed(which, statuses)
    count = act(which)
    for id, reason in missed.items():
        _warn(f"job {id}: {reason}")
    if not count and not missed:
        _warn("no job matches")
    document = {"count": count, "missed": missed}
    text = f"{terminal.counted(count, 'job')} {done}" if count else ""
    return _tell(args, document, text, code=1 if missed or not count else 0)


def _missed(which: Filter, statuses: Sequence[str]) -> dict[int, str]:
    """Which of the ids that were named cannot be acted upon, and why."""
    store, missed = brokers.current(), {}
    for id in which.ids or ():
        record = store.get(id)
        if record is None:
            missed[id] = "there is no such job"
        elif record.status not in statuses:
            missed[id] = f"it is {record.status}, not {' or '.join(statuses)}"
    return missed


def _is_confirmed(which: Filter) -> bool:
    if not sys.stdin.isatty():
        raise ValueError("purge deletes for good and there is no terminal to ask on; say --yes")
    count = monitoring.how_many(which, _COUNTED)
    more = " or more" if count == _COUNTED else ""
    sys.stderr.write(
        f"Delete {terminal.counted(count, 'job')}{more} ({_in_words(which)}) for good? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _in_words(which: Filter) -> str:
    said = [f"{name} {value!r}" for name, value in which._asdict().items() if value is not None]
    return ", ".join(said) or "all of them"


# ── telling ──


def _tell(args: argparse.Namespace, document: dict[str, Any], text: str, *, code: int) -> int:
    if args.json:
        _print_json(document)
    elif text:
        Screen(sys.stdout).line(terminal.clean(text))
    return code


def _warn(text: str) -> None:
    Screen(sys.stderr).line(f"liteq: {terminal.clean(text)}")


def _print_json(document: object) -> None:
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    text = json.dumps(
        document, ensure_ascii=encoding != "utf8", indent=2 if sys.stdout.isatty() else None
    )
    Screen(sys.stdout).line(text)
