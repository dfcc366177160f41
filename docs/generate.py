"""Writes the reference pages that repeat what the code says: settings, errors, command line.

    python docs/generate.py

A test compares the pages with the code, so that they stay in step.
"""

import argparse
import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

from liteq import cli, config, errors

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/generate.py from the code; change it there and say `make docs`. -->\n"


def pages() -> dict[str, str]:
    """The pages by their file names, as they ought to be."""
    return {"settings.md": settings_page(), "errors.md": errors_page(), "cli.md": cli_page()}


def settings_page() -> str:
    """A row for each field of Settings."""
    rows = [
        f"| `{field.name}` | `LITEQ_{field.name.upper()}` | {_default(field.default)} | {about} |"
        for field, about in zip(fields(config.Settings), _field_docs(), strict=True)
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


def _default(value: object) -> str:
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _field_docs() -> Iterator[str]:
    """The string below each field of Settings."""
    [tree] = ast.parse(inspect.getsource(config.Settings)).body
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
