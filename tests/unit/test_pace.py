"""Pace: never idle, never greedy."""

from liteq.pools import pace
from liteq.pools.pace import MOST, Pace, share


def running(slots, in_hand, rate=0.0):
    """A lane that has so much in hand, and goes at this many jobs a second."""
    lane = Pace(slots)
    for second in range(1, 20 if rate else 1):
        lane.took(int(rate))
        lane.ended(int(rate), float(second))
    lane.took(in_hand)
    return lane


def test_an_empty_lane_takes_one_job_for_each_slot():
    assert Pace(4).room() == 4


def test_a_full_slow_lane_takes_nothing_ahead():
    lane = running(4, 4, rate=1)

    assert lane.room() == 0
    assert lane.closed()
    assert not lane.hungry()


def test_a_slot_that_falls_free_is_filled():
    lane = running(4, 4)

    lane.ended(1, 1.0)

    assert lane.room() == 1
    assert lane.hungry()
    assert not lane.closed()


def test_a_fast_lane_takes_some_moments_of_work_ahead():
    lane = running(2, 2, rate=5000)

    assert 5000 * pace.AHEAD <= lane.room() <= 5000 * 4 * pace.AHEAD


def test_a_fast_lane_waits_until_half_is_used_up_so_that_batches_are_large():
    lane = running(2, 0, rate=5000)
    lane.took(lane.room())
    had = lane.in_hand

    lane.ended(had // 4, 19.001)
    assert lane.room() == 0
    lane.ended(had // 4 + 2, 19.002)
    assert lane.room() >= had // 2


def test_no_lane_has_more_in_hand_than_the_marks_can_tell():
    lane = running(2, 0, rate=10_000_000)

    assert lane.room() == MOST


def test_a_lane_that_slows_down_takes_less_ahead():
    lane = running(2, 0, rate=5000)
    for second in range(20, 40):
        lane.took(1)
        lane.ended(1, float(second))

    assert lane.room() == 2


def test_a_lane_that_has_stalled_takes_nothing_ahead_until_it_moves_again():
    lane = running(2, 2, rate=5000)

    lane.stalled()
    assert lane.closed()

    lane.ended(1, 99.0)
    assert lane.room() == 1


def test_both_kinds_are_wanted_while_both_have_room():
    assert share(running(2, 0), running(20, 0)) == (20, None)
    assert share(running(2, 1), running(20, 19)) == (1, None)


def test_none_is_wanted_while_both_are_full():
    assert share(running(2, 2), running(20, 20)) == (0, None)


def test_only_coroutines_are_wanted_while_plain_functions_are_full():
    plain, coroutine = running(2, 2), running(20, 5)

    assert share(plain, coroutine) == (15, plain)


def test_only_plain_functions_are_wanted_while_coroutines_are_full():
    plain, coroutine = running(2, 1), running(20, 20)

    assert share(plain, coroutine) == (1, coroutine)


def test_no_kind_is_picked_out_for_work_ahead_alone():
    plain, coroutine = running(2, 3, rate=5000), running(20, 20)

    assert share(plain, coroutine) == (0, None)


def test_a_claim_for_one_kind_may_bring_only_the_other_and_still_fit():
    plain, coroutine = running(2, 900, rate=10_000_000), running(1000, 0)

    room, full = share(plain, coroutine)

    assert full is None
    assert plain.in_hand + room <= MOST


def test_lane_that_may_not_claim_ahead_has_what_it_runs():
    lane = Pace(2, ahead=False)

    for moment in range(1, 50):
        lane.took(lane.room())
        lane.ended(2, moment / 1000)

    assert lane.room() == 2


def test_lanes_that_may_not_claim_ahead_take_what_either_could_begin():
    plain, coroutine = Pace(2, ahead=False), Pace(20, ahead=False)

    assert share(plain, coroutine) == (2, None)
