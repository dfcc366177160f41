"""The README, in both languages, does what it says."""

import pytest
from blocks import ROOT, Reader, read

README = ROOT / "README.md"
RUSSIAN = ROOT / "README.ru.md"


@pytest.mark.parametrize("page", [README, RUSSIAN], ids=lambda page: page.name)
def test_every_block_works_for_a_reader_from_top_to_end(page, tmp_path, request, need):
    Reader(tmp_path, lambda: request.getfixturevalue("redis_server"), need).follow(page)


def test_both_languages_show_the_same():
    def shape(page):
        return [(block.language, block.how.partition(":")[0]) for block in read(page)]

    assert shape(README) == shape(RUSSIAN)
