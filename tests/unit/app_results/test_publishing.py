"""Publishing: combining, the deadline, retries, and whose error is whose."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest

from tests.unit.app_results.scripted_stores import (
    Blockade,
    ScriptedBroker,
    ids,
    outgoing,
    run_script,
)
from umbel.app.publish_policy import NO_RETRY, RetryPolicy
from umbel.app.publishing import Publishing
from umbel.errors import BrokerUnavailable, OutcomeUnknown, Unroutable
from umbel.testing.conformance.station import InThread, eventually

AT_ONCE = RetryPolicy(interval_start=0, interval_step=0)


def waiting(publishing: Publishing) -> int:
    return len(publishing._waiting)


def test_a_lone_caller_publishes_on_its_own_thread() -> None:
    broker = ScriptedBroker()
    Publishing(broker).publish([outgoing("a"), outgoing("b")])
    assert broker.batches == [["a", "b"]]
    assert broker.threads == [threading.current_thread().name]


def test_one_publisher_serves_many_calls() -> None:
    broker = ScriptedBroker()
    publishing = Publishing(broker)
    for name in "abc":
        publishing.publish([outgoing(name)])
    assert broker.opened == 1


def test_callers_that_come_meanwhile_share_one_batch() -> None:
    first = Blockade()
    broker = ScriptedBroker(first)
    publishing = Publishing(broker)
    leader = InThread(lambda: publishing.publish([outgoing("first")]))
    assert first.reached.wait(20)
    others = [InThread(partial(publishing.publish, [outgoing(name)])) for name in "abcd"]
    eventually(lambda: waiting(publishing) == 4)
    first.released.set()
    for one in (leader, *others):
        one.result()
    assert broker.batches[0] == ["first"]
    assert sorted(broker.batches[1]) == list("abcd")
    assert len(broker.batches) == 2


def test_a_batch_of_others_is_bounded() -> None:
    first = Blockade()
    broker = ScriptedBroker(first)
    publishing = Publishing(broker)
    leader = InThread(lambda: publishing.publish([outgoing("first")]))
    assert first.reached.wait(20)
    many = [outgoing(str(number)) for number in range(600)]
    others = [InThread(lambda: publishing.publish(many)) for _ in range(3)]
    eventually(lambda: waiting(publishing) == 3)
    first.released.set()
    for one in (leader, *others):
        one.result()
    assert [len(batch) for batch in broker.batches] == [1, 600, 600, 600]


def test_a_refused_message_fails_its_own_caller_only() -> None:
    first = Blockade()

    def refuse_bad(batch: object) -> None:
        if "bad" in ids(batch):  # type: ignore[arg-type]
            raise Unroutable("no queue for bad")

    broker = ScriptedBroker(first, refuse_bad, refuse_bad, refuse_bad, refuse_bad)
    publishing = Publishing(broker, policy=NO_RETRY)
    leader = InThread(lambda: publishing.publish([outgoing("first")]))
    assert first.reached.wait(20)
    good = InThread(lambda: publishing.publish([outgoing("good")]))
    bad = InThread(lambda: publishing.publish([outgoing("bad")]))
    eventually(lambda: waiting(publishing) == 2)
    first.released.set()
    leader.result()
    good.result()
    with pytest.raises(Unroutable, match="no queue for bad"):
        bad.result()


def test_a_lost_broker_fails_everybody_in_the_batch_each_with_an_error_of_its_own() -> None:
    first = Blockade()
    broker = ScriptedBroker(first, BrokerUnavailable("nobody there"))
    publishing = Publishing(broker, policy=NO_RETRY)
    leader = InThread(lambda: publishing.publish([outgoing("first")]))
    assert first.reached.wait(20)
    others = [InThread(lambda: publishing.publish([outgoing("x")])) for _ in range(2)]
    eventually(lambda: waiting(publishing) == 2)
    first.released.set()
    leader.result()
    errors = []
    for one in others:
        with pytest.raises(BrokerUnavailable, match="nobody there") as caught:
            one.result()
        errors.append(caught.value)
    assert errors[0] is not errors[1]


def test_the_error_of_the_first_does_not_stop_those_behind_it() -> None:
    first = Blockade(then=BrokerUnavailable("gone"))
    broker = ScriptedBroker(first)
    publishing = Publishing(broker, policy=NO_RETRY)
    leader = InThread(lambda: publishing.publish([outgoing("first")]))
    assert first.reached.wait(20)
    other = InThread(lambda: publishing.publish([outgoing("other")]))
    eventually(lambda: waiting(publishing) == 1)
    first.released.set()
    with pytest.raises(BrokerUnavailable):
        leader.result()
    other.result()
    assert broker.batches[-1] == ["other"]


def test_a_leader_that_is_interrupted_leaves_others_knowing_that_they_know_nothing() -> None:
    first = Blockade()
    broker = ScriptedBroker(first, KeyboardInterrupt())
    publishing = Publishing(broker, policy=NO_RETRY)
    leader = InThread(lambda: publishing.publish([outgoing("first")]))
    assert first.reached.wait(20)
    others = [InThread(lambda: publishing.publish([outgoing("a")]))]
    eventually(lambda: waiting(publishing) == 1)
    others.append(InThread(lambda: publishing.publish([outgoing("b")])))
    eventually(lambda: waiting(publishing) == 2)
    first.released.set()
    leader.result()
    with pytest.raises(KeyboardInterrupt):
        others[0].result()
    with pytest.raises(OutcomeUnknown, match=r"task tasks\.add\[b\] was being sent by another"):
        others[1].result()
    publishing.publish([outgoing("later")])
    assert broker.batches[-1] == ["later"]


# --- retries and the deadline ---------------------------------------------------------------------


def test_failures_are_repeated_with_the_same_messages() -> None:
    broker = ScriptedBroker(BrokerUnavailable("a"), OutcomeUnknown("b"))
    Publishing(broker, policy=AT_ONCE).publish([outgoing("x")])
    assert broker.batches == [["x"]] * 3


def test_no_more_repeats_than_the_policy_has() -> None:
    broker = ScriptedBroker(*(BrokerUnavailable(str(number)) for number in range(9)))
    with pytest.raises(BrokerUnavailable, match="3"):
        Publishing(broker, policy=AT_ONCE).publish([outgoing()])
    assert len(broker.batches) == 4


def test_the_policy_of_a_call_goes_over_the_default() -> None:
    broker = ScriptedBroker(BrokerUnavailable("gone"))
    with pytest.raises(BrokerUnavailable):
        Publishing(broker, policy=AT_ONCE).publish([outgoing()], policy=NO_RETRY)


def test_only_the_errors_of_the_policy_are_worth_a_repeat() -> None:
    policy = RetryPolicy(interval_step=0, retry_errors=(OutcomeUnknown,))
    broker = ScriptedBroker(OutcomeUnknown("perhaps"), BrokerUnavailable("gone"))
    with pytest.raises(OutcomeUnknown, match="perhaps"):
        Publishing(broker, policy=policy).publish([outgoing()])
    assert len(broker.batches) == 2


def test_what_may_have_arrived_stays_unknown_though_a_later_try_certainly_failed() -> None:
    broker = ScriptedBroker(OutcomeUnknown("perhaps"), *[BrokerUnavailable("gone")] * 3)
    with pytest.raises(OutcomeUnknown, match="perhaps"):
        Publishing(broker, policy=AT_ONCE).publish([outgoing()])


def test_no_pause_goes_past_the_deadline() -> None:
    broker = ScriptedBroker(BrokerUnavailable("gone"))
    patient = RetryPolicy(max_retries=None, interval_start=100, interval_max=100)
    began = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="gone"):
        Publishing(broker, policy=patient).publish([outgoing()], timeout=1)
    assert time.monotonic() - began < 1
    assert len(broker.batches) == 1


def test_every_try_gets_what_is_left_of_the_time() -> None:
    broker = ScriptedBroker(BrokerUnavailable("gone"))
    Publishing(broker, policy=AT_ONCE, timeout=7).publish([outgoing()])
    assert 0 < broker.timeouts[1] <= broker.timeouts[0] <= 7


def test_repeats_without_end_stop_at_the_deadline() -> None:
    broker = ScriptedBroker(*(BrokerUnavailable("gone") for _ in range(100_000)))
    endless = RetryPolicy(max_retries=None, interval_start=0.01, interval_step=0)
    with pytest.raises(BrokerUnavailable):
        Publishing(broker, policy=endless, timeout=0.1).publish([outgoing()])
    assert 1 < len(broker.batches) <= 12


def test_waiting_behind_another_caller_ends_at_the_deadline() -> None:
    first = Blockade()
    broker = ScriptedBroker(first)
    publishing = Publishing(broker)
    leader = InThread(lambda: publishing.publish([outgoing("first")]))
    assert first.reached.wait(20)
    with pytest.raises(BrokerUnavailable, match=r"tasks\.add\[late\] was not sent: .* was busy"):
        publishing.publish([outgoing("late")], timeout=0.02)
    assert waiting(publishing) == 0
    first.released.set()
    leader.result()
    assert broker.batches == [["first"]]


def test_a_deadline_that_passes_while_another_sends_it_leaves_the_outcome_unknown() -> None:
    first, second = Blockade(), Blockade()
    broker = ScriptedBroker(first, second)
    publishing = Publishing(broker)
    leader = InThread(lambda: publishing.publish([outgoing("first")]))
    assert first.reached.wait(20)
    patient = InThread(lambda: publishing.publish([outgoing("patient")]))
    eventually(lambda: waiting(publishing) == 1)
    hasty = InThread(lambda: publishing.publish([outgoing("hasty")], timeout=0.3, policy=NO_RETRY))
    eventually(lambda: waiting(publishing) == 2)
    first.released.set()
    leader.result()
    assert second.reached.wait(20)
    with pytest.raises(OutcomeUnknown, match="may or may not have arrived"):
        hasty.result()
    second.released.set()
    patient.result()


def test_errors_name_one_message_and_count_several() -> None:
    publishing = Publishing(ScriptedBroker(), policy=NO_RETRY)
    with pytest.raises(BrokerUnavailable, match=r"^task tasks\.add\[id-1\] was not sent: no time"):
        publishing.publish([outgoing()], timeout=0)
    with pytest.raises(BrokerUnavailable, match=r"^a batch of 2 messages was not sent"):
        publishing.publish([outgoing(), outgoing()], timeout=0)


def test_closing_lets_go_and_the_next_call_opens_anew() -> None:
    broker = ScriptedBroker()
    publishing = Publishing(broker)
    publishing.publish([outgoing()])
    publishing.close()
    assert broker.closed == 1
    publishing.publish([outgoing()])
    assert broker.opened == 2


def test_closing_while_another_thread_publishes_waits_for_its_end() -> None:
    first = Blockade()
    broker = ScriptedBroker(first)
    publishing = Publishing(broker)
    leader = InThread(lambda: publishing.publish([outgoing()]))
    assert first.reached.wait(20)
    publishing.close()
    assert broker.closed == 0
    first.released.set()
    leader.result()
    assert broker.closed == 1


def test_a_policy_is_read_from_celerys_mapping() -> None:
    policy = RetryPolicy.from_mapping(
        {"max_retries": 5, "interval_start": 1, "interval_step": 2, "interval_max": 4}
    )
    assert [policy.pause(failure) for failure in (1, 2, 3, 4)] == [1, 3, 4, 4]
    assert RetryPolicy.from_mapping(None) == RetryPolicy()
    with pytest.raises(TypeError, match="max_retry"):
        RetryPolicy.from_mapping({"max_retry": 5})


# --- coroutines -----------------------------------------------------------------------------------


def test_coroutines_share_batches_and_never_publish_on_the_loop() -> None:
    first = Blockade()
    broker = ScriptedBroker(first)
    publishing = Publishing(broker)

    async def main() -> None:
        one = asyncio.create_task(publishing.apublish([outgoing("first")]))
        await asyncio.to_thread(first.reached.wait, 20)
        others = [asyncio.create_task(publishing.apublish([outgoing(name)])) for name in "abc"]
        await asyncio.sleep(0)
        assert waiting(publishing) == 3
        first.released.set()
        await asyncio.gather(one, *others)

    asyncio.run(main())
    publishing.close()
    assert broker.batches == [["first"], ["a", "b", "c"]]
    assert set(broker.threads) == {"umbel-publish"}


def test_coroutines_get_their_errors_and_their_retries() -> None:
    broker = ScriptedBroker(BrokerUnavailable("once"), None, Unroutable("never"))
    publishing = Publishing(broker, policy=AT_ONCE)

    async def main() -> None:
        await publishing.apublish([outgoing("a")])
        with pytest.raises(Unroutable, match="never"):
            await publishing.apublish([outgoing("b")], policy=NO_RETRY)

    asyncio.run(main())
    publishing.close()
    assert broker.batches == [["a"], ["a"], ["b"]]


def test_a_cancelled_coroutine_takes_back_what_nobody_sends_yet() -> None:
    first = Blockade()
    broker = ScriptedBroker(first)
    publishing = Publishing(broker)

    async def main() -> None:
        one = asyncio.create_task(publishing.apublish([outgoing("first")]))
        await asyncio.to_thread(first.reached.wait, 20)
        other = asyncio.create_task(publishing.apublish([outgoing("other")]))
        await asyncio.sleep(0)
        other.cancel()
        with pytest.raises(asyncio.CancelledError):
            await other
        first.released.set()
        await one

    asyncio.run(main())
    publishing.close()
    assert broker.batches == [["first"]]


def test_a_coroutine_waits_no_longer_than_its_deadline() -> None:
    first = Blockade()
    broker = ScriptedBroker(first)
    publishing = Publishing(broker, policy=NO_RETRY)

    async def main() -> None:
        with pytest.raises(OutcomeUnknown, match="may or may not have arrived"):
            await publishing.apublish([outgoing("slow")], timeout=0.05)
        with pytest.raises(BrokerUnavailable, match="busy with earlier messages"):
            await publishing.apublish([outgoing("behind")], timeout=0.05)

    asyncio.run(main())
    first.released.set()
    publishing.close()


_FORK = """
import os, threading
from tests.unit.app_results.scripted_stores import Blockade, ScriptedBroker, outgoing
from umbel.app.publishing import Publishing

broker = ScriptedBroker()
publishing = Publishing(broker)
publishing.publish([outgoing("parent")])
assert broker.opened == 1
blockade = Blockade()
broker.script = [blockade]
threading.Thread(target=publishing.publish, args=([outgoing("busy")],), daemon=True).start()
assert blockade.reached.wait(20)
child = os.fork()
if not child:
    publishing.publish([outgoing("child")], timeout=10)
    os._exit(0 if broker.opened == 2 and broker.closed == 0 else 1)
_, status = os.waitpid(child, 0)
os._exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_publishes_on_a_connection_of_its_own_though_the_parent_was_busy() -> None:
    run_script(_FORK)
