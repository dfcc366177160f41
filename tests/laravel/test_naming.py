"""What Laravel calls its keys, by its version."""

import pytest

from liteq.laravel import naming


def test_prefixes_have_hyphens_since_laravel_13():
    assert naming.redis_prefix(12) == "laravel_database_"
    assert naming.redis_prefix(13) == "laravel-database-"
    assert naming.cache_prefix(13) == "laravel-cache-"


def test_cache_prefix_had_a_colon_up_to_laravel_10():
    assert [naming.cache_prefix(version) for version in (10, 11, 12)] == [
        "laravel_cache_:",
        "laravel_cache_",
        "laravel_cache_",
    ]


def test_lock_of_a_unique_job_has_a_colon_since_laravel_11():
    assert naming.unique_lock(10, "App\\Jobs\\X", "7") == "laravel_unique_job:App\\Jobs\\X7"
    assert naming.unique_lock(11, "App\\Jobs\\X", "7") == "laravel_unique_job:App\\Jobs\\X:7"


@pytest.mark.parametrize("version", [7, 14, "12", None])
def test_version_that_is_not_known_is_refused(version):
    with pytest.raises(ValueError, match=r"laravel=.* must be a version from 8 to 13"):
        naming.checked(version)
