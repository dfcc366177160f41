"""The pytest plugin: the fixture `liteq_db`. What to do with it is told in `liteq.testing`.

Pytest imports this in every run of everybody who has LiteQ installed, so nothing else is imported
until the fixture is used.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def liteq_db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path of a private, empty database, which LITEQ_DB names while the test runs."""
    from liteq import brokers, config

    path = tmp_path / "liteq.db"
    monkeypatch.setenv("LITEQ_DB", str(path))
    monkeypatch.delenv("LITEQ_URL", raising=False)
    url = config.broker_url()
    yield path
    brokers.connect(url).close()
