"""The rules of live and ready, the address, the lag of the schedule: pure, on a manual clock."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from tests.unit.worker.values import NOW
from umbel.errors import ImproperlyConfigured
from umbel.model.pool_condition import PoolCondition
from umbel.model.schedule_entry import ScheduleEntry
from umbel.worker.health.address import HttpAddress, parse_address
from umbel.worker.health.store_watch import schedule_lag
from umbel.worker.health.vitals import Sight, live_rules, ready_rules
from umbel.worker.progress import Stillness
from umbel.worker.shutdown import Phase


def sight(phase=Phase.WORKING, **pool):
    condition = PoolCondition(**({"ready": 2, "wanted": 2} | pool))
    return Sight(phase=phase, pool=condition, held={}, processed={}, slots=2, pids=())


def test_a_worker_whose_threads_move_is_live():
    assert live_rules(14.9, 60.0, 15.0, 60.0) == []


def test_a_main_loop_that_does_not_answer_is_not_live():
    assert live_rules(16.0, 0.0, 15.0, 60.0) == ["the main loop has not answered for 16 s"]


def test_a_call_that_does_not_return_is_not_live():
    (reason,) = live_rules(0.0, 61.0, 15.0, 60.0)
    assert reason == "a call to the broker has not returned for 61 s"


def test_a_solo_worker_runs_tasks_where_it_would_answer():
    assert live_rules(3600.0, 0.0, math.inf, 60.0) == []


def test_ready_is_connected_with_an_executor():
    assert ready_rules(sight(), True) == []


@pytest.mark.parametrize(
    ("seen", "connected", "reasons"),
    [
        (sight(), False, ["not connected to the broker"]),
        (sight(Phase.WARM), True, ["the worker is shutting down"]),
        (sight(Phase.COLD), True, ["the worker is shutting down"]),
        (sight(ready=0), True, ["no executor is ready (of 2)"]),
        (sight(startable=False), True, ["no executor can be started any more"]),
        (None, True, ["the worker is starting"]),
        (None, False, ["not connected to the broker", "the worker is starting"]),
    ],
)
def test_not_ready_says_why(seen, connected, reasons):
    assert ready_rules(seen, connected) == reasons


def test_stillness_adds_up_what_was_looked_at():
    still = Stillness(30.0)
    assert [still.look(10.0, 1), still.look(15.0, 1), still.look(19.0, 1)] == [0.0, 5.0, 9.0]
    assert still.look(20.0, 2) == 0.0


def test_a_frozen_worker_is_not_taken_for_one_that_hangs():
    still = Stillness(30.0)
    still.look(0.0, 1)
    assert still.look(7200.0, 1) == 30.0


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("127.0.0.1:9100", HttpAddress("127.0.0.1", 9100), "127.0.0.1:9100"),
        (":0", HttpAddress("0.0.0.0", 0), "0.0.0.0:0"),
        ("[::1]:80", HttpAddress("::1", 80), "[::1]:80"),
        ("unix:/run/u.sock", HttpAddress(path="/run/u.sock"), "unix:/run/u.sock"),
    ],
)
def test_addresses(text, address, written):
    assert parse_address(text) == address
    assert str(address) == written
    assert parse_address(written) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("9100", "has no port"),
        ("localhost:http", "has no port"),
        ("localhost:²", "has no port"),
        ("localhost:65536", "has a port above 65535"),
        ("::1:80", "has more than one colon"),
        ("unix:", "names no path"),
    ],
)
def test_a_wrong_address_is_told_with_the_right_forms(text, why):
    with pytest.raises(ImproperlyConfigured, match=why) as caught:
        parse_address(text)
    assert repr(text) in str(caught.value)
    assert "127.0.0.1:9100" in str(caught.value)


def entry(name="e", **fields):
    return ScheduleEntry(name=name, task="t", rule={}, **fields)


def test_the_lag_is_that_of_the_most_overdue_entry():
    due = [entry(next_due=NOW - timedelta(seconds=n)) for n in (3, 7, -5)]
    assert schedule_lag(due, NOW) == 7.0


def test_what_is_paused_over_or_within_its_jitter_does_not_lag():
    late = NOW - timedelta(seconds=9)
    resting = [entry(next_due=late, paused=True), entry(), entry(next_due=late, jitter=10.0)]
    assert schedule_lag(resting, NOW) == 0.0
    assert schedule_lag([], NOW) == 0.0
