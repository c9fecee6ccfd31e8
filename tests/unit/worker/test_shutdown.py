"""How a shutdown goes on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from umbel.worker.shutdown import Phase, Shutdown


def test_the_first_request_is_warm_and_the_second_cold():
    shutdown = Shutdown(25.0)
    assert shutdown.ask(cold=False, now=1.0)
    assert shutdown.phase is Phase.WARM
    assert shutdown.ask(cold=False, now=2.0)
    assert shutdown.phase is Phase.COLD


def test_a_cold_request_skips_the_warm_phase():
    shutdown = Shutdown(25.0)
    assert shutdown.ask(cold=True, now=1.0)
    assert shutdown.phase is Phase.COLD


def test_a_warm_shutdown_lasts_its_timeout():
    shutdown = Shutdown(25.0)
    shutdown.ask(cold=False, now=100.0)
    assert not shutdown.expired(124.9)
    assert shutdown.expired(125.0)
    assert shutdown.left(110.0) == 15.0


def test_without_a_timeout_it_waits_for_ever():
    shutdown = Shutdown(None)
    shutdown.ask(cold=False, now=0.0)
    assert not shutdown.expired(1e9)
    assert shutdown.left(1e9) is None


def test_nothing_expires_while_it_works():
    assert not Shutdown(0.0).expired(1e9)


@given(st.lists(st.booleans(), max_size=6))
def test_it_never_goes_back(requests):
    shutdown = Shutdown(1.0)
    phases = [shutdown.phase]
    for moment, cold in enumerate(requests):
        shutdown.ask(cold=cold, now=float(moment))
        phases.append(shutdown.phase)
    assert phases == sorted(phases)


def test_a_soft_shutdown_gives_running_tasks_their_time_before_a_cold_one():
    shutdown = Shutdown(25.0, soft=10.0)
    assert shutdown.ask(cold=True, now=100.0)
    assert shutdown.phase is Phase.WARM
    assert shutdown.left(104.0) == 6.0
    assert shutdown.expired(110.0)
    assert shutdown.ask(cold=True, now=110.0, at_once=True)
    assert shutdown.phase is Phase.COLD


def test_a_soft_shutdown_after_a_warm_one_begins_anew_and_a_third_request_is_cold():
    shutdown = Shutdown(None, soft=10.0)
    assert shutdown.ask(cold=False, now=0.0)
    assert not shutdown.ask(cold=False, now=50.0)
    assert shutdown.phase is Phase.WARM
    assert shutdown.left(55.0) == 5.0
    assert shutdown.ask(cold=False, now=56.0)
    assert shutdown.phase is Phase.COLD


def test_a_warm_shutdown_that_took_too_long_is_not_soft_afterwards():
    shutdown = Shutdown(25.0, soft=10.0)
    shutdown.ask(cold=False, now=0.0)
    assert shutdown.expired(25.0)
    assert shutdown.ask(cold=True, now=25.0, at_once=True)
    assert shutdown.phase is Phase.COLD
