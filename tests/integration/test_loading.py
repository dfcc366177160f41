"""Apps are loaded in a process of their own: what an import leaves behind must not meet others."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

TASK = "from liteq import task\n@task()\ndef {name}(): pass\n"


@pytest.fixture
def folder(tmp_path):
    """Makes files below a folder: `folder({"pkg/tasks.py": "..."})`."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    return make


def load(cwd, *apps, then=""):
    """What is registered after loading the apps, or the error's text; then what `then` shows."""
    script = textwrap.dedent(
        """
        import sys
        sys.path.remove("")  # -c puts it there; the console script does not have it
        import json
        from liteq import errors, loading, registry
        apps, then = json.loads(sys.argv[1])
        try:
            for app in apps:
                loading.load(app)
        except errors.AppNotFound as error:
            answer = {"fault": str(error)}
        except BaseException as error:
            import traceback
            lines = traceback.format_exception(type(error), error, loading.users_traceback(error))
            answer = {"raised": "".join(lines)}
        else:
            names = [definition.name for definition in registry.definitions()]
            answer = {"tasks": names, "shown": eval(then) if then else None}
        print(json.dumps(answer))
        """
    )
    run = subprocess.run(
        [sys.executable, "-c", script, json.dumps([apps, then])],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "app", ["tasks.py", "./tasks.py", "tasks", "tasks:add", "tasks.py:add.name", " tasks.py "]
)
def test_a_file_in_the_working_directory_is_loaded(folder, app):
    cwd = folder({"tasks.py": TASK.format(name="add")})

    assert load(cwd, app)["tasks"] == ["add"]


def test_an_absolute_path_is_loaded(folder, tmp_path):
    folder({"there/tasks.py": TASK.format(name="add"), "here/x.py": ""})

    assert load(tmp_path / "here", str(tmp_path / "there/tasks.py"))["tasks"] == ["add"]


def test_a_file_is_the_module_that_other_code_imports(folder):
    cwd = folder(
        {"tasks.py": TASK.format(name="add"), "other.py": "import tasks\nfrom tasks import add\n"}
    )

    loaded = load(
        cwd, "tasks.py", "other.py", then="sys.modules['tasks'] is sys.modules['other'].tasks"
    )

    assert loaded == {"tasks": ["add"], "shown": True}


def test_a_file_inside_a_package_has_its_dotted_name(folder):
    cwd = folder(
        {
            "src/shop/__init__.py": "",
            "src/shop/mail/__init__.py": "",
            "src/shop/mail/tasks.py": "from ..names import NAME\n" + TASK.format(name="send"),
            "src/shop/names.py": "NAME = 'x'",
        }
    )

    loaded = load(cwd, "src/shop/mail/tasks.py", then="'shop.mail.tasks' in sys.modules")

    assert loaded == {"tasks": ["send"], "shown": True}


def test_a_package_is_loaded_by_its_init_file(folder):
    cwd = folder({"shop/__init__.py": TASK.format(name="send")})

    assert load(cwd, "shop/__init__.py", then="'shop' in sys.modules")["shown"] is True


def test_neighbours_of_a_file_elsewhere_can_be_imported(folder, tmp_path):
    folder({"there/tasks.py": "import beside", "there/beside.py": TASK.format(name="b"), "x/y": ""})

    assert load(tmp_path / "x", "../there/tasks.py")["tasks"] == ["b"]


def test_the_working_directory_is_importable_first(folder):
    cwd = folder({"sub/tasks.py": "import helper", "helper.py": TASK.format(name="h")})

    loaded = load(cwd, "sub/tasks.py", then="sys.path[0]")

    assert loaded == {"tasks": ["h"], "shown": str(cwd)}


@pytest.mark.parametrize(
    ("app", "words"),
    [
        (
            "task.py",
            ["no file", "task.py", "the working directory is", "there is json.py, tasks.py"],
        ),
        ("nowhere/tasks.py", ["no file", "nowhere/tasks.py"]),
        ("./pkg", ["is a folder", "name a file in it", "jobs.py"]),
        ("./notes.txt", ["no Python file"]),
        ("./tasks.v2.py", ["the dot in its name", "rename"]),
        ("json.py", ["the module name 'json' is taken by", "rename"]),
        ("shop", ["no module 'shop'", "tasks.py"]),
        ("pkg.shop", ["no module 'pkg.shop'"]),
        ("pkg", ["a folder without an __init__.py", "jobs.py"]),
        ("tasks:ad", ["no 'ad'", "it has", "add"]),
        ("tasks.py:add.nope", ["no 'nope'"]),
        ("two words", ["no module name"]),
        ("", ["no module name"]),
        (".tasks", ["no module name"]),
    ],
)
def test_what_cannot_be_found_is_explained(folder, app, words):
    cwd = folder(
        {
            "tasks.py": TASK.format(name="add"),
            "tasks.v2.py": "",
            "json.py": "",
            "notes.txt": "",
            "pkg/jobs.py": "",
        }
    )

    fault = load(cwd, app)["fault"]

    assert fault.startswith("--app")
    for word in words:
        assert word in fault


def test_a_missing_import_inside_the_users_code_is_the_users_error(folder):
    cwd = folder({"tasks.py": "import not_there\n"})

    for app in ("tasks.py", "tasks"):
        raised = load(cwd, app)["raised"]
        assert "ModuleNotFoundError: No module named 'not_there'" in raised


def test_the_traceback_begins_in_the_users_code(folder):
    cwd = folder({"tasks.py": "import deep\n", "deep.py": "def f():\n    1 / 0\nf()\n"})

    lines = load(cwd, "tasks.py")["raised"].splitlines()

    assert [line.strip() for line in lines if line.startswith("  File")] == [
        f'File "{cwd}/tasks.py", line 1, in <module>',
        f'File "{cwd}/deep.py", line 3, in <module>',
        f'File "{cwd}/deep.py", line 2, in f',
    ]


def test_a_syntax_error_is_shown_without_any_of_our_frames(folder):
    cwd = folder({"tasks.py": "def broken(:\n"})

    lines = load(cwd, "tasks.py")["raised"].splitlines()

    assert [line.strip() for line in lines if line.startswith("  File")] == [
        f'File "{cwd}/tasks.py", line 1'
    ]
    assert lines[-1].startswith("SyntaxError")


def test_the_folders_to_watch_are_those_of_the_apps(folder, tmp_path, monkeypatch):
    from liteq import loading

    cwd = folder({"here/tasks.py": "", "there/jobs.py": "", "here/sub/more.py": ""}) / "here"
    monkeypatch.chdir(cwd)

    folders = loading.folders(["sub/more.py", "../there/jobs.py:x", "liteq.core", "no_such_module"])

    assert folders == sorted([str(cwd), str(tmp_path / "there"), os.path.dirname(loading.__file__)])


@pytest.mark.parametrize(("tasks", "warns"), [("x = 1", True), (TASK.format(name="add"), False)])
def test_an_app_without_tasks_is_warned_of(folder, tasks, warns):
    cwd = folder({"tasks.py": tasks})
    script = (
        "from liteq import loading\nloading.load('tasks.py')\nloading.warn_if_empty(['tasks.py'])"
    )

    run = subprocess.run(
        [sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True, check=True
    )

    assert ("tasks.py: loaded, but no task is defined there" in run.stderr) is warns
