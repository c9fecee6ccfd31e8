"""The promises of ``ports.ResultBackend`` and ``Watcher``, as tests to subclass.

A test module gives the fixture ``backend``; where the store reads a clock that the test can move,
``elapse`` too; and ``unreachable_backend``, a backend whose service is not there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from umbel.errors import OperationalError
from umbel.model.outcome import ResultRecord
from umbel.ports import ResultBackend, Watcher
from umbel.testing.conformance.slot_filling import CountingPromises
from umbel.testing.conformance.station import (
    PATIENCE,
    InThread,
    eventually,
    new_id,
    record,
    wait_really,
)


class ResultBackendSuite(CountingPromises):
    """Everything a result backend promises. Subclass it and give it ``backend``."""

    @pytest.fixture
    def backend(self) -> ResultBackend:
        """Return the backend under test. Ids are random, so it need not be empty."""
        raise NotImplementedError("give the suite a fixture named backend")

    @pytest.fixture
    def unreachable_backend(self) -> ResultBackend:
        """Return a backend whose service cannot be reached."""
        pytest.skip("this result backend is always there")

    @pytest.fixture
    def elapse(self) -> Callable[[float], None]:
        """Return a function that lets seconds pass for the store; really, unless overridden."""
        return wait_really

    @pytest.fixture
    def watcher(self, backend: ResultBackend) -> Iterator[Watcher]:
        """Return an open watcher."""
        watcher = backend.open_watcher()
        yield watcher
        watcher.close()

    # --- storing and fetching ---------------------------------------------------------------------

    def test_what_is_stored_is_fetched(self, backend: ResultBackend) -> None:
        first, second, absent = new_id(), new_id(), new_id()
        document = b'{"status": "SUCCESS", "result": 1}'
        backend.store([record(first, document=document), record(second, "FAILURE")])
        found = backend.fetch([first, second, absent])
        assert set(found) == {first, second}
        assert found[first].document == document
        assert found[first].task_id == first
        assert (found[first].state, found[first].final) == ("SUCCESS", True)
        assert (found[second].state, found[second].final) == ("FAILURE", True)

    def test_nothing_stored_nothing_fetched(self, backend: ResultBackend) -> None:
        backend.store([])
        assert backend.fetch([]) == {}
        assert backend.fetch([new_id()]) == {}

    def test_many_at_once(self, backend: ResultBackend) -> None:
        ids = [new_id() for _ in range(1500)]
        backend.store([record(task_id, document=task_id.encode()) for task_id in ids])
        found = backend.fetch(ids)
        assert {task_id: each.document for task_id, each in found.items()} == {
            task_id: task_id.encode() for task_id in ids
        }

    def test_documents_are_any_bytes(self, backend: ResultBackend) -> None:
        task_id, document = new_id(), bytes(range(256)) * 4000
        backend.store([record(task_id, "FAILURE", document=document)])
        assert backend.fetch([task_id])[task_id].document == document

    def test_a_later_state_replaces_an_earlier(self, backend: ResultBackend) -> None:
        task_id = new_id()
        for state in ("STARTED", "PROGRESS", "RETRY", "FAILURE", "STARTED", "SUCCESS"):
            document = b'{"status": "%s"}' % state.encode()
            backend.store([record(task_id, state, document=document)])
            assert backend.fetch([task_id])[task_id].state == state

    def test_success_is_never_overwritten(self, backend: ResultBackend) -> None:
        task_id = new_id()
        good = record(task_id, document=b'{"status": "SUCCESS"}')
        backend.store([good])
        for state in ("STARTED", "FAILURE", "REVOKED", "SUCCESS"):
            backend.store([record(task_id, state, document=b'{"status": "%s"}' % state.encode())])
        found = backend.fetch([task_id])[task_id]
        assert found.state == "SUCCESS"

    def test_success_is_not_overwritten_within_a_batch(self, backend: ResultBackend) -> None:
        task_id = new_id()
        backend.store(
            [
                record(task_id, document=b'{"status": "SUCCESS"}'),
                record(task_id, "FAILURE", document=b'{"status": "FAILURE"}'),
            ]
        )
        assert backend.fetch([task_id])[task_id].state == "SUCCESS"

    def test_a_success_that_expired_may_be_followed(
        self, backend: ResultBackend, elapse: Callable[[float], None]
    ) -> None:
        task_id = new_id()
        backend.store([record(task_id, expires=1.0)])
        elapse(1.1)
        eventually(lambda: not backend.fetch([task_id]))
        backend.store([record(task_id, "FAILURE", document=b'{"status": "FAILURE"}')])
        assert backend.fetch([task_id])[task_id].state == "FAILURE"

    def test_results_expire(self, backend: ResultBackend, elapse: Callable[[float], None]) -> None:
        short, long, forever = new_id(), new_id(), new_id()
        backend.store([record(short, expires=1.0), record(long, expires=600.0), record(forever)])
        assert set(backend.fetch([short, long, forever])) >= {long, forever}
        elapse(1.1)
        eventually(lambda: set(backend.fetch([short, long, forever])) == {long, forever})

    def test_forget_deletes(self, backend: ResultBackend) -> None:
        gone, kept = new_id(), new_id()
        backend.store([record(gone), record(kept)])
        backend.forget([gone, new_id()])
        backend.forget([])
        assert set(backend.fetch([gone, kept])) == {kept}
        backend.store([record(gone, "FAILURE")])
        assert backend.fetch([gone])[gone].state == "FAILURE"

    # --- groups -----------------------------------------------------------------------------------

    def test_groups_are_remembered_and_forgotten(self, backend: ResultBackend) -> None:
        group, absent = new_id(), new_id()
        backend.store_group(group, b"[1]", None)
        backend.store_group(group, b"[1, 2]", 600.0)
        assert backend.fetch_group(group) == b"[1, 2]"
        assert backend.fetch_group(absent) is None
        backend.forget_group(group)
        backend.forget_group(absent)
        assert backend.fetch_group(group) is None

    def test_groups_expire(self, backend: ResultBackend, elapse: Callable[[float], None]) -> None:
        group = new_id()
        backend.store_group(group, b"[]", 1.0)
        elapse(1.1)
        eventually(lambda: backend.fetch_group(group) is None)

    # --- watching ---------------------------------------------------------------------------------

    def test_watch_returns_what_is_there(self, backend: ResultBackend, watcher: Watcher) -> None:
        there, absent = new_id(), new_id()
        backend.store([record(there)])
        assert set(watcher.watch([there, absent])) == {there}

    def test_a_watcher_hears_what_is_stored(self, backend: ResultBackend, watcher: Watcher) -> None:
        first, second, stranger = new_id(), new_id(), new_id()
        assert watcher.watch([first, second]) == {}
        backend.store([record(stranger), record(first), record(second)])
        heard = hear(watcher, 2)
        assert set(heard) == {first, second}
        assert not watcher.receive(0.0)

    def test_states_that_are_not_final_are_told(
        self, backend: ResultBackend, watcher: Watcher
    ) -> None:
        task_id = new_id()
        watcher.watch([task_id])
        backend.store([record(task_id, "STARTED", document=b'{"status": "STARTED"}')])
        assert hear(watcher, 1)[task_id].state == "STARTED"
        backend.store([record(task_id, document=b'{"status": "SUCCESS"}')])
        assert hear(watcher, 1)[task_id].state == "SUCCESS"

    def test_a_waiting_watcher_is_woken_by_a_result(self, backend: ResultBackend) -> None:
        task_id, watching = new_id(), threading.Event()

        def wait() -> set[str]:
            watcher = backend.open_watcher()
            try:
                watcher.watch([task_id])
                watching.set()
                return set(hear(watcher, 1))
            finally:
                watcher.close()

        waiting = InThread(wait)
        assert watching.wait(PATIENCE)
        began = time.monotonic()
        backend.store([record(task_id)])
        assert waiting.result() == {task_id}
        assert time.monotonic() - began < PATIENCE / 2

    def test_every_watcher_hears(self, backend: ResultBackend, watcher: Watcher) -> None:
        task_id = new_id()
        second = backend.open_watcher()
        try:
            watcher.watch([task_id])
            second.watch([task_id])
            backend.store([record(task_id)])
            assert set(hear(watcher, 1)) == set(hear(second, 1)) == {task_id}
        finally:
            second.close()

    def test_unwatched_is_unheard(self, backend: ResultBackend, watcher: Watcher) -> None:
        gone, kept = new_id(), new_id()
        watcher.watch([gone, kept])
        watcher.unwatch([gone, new_id()])
        backend.store([record(gone), record(kept)])
        assert set(hear(watcher, 1)) == {kept}
        assert not watcher.receive(0.0)

    def test_a_watch_may_be_repeated(self, backend: ResultBackend, watcher: Watcher) -> None:
        task_id = new_id()
        backend.store([record(task_id)])
        assert set(watcher.watch([task_id])) == {task_id}
        watcher.unwatch([task_id])
        assert set(watcher.watch([task_id])) == {task_id}

    def test_no_result_falls_between_reading_and_listening(self, backend: ResultBackend) -> None:
        ids = [new_id() for _ in range(200)]
        storing = InThread(lambda: [backend.store([record(task_id)]) for task_id in ids])
        watcher = backend.open_watcher()
        try:
            heard: set[str] = set()
            for task_id in ids:
                heard.update(watcher.watch([task_id]))
            deadline = time.monotonic() + PATIENCE
            while len(heard) < len(ids) and time.monotonic() < deadline:
                heard.update(each.task_id for each in watcher.receive(1.0))
            assert heard == set(ids)
        finally:
            watcher.close()
            storing.result()

    def test_a_watcher_waits_for_the_timeout(self, watcher: Watcher) -> None:
        watcher.watch([new_id()])
        began = time.monotonic()
        assert not watcher.receive(0.1)
        assert time.monotonic() - began >= 0.09

    def test_a_watcher_may_be_woken(self, watcher: Watcher) -> None:
        timer = threading.Timer(0.05, watcher.wake)
        timer.start()
        began = time.monotonic()
        assert not watcher.receive(PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2
        timer.join()
        watcher.wake()
        assert not watcher.receive(PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2

    # --- the service ------------------------------------------------------------------------------

    def test_ping_names_the_product(self, backend: ResultBackend) -> None:
        assert " " in backend.ping()

    def test_a_closed_backend_may_be_used_again(self, backend: ResultBackend) -> None:
        task_id = new_id()
        backend.store([record(task_id)])
        backend.close()
        backend.close()
        assert set(backend.fetch([task_id])) == {task_id}

    def test_an_unreachable_store_is_a_typed_error(
        self, unreachable_backend: ResultBackend
    ) -> None:
        began = time.monotonic()
        with pytest.raises(OperationalError) as caught:
            unreachable_backend.store([record(new_id())])
        with pytest.raises(OperationalError):
            unreachable_backend.fetch([new_id()])
        with pytest.raises(OperationalError):
            unreachable_backend.ping()
        assert time.monotonic() - began < PATIENCE
        assert len(str(caught.value)) > 20


def hear(watcher: Watcher, count: int) -> dict[str, ResultRecord]:
    """Receive until records of ``count`` ids were told, and return the last of each."""
    heard: dict[str, ResultRecord] = {}
    deadline = time.monotonic() + PATIENCE
    while len(heard) < count:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise AssertionError(f"heard only {sorted(heard)}, expected {count}")
        heard.update({each.task_id: each for each in watcher.receive(remaining)})
    return heard
