"""Registry: task name → definition. The only mutable global; filled by importing the user's code.

What a task *is* stands here; how it is called is core's business, how it is run is the pools'.
"""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from liteq.backoff import RetryPolicy
from liteq.codec import Codec
from liteq.errors import DuplicateTask, TaskNotFound


class Definition(NamedTuple):
    """All that the decorator was told about one task."""

    name: str
    function: Callable[..., Any]
    is_async: bool
    queue: str
    max_retries: int
    timeout: float | None
    priority: int
    retry: RetryPolicy
    at_most_once: bool
    codec: Codec  # call and result ⇄ JSON text


_definitions: dict[str, Definition] = {}


def register(definition: Definition) -> None:
    """Make the task known under its name.

    Importing the same file twice (as `__main__` and by name) adds nothing, and a function that is
    defined anew replaces the old one. Raises DuplicateTask when another function has the name.
    """
    known = _definitions.get(definition.name)
    if known is not None and _differ(known, definition):
        raise DuplicateTask(
            f"task name {definition.name!r} is taken by {_place(known)}; "
            f"give {_place(definition)} a name of its own: @task(name=...)"
        )
    _definitions[definition.name] = definition


def find(name: str) -> Definition:
    """The definition under this name. Raises TaskNotFound naming what there is."""
    known = _definitions.get(name)
    if known is None:
        have = ", ".join(sorted(_definitions)) or "none at all"
        raise TaskNotFound(
            f"no task named {name!r} is registered here (registered: {have}); "
            "import its module, or load it with `liteq worker --app`"
        )
    return known


def get(name: str) -> Definition | None:
    """The definition under this name, or None."""
    return _definitions.get(name)


def definitions() -> list[Definition]:
    """All definitions, by name."""
    return [_definitions[name] for name in sorted(_definitions)]


def queues() -> list[str]:
    """The queues that the registered tasks go to by default, and "default" itself; sorted."""
    return sorted({"default", *(definition.queue for definition in _definitions.values())})


def forget(name: str) -> None:
    """Take a name out again, for tests that define tasks of their own."""
    _definitions.pop(name, None)


def _differ(known: Definition, new: Definition) -> bool:
    """Whether these are two functions, and not one that was loaded or written twice."""
    if _origin(known) != _origin(new):
        return True
    names = (known.function.__qualname__, new.function.__qualname__)
    # Functions within functions are made again at each call, and sessions have no two of anything.
    is_lasting = os.path.exists(_origin(new)) and not any("<locals>" in name for name in names)
    return is_lasting and names[0] != names[1]


def _origin(definition: Definition) -> str:
    """The file a task was written in; in a REPL or a notebook, its module."""
    file, _ = _written(definition)
    return os.path.realpath(file) if os.path.exists(file) else definition.function.__module__


def _place(definition: Definition) -> str:
    file, line = _written(definition)
    where = f" ({file}:{line})" if file else ""
    return f"{definition.function.__module__}.{definition.function.__qualname__}{where}"


def _written(definition: Definition) -> tuple[str, int]:
    """File and line of the task's own code, below the decorators that say what they wrap."""
    function = definition.function
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    code = getattr(function, "__code__", None)
    return ("", 0) if code is None else (code.co_filename, code.co_firstlineno)
