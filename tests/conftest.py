"""What all tests share: Hypothesis profiles, and skips that a CI does not forgive."""

import os

import pytest
from hypothesis import settings

CI = os.environ.get("CI", "").lower() == "true"

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile("ci" if CI else "dev")


@pytest.fixture
def need():
    """`need(found, "a PHP interpreter")`: without it, skip locally and fail in CI."""

    def check(found, what):
        if found:
            return
        if CI:
            pytest.fail(f"this test needs {what}, and CI must have it", pytrace=False)
        pytest.skip(f"needs {what}")

    return check
