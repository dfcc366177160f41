"""Cli: the command `liteq`. What can be typed, and how faults are told; `commands` does the work.

Exit codes: 0 done, 1 nothing matched or something is at fault, 2 wrong usage.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from liteq import __version__, commands, terminal
from liteq.errors import LiteqError
from liteq.job import STATUSES

_ABOUT = """\
LiteQ: a task queue that starts as one SQLite file.

  liteq worker --app tasks.py    run the tasks that tasks.py defines
  liteq status                   what waits, runs and failed
  liteq doctor                   why is my task not running?
"""
_OUTPUT = """
A terminal gets tables; a pipe gets lines of tab-separated values without headings;
--json gives one JSON document. The database is --db or --url, else LITEQ_URL, else
LITEQ_DB, else liteq.db in the working directory."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (None: the process' own arguments) says; its exit code."""
    terminal.make_safe()
    argv = sys.argv[1:] if argv is None else list(argv)
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _discard_output()
        return 141
    except KeyboardInterrupt:
        return 130
    except (LiteqError, OSError) as error:
        return _complain(error, 1)
    except ValueError as error:
        return _complain(error, 2)


def _run(argv: list[str]) -> int:
    parser = build_parser()
    args = parser.parse_args(argv)
    if args.run is None:
        parser.print_help()
        return 2
    args.argv = argv
    run: Callable[[argparse.Namespace], int] = args.run
    commands.choose_database(args)
    return run(args)


def _complain(error: Exception, code: int) -> int:
    print(f"liteq: {terminal.clean(str(error))}", file=sys.stderr)
    return code


def _discard_output() -> None:
    """So that Python's own flush at exit does not fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# ── what can be typed ──


def build_parser() -> argparse.ArgumentParser:
    """The parser for all commands; `args.run` is the function that does what was asked."""
    parser = argparse.ArgumentParser(
        prog="liteq",
        description=_ABOUT,
        epilog=f"liteq COMMAND --help explains a command and has examples.\n{_OUTPUT}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"liteq {__version__}")
    parser.set_defaults(run=None)
    subparsers = parser.add_subparsers(title="commands", metavar="COMMAND")
    for add in (
        _add_worker,
        _add_status,
        _add_list,
        _add_show,
        _add_enqueue,
        _add_retry,
        _add_cancel,
        _add_purge,
        _add_pause,
        _add_resume,
        _add_workers,
        _add_doctor,
    ):
        add(subparsers)
    return parser


def _add_worker(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "worker",
        commands.worker,
        "run jobs until it is told to stop",
        "Ctrl-C (or SIGTERM) lets running jobs end; a second one hands them back at once.",
        "liteq worker --app tasks.py",
        "liteq worker --app shop.tasks --queues emails,reports --concurrency 8 --timeout 60",
        "liteq worker --app tasks.py --reload       # while you write tasks.py",
        "liteq worker --app tasks.py --burst        # stop when the queues are empty",
        json=False,
    )
    _add_app(parser, required=True)
    parser.add_argument(
        "--queues",
        type=_queue_list,
        metavar="A,B",
        help="queues to work on (default: those that the app's tasks use)",
    )
    parser.add_argument(
        "--concurrency",
        type=_at_least_one,
        default=os.cpu_count() or 1,
        metavar="N",
        help="how many processes (or threads) run jobs (default: one per CPU, here %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="stop a job that takes longer; a task's own timeout wins (default: no limit)",
    )
    parser.add_argument(
        "--pool",
        choices=("processes", "threads", "inline"),
        default="processes",
        help="what runs the jobs; only processes can be stopped by force (default: %(default)s)",
    )
    parser.add_argument("--burst", action="store_true", help="stop when the queues are empty")
    parser.add_argument(
        "--reload", action="store_true", help="start again when a .py file changes (development)"
    )
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--log-level",
        type=str.lower,
        choices=("debug", "info", "warning", "error"),
        default="info",
        help="(default: %(default)s)",
    )
    _add_worker_settings(parser)


def _add_worker_settings(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("limits (each also as LITEQ_… in the environment)")
    limits.add_argument(
        "--async-limit",
        type=_at_least_one,
        metavar="N",
        help="async jobs at once in each process (default: 10)",
    )
    limits.add_argument(
        "--max-jobs", type=_whole, metavar="N", help="replace a process after this many jobs"
    )
    limits.add_argument(
        "--max-memory-mb",
        type=_whole,
        metavar="MB",
        help="replace a process that is larger than this after a job",
    )
    limits.add_argument(
        "--memory-limit-mb",
        type=_whole,
        metavar="MB",
        help="fail a job that takes its process past this",
    )
    limits.add_argument(
        "--shutdown-grace",
        type=_seconds_or_zero,
        metavar="SECONDS",
        help="how long running jobs may go on when it stops (default: 30)",
    )


def _add_status(subparsers: Any) -> None:
    _command(
        subparsers,
        "status",
        commands.status,
        "what waits, runs and has failed, queue by queue",
        "In a pipe: queue, pending, running, done, failed, cancelled, seconds that the oldest due "
        "job has waited, active workers, paused since.",
        "liteq status",
        "liteq status --json",
    )


def _add_list(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "list",
        commands.list_jobs,
        "jobs, newest first",
        "In a pipe: id, task, queue, status, runs, created at, note.",
        "liteq list --status failed --queue emails",
        "liteq list --text user@example.com --limit 10",
        "liteq list --status failed | cut -f1 | xargs liteq retry",
    )
    _add_filter(parser)
    parser.add_argument(
        "--limit", type=_at_least_one, default=50, metavar="N", help="(default: %(default)s)"
    )


def _add_show(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "show",
        commands.show,
        "all about one job: arguments, timings, every failed run with its traceback",
        "",
        "liteq show 17",
        "liteq show 17 --json",
    )
    parser.add_argument("id", type=_whole, metavar="ID", help="the job's id")


def _add_enqueue(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "enqueue",
        commands.enqueue,
        "queue a call of a task",
        "With --app the call is checked against the task's signature, and the task's own queue,\n"
        "priority, retries and timeout hold. Without it the call is stored as it is told.",
        """liteq enqueue send_email --app tasks.py --args '["user@example.com"]'""",
        """liteq enqueue report --kwargs '{"year": 2026}' --queue reports --delay 60""",
    )
    parser.add_argument("name", metavar="NAME", help="the task's name")
    parser.add_argument("--args", default="[]", metavar="JSON", help="a JSON list")
    parser.add_argument("--kwargs", default="{}", metavar="JSON", help="a JSON object")
    _add_app(parser)
    parser.add_argument("--queue", type=_queue, metavar="QUEUE", help="(default: default)")
    parser.add_argument("--priority", type=int, metavar="N", help="higher runs first (default: 0)")
    parser.add_argument(
        "--delay", type=_seconds_or_zero, metavar="SECONDS", help="run it after this (default: 0)"
    )
    parser.add_argument("--max-retries", type=_whole, metavar="N", help="(default: 3)")
    parser.add_argument("--timeout", type=_seconds, metavar="SECONDS", help="(default: no limit)")


def _add_retry(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "retry",
        commands.retry,
        "run failed or cancelled jobs again, with all their attempts",
        "By ids, or by a filter; a filter means failed jobs unless --status says cancelled.",
        "liteq retry 17 18",
        "liteq retry --queue emails --text 'connection refused'",
        "liteq retry --all",
    )
    _add_choice(parser, statuses=("failed", "cancelled"))


def _add_cancel(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "cancel",
        commands.cancel,
        "cancel waiting jobs, and stop running ones",
        "By ids, or by a filter. A running job is stopped by its worker, without retry.",
        "liteq cancel 17",
        "liteq cancel --name send_email --status pending",
    )
    _add_choice(parser, statuses=("pending", "running"))


def _add_purge(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "purge",
        commands.purge,
        "delete jobs for good; running ones are left alone",
        "By ids, or by a filter. Asks first, unless --yes; without a terminal it needs --yes.",
        "liteq purge --status done",
        "liteq purge --queue old-reports --yes",
    )
    _add_choice(parser, statuses=tuple(status for status in STATUSES if status != "running"))
    parser.add_argument("--yes", action="store_true", help="do not ask")


def _add_pause(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "pause",
        commands.pause,
        "let no worker take jobs from a queue",
        "Jobs can still be queued, and those that run go on.",
        "liteq pause emails",
    )
    parser.add_argument("queues", type=_queue, nargs="+", metavar="QUEUE")


def _add_resume(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "resume",
        commands.resume,
        "let workers take jobs from a paused queue again",
        "",
        "liteq resume emails",
    )
    parser.add_argument("queues", type=_queue, nargs="+", metavar="QUEUE")


def _add_workers(subparsers: Any) -> None:
    _command(
        subparsers,
        "workers",
        commands.workers,
        "the workers on record, and whether they live",
        "active: gave a sign of life in the last 15 seconds. silent: did not. dead: its process "
        "is gone.\nIn a pipe: id, host, pid, state, queues, jobs, slots, last heartbeat, started.",
        "liteq workers",
        "liteq workers --json",
    )


def _add_doctor(subparsers: Any) -> None:
    parser = _command(
        subparsers,
        "doctor",
        commands.doctor,
        "why is my task not running?",
        "Looks at the database, the workers and the queues, and changes nothing. With an ID it\n"
        "says why that job is where it is; with --app it knows which tasks there are.",
        "liteq doctor",
        "liteq doctor 17 --app tasks.py",
    )
    parser.add_argument("id", type=_whole, nargs="?", metavar="ID", help="a job's id")
    _add_app(parser)


# ── pieces of parsers ──


def _command(
    subparsers: Any,
    name: str,
    run: Callable[[argparse.Namespace], int],
    help: str,
    more: str,
    *examples: str,
    json: bool = True,
) -> argparse.ArgumentParser:
    """A command's parser, with help, examples and the options that all commands have."""
    shown = "\n".join(f"  {example}" for example in examples)
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=help,
        description=f"{help[0].upper()}{help[1:]}{'' if help.endswith('?') else '.'}\n{more}",
        epilog=f"examples:\n{shown}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    if json:
        parser.add_argument("--json", action="store_true", help="print one JSON document")
    database = parser.add_mutually_exclusive_group()
    database.add_argument("--db", metavar="PATH", help="the SQLite file (default: LITEQ_DB)")
    database.add_argument("--url", metavar="URL", help="the broker's URL (default: LITEQ_URL)")
    return parser


def _add_app(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    parser.add_argument(
        "--app",
        action="append",
        required=required,
        default=None if required else [],
        metavar="APP",
        help="where the tasks are: a file (tasks.py), a module (shop.tasks) or module:attribute; "
        "several with commas",
    )


def _add_filter(parser: argparse.ArgumentParser, statuses: Sequence[str] = STATUSES) -> None:
    chosen = parser.add_argument_group("which jobs (all conditions given must hold)")
    chosen.add_argument("--queue", metavar="QUEUE", help="on this queue")
    chosen.add_argument("--status", choices=statuses, help="in this state")
    chosen.add_argument("--name", metavar="NAME", help="of this task")
    chosen.add_argument("--text", metavar="TEXT", help="with this in name, arguments or error")
    chosen.add_argument("--before", type=_whole, metavar="ID", help="with ids below this")


def _add_choice(parser: argparse.ArgumentParser, statuses: Sequence[str]) -> None:
    parser.add_argument("ids", type=_whole, nargs="*", metavar="ID", help="jobs by their ids")
    _add_filter(parser, statuses)
    parser.add_argument("--all", action="store_true", help="every job; needed without any filter")


# ── types of arguments ──


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, 0 or more")
    return int(text)


def _at_least_one(text: str) -> int:
    number = _whole(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} must be at least 1")
    return number


def _seconds_or_zero(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds, 0 or more")
    return seconds


def _seconds(text: str) -> float:
    seconds = _seconds_or_zero(text)
    if seconds == 0:
        raise argparse.ArgumentTypeError(f"{text!r} must be more than 0 seconds")
    return seconds


def _queue(text: str) -> str:
    if not text.strip() or "," in text:
        raise argparse.ArgumentTypeError(f"{text!r} must be a name without a comma")
    return text


def _queue_list(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError(f"{text!r} names no queue")
    return list(dict.fromkeys(names))
