"""Every page of docs/ does what it says, and its links lead somewhere."""

import re

import pytest
from blocks import ROOT, Reader

PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [*PAGES, *ROOT.glob("*.md"), *ROOT.glob("examples/*.md"), *ROOT.glob("benchmarks/*.md")]
LINK = re.compile(r"\]\(([^)\s]+)\)")


def named(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_block_works_for_a_reader_from_top_to_end(page, tmp_path, request, need):
    Reader(tmp_path, lambda: request.getfixturevalue("redis_server"), need).follow(page)


@pytest.mark.parametrize("page", TEXTS, ids=named)
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    links = [link for link in LINK.findall(text) if not re.match(r"\w+:", link)]

    broken = [link for link in links if not _leads(page, link)]

    assert broken == []


def _leads(page, link):
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target)


def _anchors(page):
    """As GitHub makes them: lower case, no punctuation, -1 and -2 where a heading comes again."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE):
        name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        again = sum(known.rpartition("-")[0] == name or known == name for known in found)
        found.add(f"{name}-{again}" if again else name)
    return found
