import pytest

from liteq import records
from liteq.job import JobRecord

STORED = JobRecord(
    id=7,
    name="add",
    payload='{"args": [1, 2], "kwargs": {}}',
    queue="default",
    status="done",
    priority=0,
    attempts=1,
    max_retries=3,
    worker_id="w",
    run_at=None,
    created_at="2026-01-31T09:00:00.000000Z",
    started_at="2026-01-31T09:00:01.000000Z",
    finished_at="2026-01-31T09:00:02.000000Z",
    result="3",
    error=None,
    timeout=None,
)


def test_a_record_becomes_a_dict_of_all_its_columns():
    columns = records.as_dict(STORED)

    assert list(columns) == list(JobRecord._fields)
    assert columns["payload"] == STORED.payload
    assert columns["created_at"] == STORED.created_at


@pytest.mark.parametrize(
    ("stored", "value"),
    [('{"sum": [1, 2]}', {"sum": [1, 2]}), ("null", None), (None, None), ('"text"', "text")],
)
def test_the_result_is_decoded(stored, value):
    assert records.as_dict(STORED._replace(result=stored))["result"] == value


def test_a_result_that_is_no_json_stays_text():
    assert records.as_dict(STORED._replace(result="it's done"))["result"] == "it's done"
