"""Settings: where each comes from, and what is refused."""

import dataclasses
import inspect
import re

import pytest

from liteq import config
from liteq.config import Settings, broker_url, settings


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch):
    for field in dataclasses.fields(Settings):
        monkeypatch.delenv(f"LITEQ_{field.name.upper()}", raising=False)
    monkeypatch.delenv("LITEQ_URL", raising=False)
    monkeypatch.delenv("LITEQ_DB", raising=False)


def test_defaults_hold_when_nothing_is_said():
    assert settings() == Settings()


def test_environment_wins_over_the_default(monkeypatch):
    monkeypatch.setenv("LITEQ_LEASE", "12.5")

    assert settings().lease == 12.5


def test_url_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("LITEQ_LEASE", "12.5")

    assert settings({"lease": "7"}).lease == 7


def test_argument_wins_over_the_url():
    assert settings({"lease": "7"}, lease=5).lease == 5


def test_argument_of_none_counts_as_not_given(monkeypatch):
    monkeypatch.setenv("LITEQ_LEASE", "12.5")

    assert settings(lease=None).lease == 12.5
    assert settings({"lease": "7"}, lease=None).lease == 7


def test_environment_is_read_when_used_not_at_import(monkeypatch):
    before = settings().payload_limit
    monkeypatch.setenv("LITEQ_PAYLOAD_LIMIT", "100")
    during = settings().payload_limit
    monkeypatch.delenv("LITEQ_PAYLOAD_LIMIT")

    assert (before, during, settings().payload_limit) == (1024 * 1024, 100, 1024 * 1024)


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_setting_can_be_given_as_text_in_its_own_type(field, monkeypatch):
    text = str(field.default if isinstance(field.default, str) else field.default + 1)
    monkeypatch.setenv(f"LITEQ_{field.name.upper()}", text)

    value = getattr(settings(), field.name)

    assert type(value) is type(field.default)
    assert str(value) == text


def test_text_that_is_no_number_is_refused_with_its_source(monkeypatch):
    monkeypatch.setenv("LITEQ_LEASE", "long")

    with pytest.raises(
        ValueError, match=r"lease='long' \(from LITEQ_LEASE\) is not a number; remo"
    ):
        settings()
    with pytest.raises(ValueError, match=r"lease='ever' \(from the URL\).*the default, 30\.0"):
        settings({"lease": "ever"})


def test_whole_number_is_asked_for_where_a_fraction_makes_no_sense():
    with pytest.raises(ValueError, match=r"async_limit='2.5' \(from the URL\) is not a whole num"):
        settings({"async_limit": "2.5"})


def test_unknown_argument_is_refused():
    with pytest.raises(TypeError, match=r"no setting is named 'leese'; there are .*, lease,"):
        settings(leese=5)


def test_unknown_word_in_the_url_is_for_others():
    assert settings({"mode": "ro"}) == Settings()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"synchronous": "OFF"}, "synchronous='OFF': use NORMAL, FULL or EXTRA"),
        ({"start_method": "forkserver"}, "start_method='forkserver': use auto, fork or spawn"),
        ({"shutdown_grace": -1}, "shutdown_grace=-1 must not be negative"),
        ({"max_jobs": -1}, "max_jobs=-1 must not be negative"),
        ({"shutdown_grace": float("nan")}, "shutdown_grace=nan must not be negative"),
        ({"lease": 0.5}, "lease=0.5, async_limit=10 and payload_limit=1048576 must each be at le"),
        ({"async_limit": 0}, "async_limit=0"),
        ({"payload_limit": 0}, "payload_limit=0"),
    ],
)
def test_value_that_could_only_fail_later_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        settings(**given)


def test_synchronous_may_be_written_small():
    assert settings(synchronous="full").synchronous == "full"


def test_settings_do_not_change_under_anybody():
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings().lease = 5


def test_database_is_liteq_db_by_default():
    assert broker_url() == "sqlite:///liteq.db"


def test_liteq_db_names_the_file(monkeypatch):
    monkeypatch.setenv("LITEQ_DB", "/srv/tasks.db")

    assert broker_url() == "sqlite:////srv/tasks.db"


def test_liteq_url_wins_over_liteq_db(monkeypatch):
    monkeypatch.setenv("LITEQ_DB", "/srv/tasks.db")
    monkeypatch.setenv("LITEQ_URL", "memory://")

    assert broker_url() == "memory://"


@pytest.mark.parametrize("variable", ["LITEQ_DB", "LITEQ_URL"])
def test_empty_variable_counts_as_unset(variable, monkeypatch):
    monkeypatch.setenv(variable, "")

    assert broker_url() == "sqlite:///" + config.DEFAULT_DB


@pytest.mark.parametrize("field", dataclasses.fields(Settings), ids=lambda field: field.name)
def test_every_setting_is_documented_below_its_line(field):
    source = inspect.getsource(Settings)

    assert re.search(rf'^    {field.name}: \w+ = .+\n    """[A-Z]', source, re.MULTILINE)


def test_empty_variable_leaves_the_default(monkeypatch):
    monkeypatch.setenv("LITEQ_LEASE", "")

    assert settings().lease == Settings().lease
