"""Limits shared by all workers, from a task's words to what an intake lets in."""

from __future__ import annotations

import pytest

from tests.unit.worker.test_intake import Desk, done
from tests.unit.worker.values import plan, traits
from umbel import Limit, Umbel
from umbel.app.limits import checked_limits, parameter_of
from umbel.errors import ImproperlyConfigured
from umbel.worker.gatekeeping import LONGEST_KEY, Gatekeeper, key_of
from umbel.worker.plan import KeyPath, LimitPlan


@pytest.fixture
def app():
    app = Umbel("limits", broker="memory://", set_as_current=False)
    yield app
    app.close()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "either concurrency= .* or rate="),
        ({"concurrency": 1, "rate": "1/s"}, "give two limits for both"),
        ({"concurrency": 0}, "at least one must be able to run"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(given, said):
    with pytest.raises(ImproperlyConfigured, match=said):
        Limit(**given)


def test_limits_of_a_task_are_checked(app):
    one, rate = Limit(concurrency=2), Limit(rate="3/s")
    assert checked_limits(app.task(lambda: 1, name="a", limits=one)) == (one,)
    assert checked_limits(app.task(lambda: 1, name="b", limits=[one, rate])) == (one, rate)
    assert checked_limits(app.task(lambda: 1, name="c")) == ()
    with pytest.raises(ImproperlyConfigured, match="one of concurrency and one of rate at most"):
        checked_limits(app.task(lambda: 1, name="d", limits=[one, one]))
    with pytest.raises(ImproperlyConfigured, match=r"5 is no umbel\.Limit"):
        checked_limits(app.task(lambda: 1, name="e", limits=[5]))


def test_a_key_names_a_parameter(app):
    def call(self, order, *, region="eu"):
        return order, region

    task = app.task(call, name="call", bind=True)
    assert parameter_of(task, "order.customer") == (0, None)
    assert parameter_of(task, "region") == (None, "eu")
    with pytest.raises(
        ImproperlyConfigured, match=r"key='who' names no parameter; there are order, region"
    ):
        parameter_of(task, "who")
    assert parameter_of(app.task(lambda **kw: kw, name="any"), "who") == (None, None)


@pytest.mark.parametrize(
    ("path", "args", "kwargs", "key"),
    [
        (KeyPath("x", 0, (), None), [7], {}, "7"),
        (KeyPath("x", 0, (), None), [], {"x": "a b"}, "a b"),
        (KeyPath("x", 1, (), "eu"), [7], {}, "eu"),
        (KeyPath("x", None, (), None), [7], {}, ""),
        (KeyPath("x", 0, ("customer", "id"), None), [{"customer": {"id": 3}}], {}, "3"),
        (KeyPath("x", 0, ("customer", "id"), None), [{"customer": None}], {}, ""),
    ],
)
def test_the_key_is_in_the_arguments(path, args, kwargs, key):
    assert key_of(path, args, kwargs) == key


def test_a_long_key_is_told_by_its_digest():
    path = KeyPath("x", 0, (), None)
    long = key_of(path, ["a" * (LONGEST_KEY + 1)], {})
    assert len(long) == 32
    assert long != key_of(path, ["b" * (LONGEST_KEY + 1)], {})
    assert len(key_of(path, ["a\nb"], {})) == 32


LIMITED = traits(limits=(LimitPlan("adds", 1, 0.0, None),))


@pytest.fixture
def desk():
    desk = Desk(tasks={"tasks.add": LIMITED, "tasks.free": traits()})
    desk.intake.start()
    yield desk
    assert desk.intake.stop(10.0)
    assert desk.intake.failure is None


def blocked(desk):
    (stats,) = desk.broker.stats(["celery"])
    return stats.blocked


def test_one_runs_others_wait_in_the_store_and_what_is_free_goes_past_them(desk):
    for number in range(3):
        desk.send(id=f"id-{number}")
    desk.send(id="free", task="tasks.free")
    desk.post(free=4)
    desk.until(lambda: len(desk.admitted) == 2)
    assert {each.peek.id for each in desk.admitted} == {"id-0", "free"}
    assert (desk.stats(), blocked(desk)) == ((0, 2, 0), 2)
    for turn in range(1, 3):
        (last,) = [each for each in desk.admitted if each.peek.id == f"id-{turn - 1}"]
        receipt = last.delivery.receipt
        desk.intake.post([done(last)], (), free=4, active=0, processed={}, ended=[receipt])
        desk.until(lambda turn=turn: len(desk.admitted) == 2 + turn)
        assert desk.admitted[-1].peek.id == f"id-{turn}"
    assert blocked(desk) == 0


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_connection_that_breaks_while_asking_loses_nothing(desk, moment):
    desk.broker.fail("admit", moment)
    for number in range(2):
        desk.send(id=f"id-{number}")
    desk.post(free=2)
    desk.until(lambda: len(desk.admitted) == 1)
    first = desk.admitted[0]
    desk.intake.post(
        [done(first)], (), free=2, active=0, processed={}, ended=[first.delivery.receipt]
    )
    desk.until(lambda: len(desk.admitted) == 2)
    assert {each.peek.id for each in desk.admitted} == {"id-0", "id-1"}


@pytest.mark.parametrize("moment", ["before", "after"])
def test_what_could_not_be_given_back_is_given_back_later(desk, moment):
    for number in range(2):
        desk.send(id=f"id-{number}")
    desk.post(free=2)
    desk.until(lambda: len(desk.admitted) == 1)
    desk.broker.fail("release", moment)
    first = desk.admitted[0]
    desk.intake.post(
        [done(first)], (), free=2, active=0, processed={}, ended=[first.delivery.receipt]
    )
    desk.until(lambda: len(desk.admitted) == 2)
    assert desk.broker.failed["release"] == 1


def test_early_acknowledgement_holds_its_place_until_the_run_is_over():
    early = traits(early_ack=True, limits=(LimitPlan("adds", 1, 0.0, None),))
    desk = Desk(tasks={"tasks.add": early})
    desk.intake.start()
    for number in range(2):
        desk.send(id=f"id-{number}")
    desk.post(free=2)
    desk.until(lambda: len(desk.admitted) == 1)
    assert desk.admitted[0].acked
    assert (desk.stats(), blocked(desk)) == ((0, 0, 0), 1)
    receipt = desk.admitted[0].delivery.receipt
    desk.intake.post((), (), free=2, active=0, processed={}, ended=[receipt])
    desk.until(lambda: len(desk.admitted) == 2)
    assert desk.intake.stop(10.0)


def test_a_turn_later_is_a_rest_in_the_store():
    paced = traits(limits=(LimitPlan("adds", None, 1000.0, None),))
    desk = Desk(tasks={"tasks.add": paced})
    desk.intake.start()
    for number in range(3):
        desk.send(id=f"id-{number}")
    desk.post(free=3)
    desk.until(lambda: desk.stats() == (0, 1, 2))
    assert [each.peek.id for each in desk.admitted] == ["id-0"]
    assert desk.intake.stop(10.0)


def test_a_broker_without_counts_is_refused(monkeypatch):
    desk = Desk()
    import msgspec

    desk.broker.capabilities = msgspec.structs.replace(desk.broker.capabilities, limits=False)
    with pytest.raises(
        ImproperlyConfigured, match=r"tasks\.add: limits shared by all workers need"
    ):
        Gatekeeper(plan(tasks={"tasks.add": LIMITED}), desk.broker, None)
