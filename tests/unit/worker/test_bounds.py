"""What a worker keeps in memory is bounded, and empty again when the work is done."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.unit.worker.test_intake import Desk, done
from umbel.worker.resting import Rested
from umbel.worker.revoked import RevokedIds

TASKS = 3000
SLOTS = 8


def sizes(thing: object, path: str, seen: set[int]) -> Iterator[tuple[str, int]]:
    """Yield every container that hangs on an object of ours, by path, with its length."""
    if id(thing) in seen or isinstance(thing, str | bytes):
        return
    seen.add(id(thing))
    if isinstance(thing, Sized) and type(thing).__module__ in {"builtins", "collections"}:
        yield path, len(thing)
        return
    if type(thing).__module__.startswith("umbel.worker"):
        for name, value in vars(thing).items() if hasattr(thing, "__dict__") else ():
            yield from sizes(value, f"{path}.{name}", seen)


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    made.intake.connect()
    yield made
    made.intake.ask_to_stop()
    while not made.intake.step(0.0):
        pass


def work(desk: Desk, count: int) -> list[int]:
    """Claim and settle so many tasks, eight at a time; return how many were admitted at a time."""
    for number in range(count):
        desk.send(id=f"id-{number}")
    batches: list[int] = []
    running: list[Any] = []
    while sum(batches) < count or running:
        desk.post(*map(done, running), free=SLOTS)
        desk.intake.step(0.0)
        running = list(desk.intake.take().admitted)
        batches.append(len(running))
    desk.post(free=0)
    desk.intake.step(0.0)
    return batches


def test_the_intake_keeps_nothing_of_what_is_done(desk):
    before = dict(sizes(desk.intake, "intake", set()))
    batches = work(desk, TASKS)
    assert sum(batches) == TASKS
    assert max(batches) <= SLOTS
    assert dict(sizes(desk.intake, "intake", set())) == before
    assert desk.stats() == (0, 0, 0)


def test_what_was_revoked_is_known_up_to_a_number():
    revoked = RevokedIds(latest=100, block=10, blocks=30)
    revoked.add(f"id-{number}" for number in range(500))
    kept = [number for number in range(500) if f"id-{number}" in revoked.known]
    assert kept == list(range(500 - len(kept), 500))  # the oldest were forgotten
    assert 390 <= len(kept) <= 400
    assert "id-500" not in revoked.known


def test_what_is_revoked_again_is_among_the_latest():
    revoked = RevokedIds(latest=10, block=5, blocks=1)
    for number in range(100):
        revoked.add(["id-0", f"other-{number}"])
    assert "id-0" in revoked.known


def test_two_million_revoked_ids_take_little_memory():
    revoked = RevokedIds(latest=1000, block=1000, blocks=50)
    revoked.add(f"{number:032x}" for number in range(20_000))
    assert all(block.itemsize == 8 for block in revoked._older)
    assert sum(map(len, revoked._older)) + len(revoked._latest) == 20_000


def test_what_was_put_to_rest_is_remembered_up_to_a_number():
    rested = Rested(most=100)
    now = datetime.now(UTC)
    for number in range(500):
        rested.note(f"id-{number}", now + timedelta(hours=1))
    assert len(rested._until) == 100
    assert not rested.take("id-0", now + timedelta(hours=1))
    assert rested.take("id-499", now + timedelta(hours=1))
