"""Calls that join a transaction, without one: what is checked, and what a broker may refuse."""

from __future__ import annotations

import pytest

from umbel import Umbel
from umbel.errors import NotSupported, TaskSignatureMismatch


@pytest.fixture
def order():
    app = Umbel("shop", broker="memory://", set_as_current=False)

    @app.task
    def order(number: int) -> int:
        return number

    return order


def test_a_broker_that_cannot_take_part_says_so_and_sends_nothing(order):
    with pytest.raises(NotSupported, match="cannot take part in your transaction"):
        order.delay_tx(object(), 1)
    (stats,) = order.app.broker.stats(["celery"])
    assert (stats.ready, stats.delayed) == (0, 0)


def test_arguments_are_checked_as_for_any_call(order):
    with pytest.raises(TaskSignatureMismatch):
        order.delay_tx(object())


def test_an_eager_app_runs_it_here(order):
    order.app.conf.task_always_eager = True
    assert order.delay_tx(object(), 7).get() == 7
    assert order.apply_async_tx(object(), kwargs={"number": 8}).get() == 8
