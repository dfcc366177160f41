"""Fixtures of the worker tests: a database, and workers that end with the test."""

import pytest
from crew import Crew, Notes

from liteq import brokers


def _database(folder, patch):
    patch.setenv("LITEQ_DB", str(folder / "liteq.db"))
    patch.delenv("LITEQ_URL", raising=False)


@pytest.fixture
def crew(tmp_path, monkeypatch):
    """Workers on a database of the test's own."""
    _database(tmp_path, monkeypatch)
    crew = Crew(tmp_path)
    yield crew
    crew.dismiss()
    brokers.current().close()


@pytest.fixture(scope="module")
def shared_crew(tmp_path_factory):
    """Workers on a database that the tests of a module share."""
    folder = tmp_path_factory.mktemp("shared")
    with pytest.MonkeyPatch.context() as patch:
        _database(folder, patch)
        crew = Crew(folder)
        yield crew
        crew.dismiss()
        brokers.current().close()


@pytest.fixture
def notes(tmp_path):
    """A file for tasks to write into."""
    return Notes(tmp_path / "notes")
