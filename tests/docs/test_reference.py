"""The reference stays in step with the code, and the names that `liteq` exports are pinned."""

import re
import runpy

import pytest
from blocks import ROOT

import liteq
from liteq.db import get_conn

GENERATOR = ROOT / "docs" / "generate.py"
USER_TABLES = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
EXPORTS = re.compile(r"<!-- exports -->(.*?)<!-- end of exports -->", re.DOTALL)


@pytest.fixture(scope="module")
def pages():
    return runpy.run_path(str(GENERATOR))["pages"]()


@pytest.mark.parametrize("name", ["settings.md", "errors.md", "cli.md", "lara-queue.md"])
def test_a_page_says_what_the_code_says(pages, name):
    written = (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8")

    assert written == pages[name], "say `make docs` and commit what it writes"


def test_the_exported_names_are_those_on_record():
    [listed] = EXPORTS.findall((ROOT / "docs/reference/api.md").read_text(encoding="utf-8"))

    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(liteq.__all__)


def test_every_exported_name_is_there():
    assert [name for name in liteq.__all__ if not hasattr(liteq, name)] == []


def test_the_readmes_tell_the_defaults():
    defaults = liteq_settings()
    for page in ("README.md", "README.ru.md"):
        rows = re.findall(
            r"\| `LITEQ_(\w+)` \| `([\w.]+)` \|", (ROOT / page).read_text(encoding="utf-8")
        )
        told = {name.lower(): value for name, value in rows if name != "DB"}
        assert told == {name: defaults[name] for name in told}
        assert len(told) >= 5


def liteq_settings():
    from liteq.config import Settings

    return {
        name: f"{value:g}" if isinstance(value, float) else str(value)
        for name, value in (
            (field, getattr(Settings(), field)) for field in Settings.__dataclass_fields__
        )
    }


def test_the_layers_that_are_drawn_are_those_that_lint_checks():
    drawn = re.search(
        r"<!-- layers -->\n```text\n(.*?)```",
        (ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8"),
        re.DOTALL,
    )[1]
    checked = re.search(
        r'containers = \["liteq"\].*?layers = \[\n(.*?)\]',
        (ROOT / "pyproject.toml").read_text(encoding="utf-8"),
        re.DOTALL,
    )[1]
    there = re.sub(r" \| \(\w+\)|\(\w+\) \| ", "", checked)  # (later) rooms are optional

    assert drawn.splitlines() == re.findall(r'"(.*)"', there)


def test_every_column_of_every_table_is_explained(tmp_path, monkeypatch):
    monkeypatch.setenv("LITEQ_DB", str(tmp_path / "q.db"))
    page = (ROOT / "docs/reference/tables.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    connection = get_conn()
    tables = [name for (name,) in connection.execute(USER_TABLES)]
    assert {*tables, "Versions"} == sections.keys()

    for table in tables:
        columns = {row["name"] for row in connection.execute(f"PRAGMA table_info({table})")}
        told = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in _rows(sections[table])]
        assert {name for names in told for name in names} == columns
    connection.close()


def _rows(section):
    return [line for line in section.splitlines() if line.startswith("| `")]


def test_the_package_and_the_changelog_are_of_one_version():
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")

    assert re.search(r'^version = "(.*)"', text, re.MULTILINE)[1] == liteq.__version__
    assert liteq.__version__.partition(".dev")[0] in changes
