"""The registry: names and the functions behind them."""

import importlib.util
import runpy
import sys
import textwrap

import pytest

from liteq import backoff, registry
from liteq.codec import Codec
from liteq.errors import DuplicateTask, TaskNotFound
from liteq.registry import Definition


@pytest.fixture(autouse=True)
def no_tasks(monkeypatch):
    monkeypatch.setattr(registry, "_definitions", {})


def defined(function, name: str | None = None, queue: str = "default") -> Definition:
    return Definition(
        name=name or function.__name__,
        function=function,
        is_async=False,
        queue=queue,
        max_retries=3,
        timeout=None,
        priority=0,
        retry=backoff.DEFAULT,
        at_most_once=False,
        codec=Codec(function),
    )


def add(a, b): ...


def from_file(path, module: str):
    """The function `work` of the file, imported under this module name."""
    spec = importlib.util.spec_from_file_location(module, path)
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded.work


def in_no_file(module: str, text: str = "def work(): ..."):
    """The function `work` as a REPL or a notebook defines it."""
    space = {"__name__": module}
    exec(compile(text, "<stdin>", "exec"), space)
    return space["work"]


def test_registered_task_is_found():
    definition = defined(add)

    registry.register(definition)

    assert registry.find("add") is definition
    assert registry.get("add") is definition
    assert registry.definitions() == [definition]


def test_unknown_name_says_what_there_is_and_what_to_do():
    registry.register(defined(add))
    registry.register(defined(add, "a.first"))

    with pytest.raises(TaskNotFound) as caught:
        registry.find("sub")

    assert str(caught.value) == (
        "no task named 'sub' is registered here (registered: a.first, add); "
        "import its module, or load it with `liteq worker --app`"
    )


def test_unknown_name_in_an_empty_registry_says_so():
    with pytest.raises(TaskNotFound, match=r"\(registered: none at all\)"):
        registry.find("sub")


def test_get_of_an_unknown_name_is_none():
    assert registry.get("sub") is None


def test_definitions_come_by_name():
    for name in ("b", "a", "c"):
        registry.register(defined(add, name))

    assert [definition.name for definition in registry.definitions()] == ["a", "b", "c"]


def test_queues_are_those_of_the_tasks_and_default():
    registry.register(defined(add, "a", queue="reports"))
    registry.register(defined(add, "b", queue="emails"))
    registry.register(defined(add, "c", queue="reports"))

    assert registry.queues() == ["default", "emails", "reports"]


def test_forgotten_name_is_free_again():
    registry.register(defined(add))

    registry.forget("add")
    registry.forget("never was")

    assert registry.get("add") is None


def test_same_file_under_two_module_names_is_one_task(tmp_path):
    file = tmp_path / "tasks.py"
    file.write_text("def work(): ...\n")
    first = defined(from_file(file, "__main__"))
    second = defined(from_file(file, "tasks"))

    registry.register(first)
    registry.register(second)

    assert registry.find("work") is second


def test_file_reached_by_a_link_is_the_same_file(tmp_path):
    file, link = tmp_path / "tasks.py", tmp_path / "link.py"
    file.write_text("def work(): ...\n")
    link.symlink_to(file)

    registry.register(defined(from_file(file, "tasks")))
    registry.register(defined(from_file(link, "link")))

    assert registry.find("work").function.__module__ == "link"


def test_one_name_in_two_files_is_refused_naming_both(tmp_path):
    one, two = tmp_path / "one.py", tmp_path / "two.py"
    for file in (one, two):
        file.write_text("def work(): ...\n")
    registry.register(defined(from_file(one, "one")))

    with pytest.raises(DuplicateTask) as caught:
        registry.register(defined(from_file(two, "two")))

    assert str(caught.value) == (
        f"task name 'work' is taken by one.work ({one}:1); "
        f"give two.work ({two}:1) a name of its own: @task(name=...)"
    )
    assert registry.find("work").function.__module__ == "one"


def test_one_name_for_two_functions_of_a_file_is_refused(tmp_path):
    file = tmp_path / "tasks.py"
    file.write_text("def work(): ...\ndef other(): ...\n")
    registry.register(defined(from_file(file, "tasks"), "work"))
    spec = importlib.util.spec_from_file_location("tasks", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    with pytest.raises(DuplicateTask, match=r"taken by tasks\.work .*give tasks\.other"):
        registry.register(defined(module.other, "work"))


def test_function_made_again_within_another_replaces_the_old_one():
    def first(): ...

    def second(): ...

    registry.register(defined(first, "work"))
    registry.register(defined(second, "work"))

    assert registry.find("work").function is second


def test_function_redefined_in_a_session_replaces_the_old_one():
    registry.register(defined(in_no_file("__main__")))
    again = defined(in_no_file("__main__", "def better(x): ...\nwork = better"), "work")

    registry.register(again)

    assert registry.find("work") is again


def test_one_name_in_two_sessions_modules_is_refused():
    registry.register(defined(in_no_file("first")))

    with pytest.raises(DuplicateTask, match=r"taken by first\.work"):
        registry.register(defined(in_no_file("second")))


def test_decorated_function_is_known_by_its_own_file(tmp_path):
    """functools.wraps leaves the decorator's code object; the task is where it was written."""
    (tmp_path / "deco.py").write_text(
        textwrap.dedent(
            """
            import functools
            def logged(function):
                @functools.wraps(function)
                def wrapper(*args, **kwargs):
                    return function(*args, **kwargs)
                return wrapper
            """
        )
    )
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text("from deco import logged\n@logged\ndef work(): ...\n")
    sys.path.insert(0, str(tmp_path))
    try:
        one, two = (runpy.run_path(str(tmp_path / f"{name}.py"))["work"] for name in ("one", "two"))
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("deco", None)
    registry.register(defined(one))

    with pytest.raises(DuplicateTask, match=rf"{tmp_path}/one\.py:2.*{tmp_path}/two\.py:2"):
        registry.register(defined(two))


def test_callable_without_code_is_known_by_its_module():
    registry.register(defined(len, "count"))
    registry.register(defined(len, "count"))

    with pytest.raises(DuplicateTask, match=r"taken by builtins\.len; give"):
        registry.register(defined(add, "count"))
