"""Settlements whose results rest in another store: in which order things happen."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from umbel.drivers.elsewhere import close_elsewhere, stored_elsewhere
from umbel.drivers.memory import open as open_memory
from umbel.errors import BackendUnavailable
from umbel.model.delivery import Ack, Effects, Receipt, Settlement
from umbel.model.join import CloseJoin, FillSlot, JoinStep, OpenJoin
from umbel.model.queues import FollowUp, Queue
from umbel.ports import ResultBackend
from umbel.testing.conformance.station import message, new_id
from umbel.wire import envelope

RECEIPT = Receipt("r")


@pytest.fixture
def results() -> ResultBackend:
    return open_memory("memory://", {}).result_backend()


def filled(results: ResultBackend) -> tuple[str, FillSlot]:
    """Return a join with its one slot filled, and the step that filled it."""
    join_id = new_id()
    then = FollowUp(envelope.dump_compact(message(new_id())), Queue("celery"), None)
    fill = FillSlot(join_id, "member", 0, b"part", then)
    results.join([OpenJoin(join_id, 1)])
    assert len(results.join([fill])) == 1
    return join_id, fill


def settled(*steps: JoinStep) -> Sequence[Settlement]:
    return [Settlement(RECEIPT, Ack(), Effects(joins=steps))]


def test_a_join_stays_open_until_what_follows_it_was_sent(results: ResultBackend) -> None:
    """Else the body of a chord is lost with a connection that breaks in between."""
    join_id, _ = filled(results)
    settlements = stored_elsewhere(results, settled(CloseJoin(join_id)), {RECEIPT})
    parts = results.fetch_join(join_id)
    assert parts is not None
    assert (parts.parts, parts.closed) == ((b"part",), False)
    close_elsewhere(results, settlements, ())
    parts = results.fetch_join(join_id)
    assert parts is None or parts.closed


def test_what_was_refused_closes_nothing(results: ResultBackend) -> None:
    join_id, fill = filled(results)
    settlements = stored_elsewhere(results, settled(CloseJoin(join_id)), {RECEIPT})
    close_elsewhere(results, settlements, {RECEIPT})
    (again,) = stored_elsewhere(results, settled(fill), {RECEIPT})
    assert len(again.effects.outgoing) == 1  # told again to whoever runs a member again


def test_a_result_store_that_is_away_then_does_not_stop_the_worker(
    results: ResultBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    join_id, _ = filled(results)

    def away(_steps: object) -> None:
        raise BackendUnavailable("The result store is away.")

    monkeypatch.setattr(results, "join", away)
    close_elsewhere(results, settled(CloseJoin(join_id)), ())
    assert "stay until they expire: The result store is away." in caplog.text
