"""Writes the reference pages that repeat what the code says: settings, errors, command line.

    python docs/generate.py

A test compares the pages with the code, so that they stay in step.
"""

import argparse
import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import lara_queue
from lara_queue import AsyncQueue, Metrics, Queue, events, settings
from lara_queue.desk import Desk
from lara_queue.metrics import Meter
from lara_queue.project import Project, from_laravel
from liteq import RetryPolicy, cli, config, errors
from liteq.brokers.laravel import urls

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code; change it there and say `make docs`. -->\n"
PUSHING = {  # what Desk.push takes, in Laravel's words
    "queue": "the queue, where it is not the first one of this object: `onQueue()`",
    "delay": "seconds, a timedelta, or the moment as a datetime: `delay()`",
    "max_tries": "how often it may be run: `$tries`",
    "max_exceptions": "after how many errors it has failed, whatever tries are left: "
    "`$maxExceptions`",
    "backoff": "seconds between its runs, one number or a list: `$backoff`",
    "timeout": "seconds until a run is stopped: `$timeout`",
    "retry_until": "until when it may be tried, instead of how often: `retryUntil()`",
    "fail_on_timeout": "whether a run that was stopped is its last: `$failOnTimeout`",
    "delete_when_missing_models": "`$deleteWhenMissingModels`, which Laravel heeds",
    "display_name": "what Laravel and Horizon show instead of the class: `displayName()`",
    "tags": "for Horizon: `tags()`",
    "encrypted": "whether only who has APP_KEY can read it: `ShouldBeEncrypted`",
    "unique_id": "take the lock of a unique job; None is returned where somebody has it: "
    "`uniqueId()`",
    "unique_for": "seconds until that lock opens by itself; 0: when the job has ended: "
    "`$uniqueFor`",
}


def pages() -> dict[str, str]:
    """The pages by their file names, as they ought to be."""
    return {
        "settings.md": settings_page(),
        "errors.md": errors_page(),
        "cli.md": cli_page(),
        "lara-queue.md": lara_queue_page(),
    }


def settings_page() -> str:
    """A row for each field of Settings."""
    rows = [
        f"| `{field.name}` | `LITEQ_{field.name.upper()}` | {_default(field.default)} | {about} |"
        for field, about in zip(fields(config.Settings), _field_docs(config.Settings), strict=True)
    ]
    return (
        f"""{NOTE}
# Settings

Durations are in seconds. A setting comes from the argument (`Worker(lease=60)`), else from the
URL (`sqlite:///jobs.db?lease=60`), else from the environment (`LITEQ_LEASE=60`), else it is the
default. It is read when it is used, never at import.

`LITEQ_DB` names the database file (default `{config.DEFAULT_DB}`, relative to the working
directory); `LITEQ_URL` names the broker by a URL and goes before it: `sqlite:///relative.db`,
`sqlite:////absolute/path.db`.

| Setting | Variable | Default | |
|---|---|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )


def errors_page() -> str:
    """The tree of errors, and a line for each."""
    tree = inspect.getdoc(errors) or ""
    _, _, drawing = tree.partition("\n\n")
    rows = [
        f"| `{name}` | {' '.join((inspect.getdoc(kind) or '').split())} |"
        for name, kind in vars(errors).items()
        if inspect.isclass(kind)
    ]
    return (
        f"""{NOTE}
# Errors

All are in `liteq.errors`; those that programs often catch are in `liteq` as well. Bad options raise
`ValueError`, as in the standard library.

```text
{drawing}
```

| Error | |
|---|---|
"""
        + "\n".join(rows)
        + "\n"
    )


def cli_page() -> str:
    """Each command with its examples and arguments, out of the parser itself."""
    parser = cli.build_parser()
    parts = [
        f"""{NOTE}
# Command line

`liteq COMMAND --help` says the same. {_text(parser.epilog)}

Exit codes: 0 done, 1 nothing matched or something is at fault, 2 wrong usage.
"""
    ]
    for name, command in _commands(parser):
        parts.append(f"\n## liteq {name}\n\n{_text(command.description)}\n\n")
        parts.append(f"```text\n{_examples(command)}\n```\n\n")
        parts.append("| Argument | |\n|---|---|\n" + "".join(_arguments(command)))
    return "".join(parts)


def lara_queue_page() -> str:
    """Queue and AsyncQueue: methods, options, settings, events, figures; URLs, from_laravel."""
    return f"""{NOTE}
# lara_queue

`pip install "liteq[laravel]"`. How to begin is in [the tutorial](../tutorial/laravel.md), what
holds between PHP and Python in [sharing queues](../explanation/sharing-queues.md).

## Queue and AsyncQueue

`Queue{_signature(Queue)}`

{_paragraphs(Queue)}

`AsyncQueue{_signature(AsyncQueue)}`

{_paragraphs(AsyncQueue)}

Both have these; on `AsyncQueue` those marked * are awaited:

| | |
|---|---|
{_methods()}

## What a job may be told

Keyword arguments of `push`, and of `bulk` for all its jobs. What is not given is left to the
worker.

| Option | |
|---|---|
{_pushing()}

## Settings

Keyword arguments of `Queue` and `AsyncQueue`, all optional.

| Setting | Default | |
|---|---|---|
{_lara_settings()}

## Events

{_paragraphs(events)}

`queue.events` is an `EventEmitter`, or an `AsyncIOEventEmitter`, with `on`, `once`,
`remove_listener`, `listeners` and `emit`.

## Figures

`get_metrics()` returns a dict, at once; `await queue.get_metrics()` does as well. Its parts:

| | |
|---|---|
{_figures(Meter().read(0))}

The throughput is that of the last minute, the times those of the last thousand runs. Times are in
seconds.

## URLs

For `liteq worker --url …`, and for `LITEQ_URL`, by which `.delay()` of a task pushes to Laravel.

```text
{_rest(urls)}
```

## from_laravel

`lara_queue.from_laravel{_signature(from_laravel)}`

{_paragraphs(from_laravel)}

| | |
|---|---|
| `.url{_signature(Project.url)}` | {_paragraphs(Project.url, " ")} |
| `.environment{_signature(Project.environment)}` | {_paragraphs(Project.environment, " ")} |
| `.unknown` | what could not be known, a sentence each, and what to do |
| its other fields | {_names_of(Project)} |

## Other names

| | |
|---|---|
{_other_names()}
"""


def _signature(what: Callable[..., object]) -> str:
    """The arguments, without types."""
    of = inspect.signature(what)
    bare = [
        each.replace(annotation=inspect.Parameter.empty)
        for name, each in of.parameters.items()
        if name != "self"
    ]
    text = str(of.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return text.replace("(function=None, /, *, unique_id=None)", "(name=None, *, unique_id=None)")


def _paragraphs(what: object, between: str = "\n\n") -> str:
    """The docstring; what is indented in it, as a block."""
    parts = [
        f"```text\n{inspect.cleandoc(each)}\n```"
        if each.startswith("    ")
        else " ".join(each.split())
        for each in (inspect.getdoc(what) or "").split("\n\n")
    ]
    return between.join(parts)


def _rest(what: object) -> str:
    """The docstring without its first line."""
    return (inspect.getdoc(what) or "").partition("\n\n")[2]


def _methods() -> str:
    rows = []
    for name, method in vars(Queue).items():
        if name.startswith("_") or not callable(method):
            continue
        star = "*" if inspect.iscoroutinefunction(getattr(AsyncQueue, name)) else ""
        about = _paragraphs(method, " ").replace("|", "\\|")
        rows.append(f"| `{name}{_signature(method)}`{star} | {about} |")
    return "\n".join(rows)


def _pushing() -> str:
    options = [
        each.name
        for each in inspect.signature(Desk.push).parameters.values()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    return "\n".join(f"| `{name}` | {PUSHING[name]} |" for name in options)


def _lara_settings() -> str:
    documented = zip(fields(settings.Settings), _field_docs(settings.Settings), strict=True)
    return "\n".join(
        f"| `{field.name}` | {_default(field.default)} | {about} |" for field, about in documented
    )


def _figures(metrics: Metrics) -> str:
    return "\n".join(
        f"| `{name}` | {', '.join(f'`{each}`' for each in part) or 'how often, by kind of error'} |"
        for name, part in metrics.items()
    )


def _other_names() -> str:
    """What else can be imported, with what is said of it; errors are on a page of their own."""
    told = {"Queue", "AsyncQueue", "Settings", "Project", "from_laravel", "RetryPolicy"}
    rows = []
    for name in sorted(set(lara_queue.__all__) - told):
        what = getattr(lara_queue, name)
        about = (inspect.getdoc(what) or "").partition("\n\n")[0]
        rows.append(f"| `{name}` | {' '.join(about.split())} |")
    return "\n".join([*rows, "| `RetryPolicy` | see [Python API](api.md#retrypolicy) |"])


def _names_of(kind: Any) -> str:
    return ", ".join(f"`{each.name}`" for each in fields(kind) if each.name != "unknown")


def _default(value: object) -> str:
    if value == RetryPolicy():
        return "[`RetryPolicy()`](api.md#retrypolicy)"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _field_docs(kind: type) -> Iterator[str]:
    """The string below each field of a class of settings."""
    [tree] = ast.parse(inspect.getsource(kind)).body
    assert isinstance(tree, ast.ClassDef)
    for field, text in zip(tree.body, tree.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign):
            assert isinstance(text, ast.Expr)
            assert isinstance(text.value, ast.Constant)
            yield " ".join(str(text.value.value).split())


def _commands(
    parser: argparse.ArgumentParser,
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _text(text: str | None) -> str:
    """A help text as a paragraph, without what it says of `--help` itself."""
    words = " ".join((text or "").split())
    return words.removeprefix("liteq COMMAND --help explains a command and has examples. ")


def _examples(command: argparse.ArgumentParser) -> str:
    lines = (command.epilog or "").removeprefix("examples:\n").splitlines()
    return "\n".join(line.strip() for line in lines)


def _arguments(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        if isinstance(action, argparse._HelpAction):
            continue
        value = action.metavar or action.dest.upper()
        if action.choices is not None:
            value = "|".join(map(str, action.choices))
        takes = "" if action.nargs == 0 else f" {value}"
        names = [f"{option}{takes}" for option in action.option_strings] or [str(value)]
        what = ", ".join(f"`{name}`" for name in names).replace("|", "\\|")
        yield f"| {what} | {_help(action)} |\n"


def _help(action: argparse.Action) -> str:
    text = " ".join((action.help or "").split())
    text = text.replace(", here %(default)s", "")  # a page knows no machine
    return text % vars(action)


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{name}")
