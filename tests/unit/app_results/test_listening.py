"""The listener: who listens, who is told, and what happens when the store goes away."""

from __future__ import annotations

import asyncio
import threading
import time
from functools import partial

import pytest

from tests.unit.app_results.scripted_stores import FragileBackend, run_script
from umbel.app import result_leading
from umbel.app.listening import ResultListener, listener_for
from umbel.errors import BackendUnavailable, OperationalError
from umbel.model.outcome import ResultRecord
from umbel.testing.conformance.station import InThread, eventually, record

LONG = 20.0


@pytest.fixture
def backend() -> FragileBackend:
    return FragileBackend()


@pytest.fixture
def listener(backend: FragileBackend) -> ResultListener:
    return ResultListener(backend)


def wait(listener: ResultListener, *ids: str, timeout: float | None = LONG) -> list[str]:
    return sorted(listener.wait(ids, timeout))


def listening(backend: FragileBackend) -> None:
    """Return once a watcher waits."""
    assert backend.receiving.acquire(timeout=LONG)


def test_what_is_already_there_is_found_without_waiting(
    backend: FragileBackend, listener: ResultListener
) -> None:
    backend.store([record("a")])
    assert wait(listener, "a", timeout=None) == ["a"]
    assert backend.watchers[0].threads == []


def test_a_lone_thread_listens_itself(backend: FragileBackend, listener: ResultListener) -> None:
    waiting = InThread(lambda: (wait(listener, "a"), threading.current_thread().name))
    listening(backend)
    backend.store([record("a")])
    found, thread = waiting.result()
    assert found == ["a"]
    assert backend.watchers[0].threads == [thread]


def test_a_result_that_does_not_come_ends_the_wait_in_time(listener: ResultListener) -> None:
    began = time.monotonic()
    assert wait(listener, "never", timeout=0.05) == []
    assert 0.05 <= time.monotonic() - began < LONG


def test_no_time_at_all_still_reads_once(backend: FragileBackend, listener: ResultListener) -> None:
    backend.store([record("a")])
    assert wait(listener, "a", "b", timeout=0) == ["a"]


def test_threads_share_one_watcher_and_each_gets_its_own(
    backend: FragileBackend, listener: ResultListener
) -> None:
    waiting = {name: InThread(partial(wait, listener, name)) for name in "abcdefgh"}
    eventually(lambda: len(listener._following) == 7)
    for name in reversed("abcdefgh"):
        backend.store([record(name)])
    assert [one.result() for one in waiting.values()] == [[name] for name in "abcdefgh"]
    assert len(backend.watchers) == 1


def test_two_threads_may_wait_for_the_same_result(
    backend: FragileBackend, listener: ResultListener
) -> None:
    waiting = [InThread(lambda: wait(listener, "a", "b")) for _ in range(2)]
    eventually(lambda: len(listener._following) == 1)
    backend.store([record("a")])
    backend.store([record("b")])
    assert [one.result() for one in waiting] == [["a", "b"]] * 2


def test_a_leader_that_leaves_gives_its_place_to_another(
    backend: FragileBackend, listener: ResultListener
) -> None:
    first = InThread(lambda: wait(listener, "a"))
    listening(backend)
    second = InThread(lambda: wait(listener, "b"))
    eventually(lambda: listener._following)
    backend.store([record("a")])
    assert first.result() == ["a"]
    eventually(lambda: not listener._following and listener._leader is not None)
    backend.store([record("b")])
    assert second.result() == ["b"]


def test_a_leader_that_runs_out_of_time_gives_its_place_to_another(
    backend: FragileBackend, listener: ResultListener
) -> None:
    first = InThread(lambda: wait(listener, "a", timeout=0.2))
    listening(backend)
    second = InThread(lambda: wait(listener, "b"))
    eventually(lambda: listener._following)
    assert first.result() == []
    backend.store([record("b")])
    assert second.result() == ["b"]


def test_a_follower_runs_out_of_time_while_the_leader_waits_on(
    backend: FragileBackend, listener: ResultListener
) -> None:
    leader = InThread(lambda: wait(listener, "a"))
    listening(backend)
    assert wait(listener, "b", timeout=0.05) == []
    assert not listener._following
    backend.store([record("a")])
    assert leader.result() == ["a"]


def test_states_that_are_not_final_are_told_on_the_way(
    backend: FragileBackend, listener: ResultListener
) -> None:
    backend.store([record("a", "STARTED")])
    states: list[str] = []
    with listener.session(["a"]) as waiter:
        while not states or states[-1] != "SUCCESS":
            for one in waiter.take(time.monotonic() + LONG):
                states.append(one.state)
                if one.state == "STARTED":
                    backend.store([record("a", "PROGRESS")])
                elif one.state == "PROGRESS":
                    backend.store([record("a")])
        assert not waiter.take(None), "nothing is missing, so there is nothing to wait for"
    assert states == ["STARTED", "PROGRESS", "SUCCESS"]


def test_ids_nobody_asks_for_any_more_are_unwatched_together(
    backend: FragileBackend, listener: ResultListener
) -> None:
    many = [f"id-{number}" for number in range(result_leading._STALE)]
    backend.store([record(name) for name in many])
    for name in many:
        wait(listener, name)
    assert backend.watchers[0].unwatched == []
    wait(listener, "another", timeout=0)
    assert sorted(backend.watchers[0].unwatched) == sorted(many)


# --- the store goes away --------------------------------------------------------------------------


def test_a_lost_connection_is_replaced_and_what_was_missed_is_read(
    backend: FragileBackend, listener: ResultListener
) -> None:
    waiting = InThread(lambda: wait(listener, "a", "b"))
    listening(backend)
    first = backend.watchers[0]
    first.deaf = True
    backend.store([record("a")])
    first.break_with(OperationalError("connection reset"))
    eventually(lambda: len(backend.watchers) == 2)
    backend.store([record("b")])
    assert waiting.result() == ["a", "b"]
    assert first.closed
    assert backend.watchers[1].watched == [["a", "b"]]


def test_a_store_that_stays_away_is_an_error_when_patience_ends(backend: FragileBackend) -> None:
    listener = ResultListener(backend, patience=0.1)
    backend.refuse = OperationalError("connection refused")
    with pytest.raises(
        BackendUnavailable,
        match=r"could not be reached for 0\.\d s, .*\(connection refused\)\. The tasks go on",
    ) as caught:
        wait(listener, "a", timeout=None)
    assert caught.value.__cause__ is backend.refuse
    backend.refuse = None
    backend.store([record("a")])
    assert wait(listener, "a") == ["a"]


def test_a_store_that_comes_back_in_time_is_no_error(
    backend: FragileBackend, listener: ResultListener
) -> None:
    backend.refuse = OperationalError("connection refused")
    waiting = InThread(lambda: wait(listener, "a"))
    eventually(lambda: listener._failing_since is not None)
    backend.store([record("a")])
    backend.refuse = None
    assert waiting.result() == ["a"]


def test_a_wait_that_ends_while_the_store_is_away_knows_why(
    backend: FragileBackend, listener: ResultListener
) -> None:
    backend.refuse = OperationalError("connection refused")
    with listener.session(["a"]) as waiter:
        assert not waiter.take(time.monotonic() + 0.05)
        assert waiter.trouble is backend.refuse


def test_patience_counts_from_this_wait_not_from_an_old_failure(backend: FragileBackend) -> None:
    listener = ResultListener(backend, patience=0.3)
    backend.refuse = OperationalError("connection refused")
    assert wait(listener, "a", timeout=0.2) == []
    assert wait(listener, "a", timeout=0.2) == []


def test_a_drivers_bug_reaches_those_who_wait(
    backend: FragileBackend, listener: ResultListener
) -> None:
    leader = InThread(lambda: wait(listener, "a"))
    listening(backend)
    follower = InThread(lambda: wait(listener, "b"))
    eventually(lambda: listener._following)
    backend.watchers[0].break_with(KeyError("a bug"))
    for one in (leader, follower):
        with pytest.raises(KeyError, match="a bug"):
            one.result()
    backend.store([record("a")])
    assert wait(listener, "a") == ["a"]


def test_an_interrupted_leader_leaves_a_working_listener(
    backend: FragileBackend, listener: ResultListener
) -> None:
    leader = InThread(lambda: wait(listener, "a"))
    listening(backend)
    follower = InThread(lambda: wait(listener, "b"))
    eventually(lambda: listener._following)
    backend.watchers[0].break_with(KeyboardInterrupt())  # type: ignore[arg-type]  # so it is
    with pytest.raises(KeyboardInterrupt):
        leader.result()
    backend.store([record("b")])
    assert follower.result() == ["b"]
    assert len(backend.watchers) == 2


def test_a_connection_that_died_in_silence_is_noticed(
    backend: FragileBackend, listener: ResultListener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(result_leading, "RECONCILE", 0.05)
    waiting = InThread(lambda: wait(listener, "a"))
    listening(backend)
    backend.watchers[0].deaf = True
    backend.store([record("a")])
    assert waiting.result() == ["a"]
    assert backend.watchers[0].closed


# --- those who cannot listen themselves -----------------------------------------------------------


def test_coroutines_are_told_by_a_background_thread(
    backend: FragileBackend, listener: ResultListener
) -> None:
    async def main() -> list[str]:
        waiting = [asyncio.create_task(listener.awaitable(name)) for name in "abc"]
        await asyncio.to_thread(listening, backend)
        backend.store([record(name) for name in "cba"])
        return [one.task_id for one in await asyncio.gather(*waiting)]

    assert asyncio.run(main()) == ["a", "b", "c"]
    assert set(backend.watchers[0].threads) == {"umbel-results"}
    listener.close()


def test_a_cancelled_coroutine_leaves_nothing_behind(
    backend: FragileBackend, listener: ResultListener
) -> None:
    async def main() -> None:
        waiting = asyncio.create_task(listener.awaitable("a"))
        await asyncio.to_thread(listening, backend)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not listener._asked
        assert not listener._unled
        backend.store([record("b")])
        assert (await listener.awaitable("b")).task_id == "b"

    asyncio.run(main())
    listener.close()


def test_a_thread_and_a_coroutine_wait_side_by_side(
    backend: FragileBackend, listener: ResultListener
) -> None:
    async def main() -> None:
        thread = asyncio.create_task(asyncio.to_thread(wait, listener, "a"))
        await asyncio.to_thread(listening, backend)
        coroutine = asyncio.create_task(listener.awaitable("b"))
        await asyncio.to_thread(eventually, lambda: "b" in listener._asked)
        backend.store([record("a")])
        assert await thread == ["a"]
        backend.store([record("b")])
        assert (await coroutine).task_id == "b"

    asyncio.run(main())
    assert len(backend.watchers) == 1
    listener.close()


def test_coroutines_get_the_error_too(backend: FragileBackend) -> None:
    listener = ResultListener(backend, patience=0.05)
    backend.refuse = OperationalError("connection refused")

    async def main() -> None:
        with pytest.raises(BackendUnavailable):
            await listener.awaitable("a")

    asyncio.run(main())
    listener.close()


def test_a_future_is_completed(backend: FragileBackend, listener: ResultListener) -> None:
    future = listener.future("a")
    listening(backend)
    backend.store([record("a", "STARTED")])
    backend.store([record("a")])
    assert future.result(LONG).state == "SUCCESS"
    listener.close()


def test_a_callback_may_wait_for_another_result(
    backend: FragileBackend, listener: ResultListener
) -> None:
    seen: list[list[str]] = []
    done = threading.Event()

    def on_record(_: ResultRecord) -> None:
        seen.append(wait(listener, "b"))
        done.set()

    listener.notify(["a"], on_record, lambda error: None)
    listening(backend)
    backend.store([record("a")])
    backend.store([record("b")])
    assert done.wait(LONG)
    assert seen == [["b"]]
    listener.close()


def test_closing_tells_those_who_wait(backend: FragileBackend, listener: ResultListener) -> None:
    waiting = InThread(lambda: wait(listener, "a"))
    listening(backend)
    listener.close()
    with pytest.raises(BackendUnavailable, match="the app was closed"):
        waiting.result()
    eventually(lambda: backend.watchers[0].closed)
    backend.store([record("a")])
    assert wait(listener, "a") == ["a"]


def test_a_backend_beside_the_apps_own_has_one_listener(backend: FragileBackend) -> None:
    assert listener_for(backend) is listener_for(backend)


# --- many at once, forks, green threads -----------------------------------------------------------


def test_a_crowd_of_threads_loses_nothing(
    backend: FragileBackend, listener: ResultListener
) -> None:
    """Waits that begin, end, time out and overlap, on twelve threads at once."""

    def work(thread: int) -> int:
        found = 0
        for number in range(60):
            name = f"{thread}-{number}"
            if number % 3 == 0:
                backend.store([record(name)])
            elif number % 3 == 1:
                threading.Thread(target=backend.store, args=([record(name)],)).start()
            else:
                wait(listener, name, timeout=0.001)
                backend.store([record(name)])
            found += len(wait(listener, name))
        return found

    threads = [InThread(partial(work, number)) for number in range(12)]
    assert [one.result() for one in threads] == [60] * 12
    assert not listener._asked
    assert not listener._following
    assert listener._leader is None


_FORK = """
import os, threading
from tests.unit.app_results.scripted_stores import FragileBackend
from umbel.app.listening import ResultListener
from umbel.testing.conformance.station import record

backend = FragileBackend()
listener = ResultListener(backend)
threading.Thread(target=listener.wait, args=(["a"], None), daemon=True).start()
assert backend.receiving.acquire(timeout=20)
future = listener.future("c")
child = os.fork()
if not child:
    backend.store([record("b")])
    found = listener.wait(["b"], 20)
    future = listener.future("b").result(20)
    own = len(backend.watchers) == 2 and not backend.watchers[0].closed
    os._exit(0 if list(found) == ["b"] and future.state == "SUCCESS" and own else 1)
_, status = os.waitpid(child, 0)
os._exit(os.waitstatus_to_exitcode(status))
"""


def test_a_forked_child_has_a_listener_of_its_own_though_the_parent_was_listening() -> None:
    run_script(_FORK)


_GREEN = """
import {library}
{patch}
import threading, time
from umbel.app.listening import ResultListener
from umbel.drivers.memory import MemoryDriver
from umbel.testing.conformance.station import record

backend = MemoryDriver().result_backend()
listener = ResultListener(backend)
found, ticks = [], []

def wait(name):
    found.extend(listener.wait([name], 20))

def tick():
    while len(found) < 3:
        ticks.append(1)
        time.sleep(0.01)

waiting = [threading.Thread(target=wait, args=(name,)) for name in "abc"]
ticking = threading.Thread(target=tick)
future = listener.future("d")
for one in (*waiting, ticking):
    one.start()
time.sleep(0.05)
for name in "abcd":
    backend.store([record(name)])
for one in (*waiting, ticking):
    one.join(20)
assert sorted(found) == ["a", "b", "c"], found
assert len(ticks) > 2, "waiting for a result stopped the other green threads"
while not future.done():
    time.sleep(0.01)
"""


@pytest.mark.parametrize(
    ("library", "patch"),
    [
        ("gevent.monkey", "gevent.monkey.patch_all()"),
        ("eventlet", "eventlet.monkey_patch()"),
    ],
)
def test_green_threads_wait_beside_each_other(library: str, patch: str) -> None:
    run_script(_GREEN.format(library=library, patch=patch))
