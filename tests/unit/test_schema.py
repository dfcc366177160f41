"""Schema: an older LiteQ works beside a newer one, up to where it says that it cannot."""

import sqlite3

import pytest

from liteq import brokers
from liteq.errors import SchemaTooNew
from liteq.job import NewJob


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "queue.db"
    brokers.connect(f"sqlite:///{file}").enqueue([NewJob("add", "")])
    brokers.connect(f"sqlite:///{file}").close()
    return file


def written_by(version, path):
    with sqlite3.connect(path) as connection:
        connection.execute("ALTER TABLE tasks ADD COLUMN of_the_future TEXT DEFAULT 'x'")
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()


def test_a_file_that_a_newer_liteq_has_added_to_goes_on_working(path):
    written_by(7, path)
    broker = brokers.connect(f"sqlite:///{path}")

    broker.enqueue([NewJob("add", "")])

    assert len(broker.claim("w", ["default"], 9, 30)) == 2
    broker.close()


def test_a_file_of_another_generation_is_refused(path):
    written_by(1000, path)

    with pytest.raises(SchemaTooNew, match=r"queue\.db has schema version 1000.*upgrade liteq"):
        brokers.connect(f"sqlite:///{path}").count()
