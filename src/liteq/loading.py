"""Loading: imports the user's code that `--app` names, so that its tasks are registered.

Knows nothing of what the code does. Its own faults are AppNotFound; an exception of the user's
code comes through as it is.
"""

import importlib
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable, Sequence
from types import ModuleType, TracebackType

from liteq import registry
from liteq.errors import AppNotFound

logger = logging.getLogger(__name__)


def load(app: str) -> None:
    """Import `tasks.py`, `path/to/tasks.py`, `package.module` or any of these with `:attribute`.

    The working directory becomes importable. A file is imported under the name that other code
    would import it by, so that there is one module object of it. Raises AppNotFound saying what
    to do, or what the user's code raises.
    """
    _make_importable(os.getcwd())
    target, _, attribute = app.strip().partition(":")
    module = _from_file(target) if _looks_like_a_path(target) else _from_name(target)
    if attribute:
        _check_attribute(module, attribute)


def warn_if_empty(apps: Sequence[str]) -> None:
    """Log a warning if all that was loaded has registered no task."""
    if apps and not registry.definitions():
        logger.warning(
            "%s: loaded, but no task is defined there; is the @task() missing, "
            "or is it in another module?",
            ", ".join(apps),
        )


def folders(apps: Iterable[str]) -> list[str]:
    """Where the code of these apps is, for `--reload` to watch; nothing is imported."""
    found = {os.path.realpath(os.getcwd())}
    for app in apps:
        target = app.partition(":")[0]
        if _looks_like_a_path(target):
            found.add(os.path.dirname(os.path.realpath(os.path.expanduser(target))))
        else:
            found.update(_folder_of_package(target.partition(".")[0]))
    return [folder for folder in sorted(found) if not _is_inside(folder, found - {folder})]


def users_traceback(error: BaseException) -> TracebackType | None:
    """The error's traceback from the first line of the user's code on; None: it has none there."""
    frames = error.__traceback__
    while frames is not None and not _is_ours(frames):  # who called us
        frames = frames.tb_next
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    return frames


def _looks_like_a_path(target: str) -> bool:
    return target.endswith(".py") or os.sep in target or "/" in target


def _from_file(target: str) -> ModuleType:
    path = os.path.realpath(os.path.expanduser(target))
    if os.path.isdir(path):
        raise AppNotFound(
            f"--app {target}: that is a folder; name a file in it{_python_files_of(path)}"
        )
    if not os.path.isfile(path):
        raise AppNotFound(
            f"--app {target}: there is no file {path} "
            f"(the working directory is {os.getcwd()}{_python_files_of(os.path.dirname(path))})"
        )
    if not path.endswith(".py"):
        raise AppNotFound(f"--app {target}: that is no Python file; its name must end in .py")
    return _imported_from(path, target)


def _imported_from(path: str, target: str) -> ModuleType:
    root, name = _root_and_name(path)
    if os.path.basename(path).count(".") > 1:
        raise AppNotFound(
            f"--app {target}: {os.path.basename(path)} cannot be imported for the dot in its "
            "name; rename it"
        )
    _make_importable(root, position=1)
    module = importlib.import_module(name)
    found = getattr(module, "__file__", None)
    if found is None or os.path.realpath(found) != path:
        raise AppNotFound(
            f"--app {target}: the module name {name!r} is taken by {found or 'a built-in module'}; "
            "rename your file"
        )
    return module


def _root_and_name(path: str) -> tuple[str, str]:
    """The folder that must be importable, and the dotted name of this file from there."""
    folder, file = os.path.split(path)
    parts = [] if file == "__init__.py" else [file[: -len(".py")]]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    return folder, ".".join(parts)


def _from_name(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise AppNotFound(
            f"--app {name!r} is no module name; give a file (tasks.py), a module (package.tasks) "
            "or module:attribute"
        )
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # an import inside of the user's code
        raise AppNotFound(
            f"--app {name}: there is no module {error.name!r} in the working directory "
            f"({os.getcwd()}{_python_files_of(os.getcwd())}) or among the installed packages"
        ) from None
    if getattr(module, "__file__", None) is None and hasattr(module, "__path__"):
        folder = next(iter(module.__path__))
        raise AppNotFound(
            f"--app {name}: {folder} is a folder without an __init__.py; "
            f"name a module in it{_python_files_of(folder)}"
        )
    return module


def _check_attribute(module: ModuleType, attribute: str) -> None:
    value: object = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            have = sorted(name for name in vars(module) if not name.startswith("_"))
            raise AppNotFound(
                f"--app {module.__name__}:{attribute}: there is no {part!r} in it"
                f"{_some(have, '; it has ')}"
            )
        value = getattr(value, part)


def _make_importable(folder: str, position: int = 0) -> None:
    if folder not in sys.path[: position + 1]:
        sys.path.insert(position, folder)
        importlib.invalidate_caches()


def _python_files_of(folder: str) -> str:
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".py"))
    except OSError:
        return ""
    return _some(names, "; there is ")


def _folder_of_package(name: str) -> list[str]:
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return []
    return list(spec.submodule_search_locations or ()) if spec else []


def _is_inside(folder: str, others: Iterable[str]) -> bool:
    return any(folder.startswith(os.path.join(other, "")) for other in others)


def _some(names: Iterable[str], lead: str, most: int = 6) -> str:
    names = list(names)
    if not names:
        return ""
    return lead + ", ".join(names[:most]) + (", …" if len(names) > most else "")


def _is_ours(frames: TracebackType) -> bool:
    """Whether the first of these frames is LiteQ's or importlib's."""
    file = frames.tb_frame.f_code.co_filename
    if file.startswith("<frozen importlib"):
        return True
    return os.path.dirname(file) in (os.path.dirname(importlib.__file__), os.path.dirname(__file__))
