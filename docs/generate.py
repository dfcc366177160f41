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

`LITEQ_DB` names the database file (default `{config.DEFAULT_DB}`, relative to the working directory);
`LITEQ_URL` names the broker by a URL and goes before it: `sqlite:///relative.db`,
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
    """Each command with its arguments, out of the parser itself."""
    parser = cli.parser()
    parts = [f"{NOTE}\n# Command line\n\n`liteq COMMAND --help` says the same, with examples.\n"]
    for name, command, summary in _commands(parser):
        parts.append(f"\n## liteq {name}\n\n{summary}\n\n")
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
) -> Iterator[tuple[str, argparse.ArgumentParser, str]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            summaries = {choice.dest: choice.help or "" for choice in action._choices_actions}
            for name, command in action.choices.items():
                yield name, command, summaries.get(name, "").strip()


def _arguments(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:
        if action.help == argparse.SUPPRESS or isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(f"`{name}`" for name in action.option_strings)
        value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
        if action.choices is not None:
            value = "|".join(map(str, action.choices))
        what = f"{names} `{value}`" if names and value and action.nargs != 0 else names
        text = " ".join((action.help or "").split()) % vars(action) if action.help else ""
        yield f"| {what or f'`{value}`'} | {text} |\n".replace("`|`", "`\\|`")


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/reference/{name}")
