"""Promises of the pytest plugin to users' own test runs."""

import os
import subprocess
import sys
import textwrap
from importlib.metadata import entry_points


def test_the_plugin_is_installed_by_its_entry_point():
    [plugin] = entry_points(group="pytest11", name="liteq")

    assert plugin.value == "liteq.pytest_plugin"


def test_liteq_db_is_private_empty_and_gone_afterwards(tmp_path):
    (tmp_path / "test_user.py").write_text(
        textwrap.dedent(
            """
            import os
            from liteq import brokers, task

            @task()
            def hello(): ...

            def test_one(liteq_db, tmp_path):
                assert os.environ["LITEQ_DB"] == str(liteq_db)
                assert liteq_db.parent == tmp_path
                hello.delay()
                assert brokers.current().count() == [("default", "pending", 1)]

            def test_two(liteq_db):
                assert "LITEQ_URL" not in os.environ
                assert brokers.current().count() == []

            def test_without():
                assert os.environ["LITEQ_DB"] == "mine.db"
                assert os.environ["LITEQ_URL"] == "memory://mine"
            """
        )
    )

    assert "3 passed" in user_pytest(tmp_path, LITEQ_DB="mine.db", LITEQ_URL="memory://mine")
    assert not (tmp_path / "mine.db").exists()


def test_who_does_not_use_the_plugin_imports_next_to_nothing(tmp_path):
    (tmp_path / "test_user.py").write_text(
        textwrap.dedent(
            """
            import sys

            def test_light():
                heavy = {"liteq.brokers.sqlite", "liteq.testing", "liteq.pools", "liteq.worker"}
                assert not heavy & set(sys.modules)
            """
        )
    )

    assert "1 passed" in user_pytest(tmp_path)


def user_pytest(folder, **variables):
    """What a user's own pytest says in that folder."""
    said = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-W",
            "error",
            "-p",
            "no:cacheprovider",
            str(folder),
        ],
        cwd=folder,
        check=False,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    return said.stdout + said.stderr
