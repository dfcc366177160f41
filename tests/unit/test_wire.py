"""Wire: what a worker sends is what its pool process gets."""

import os

import pytest

from liteq.job import Job, Outcome
from liteq.pools import wire

JOB = Job(7, "add", '{"args": [1, "ж"]}', "default", -3, 2, 3, 1.5, "w.1.7", 1, False)
OUTCOME = Outcome("w.1.7", "failed", 1.0, 2.5, None, "ValueError: ж", "Traceback", 0.5, True)


@pytest.fixture
def pair():
    reader, writer = wire.pipe()
    yield writer, reader
    for end in (reader, writer):
        end.close()


def never():
    raise AssertionError("a small job needs no file")


def test_a_job_arrives_as_it_was():
    assert wire.read_job(memoryview(wire.job_message(JOB, never))) == JOB


def test_a_large_job_travels_as_a_private_file_that_its_reader_removes(tmp_path):
    large, path = JOB._replace(payload="x" * 2 * wire.LARGEST), str(tmp_path / "spill")

    message = wire.job_message(large, lambda: path)

    assert len(message) < 1000
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert wire.read_job(memoryview(message)) == large
    assert not os.path.exists(path)


def test_outcomes_arrive_in_order_however_they_are_cut(pair):
    sender, receiver = pair
    outcomes = [OUTCOME._replace(receipt=f"w.1.{n}", result="x" * n * 1000) for n in range(9)]
    sent = b"".join(wire.outcome_frame(outcome) for outcome in outcomes)
    stream, got = wire.Stream(receiver.fileno()), []

    for start in range(0, len(sent), 777):
        wire.send(sender.fileno(), sent[start : start + 777])
        got += [Outcome._make(fields) for fields in stream.read()]

    assert got == outcomes
    assert not stream.ended


def test_an_outcome_larger_than_the_kernels_buffer_arrives(pair):
    import threading

    sender, receiver = pair
    large = OUTCOME._replace(result="x" * 5_000_000)
    thread = threading.Thread(target=wire.send, args=(sender.fileno(), wire.outcome_frame(large)))
    thread.start()
    stream, got = wire.Stream(receiver.fileno()), []

    while not got:
        got += [Outcome._make(fields) for fields in stream.read()]

    thread.join()
    assert got == [large]


def test_reading_an_idle_stream_does_not_wait(pair):
    assert list(wire.Stream(pair[1].fileno()).read()) == []


def test_the_end_of_the_other_side_is_told_after_its_last_words(pair):
    sender, receiver = pair
    stream = wire.Stream(receiver.fileno())
    wire.send(sender.fileno(), wire.outcome_frame(OUTCOME) + b"\x99\x00\x00\x00half of")
    sender.close()

    assert [Outcome._make(fields) for fields in stream.read()] == [OUTCOME]
    list(stream.read())
    assert stream.ended


def test_an_order_names_what_and_whom(pair):
    sender, receiver = pair
    wire.send(sender.fileno(), wire.order_frame("stop", "w.1.7"))

    assert list(wire.Stream(receiver.fileno()).read()) == [("stop", "w.1.7")]
