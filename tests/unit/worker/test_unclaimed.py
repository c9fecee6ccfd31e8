"""What runs of early acknowledged messages bring: each kind once, whatever fails in between."""

from __future__ import annotations

import logging

import pytest

from umbel.drivers.memory import MemoryDriver
from umbel.errors import BrokerUnavailable, OutcomeUnknown
from umbel.model.delivery import Effects, Quarantine
from umbel.model.queues import Queue
from umbel.model.shelves import EVERYTHING, Aside, Shelf
from umbel.testing.conformance.station import outgoing, record
from umbel.testing.faults import FaultyBroker
from umbel.worker.unclaimed import Unclaimed

ASIDE = Aside(queue="celery", raw=b"no JSON", verdict=Quarantine("undecodable"), worker="w@h")


def quarantined(driver):
    page = (
        driver.broker().shelves().page(Shelf.QUARANTINE, "celery", EVERYTHING, after=None, limit=9)
    )
    return [(each.raw, each.reason, each.worker) for each in page.entries]


def test_a_message_without_a_claim_is_set_aside():
    driver = MemoryDriver()
    loose = [Effects((record("id-1", "FAILURE"),), asides=(ASIDE,))]
    Unclaimed(driver.broker(), driver.result_backend()).perform(loose)
    assert quarantined(driver) == [(b"no JSON", "undecodable", "w@h")]
    assert driver.result_backend().fetch(["id-1"])["id-1"].state == "FAILURE"
    assert loose == []


def test_it_is_set_aside_once_when_what_follows_fails(monkeypatch):
    driver = MemoryDriver()
    unclaimed = Unclaimed(driver.broker(), None)
    publisher = driver.broker().open_publisher()

    def fail(*_, **__):
        raise BrokerUnavailable("gone")

    monkeypatch.setattr(type(publisher), "publish", fail)
    loose = [Effects((), (outgoing(Queue("celery"), "next"),), asides=(ASIDE,))]
    with pytest.raises(BrokerUnavailable):
        unclaimed.perform(loose)
    monkeypatch.undo()
    unclaimed.perform(loose)
    assert len(quarantined(driver)) == 1
    assert driver.broker().stats(["celery"])[0].ready == 1


def test_what_may_have_been_sent_is_not_sent_again(monkeypatch, caplog):
    driver = MemoryDriver()
    unclaimed = Unclaimed(driver.broker(), driver.result_backend())
    kind = type(driver.broker().open_publisher())
    publish = kind.publish

    def lose_the_answer(self, *words, **more):
        publish(self, *words, **more)
        raise OutcomeUnknown("the connection was lost before the reply came")

    monkeypatch.setattr(kind, "publish", lose_the_answer)
    follow_up = outgoing(Queue("celery"), "next")
    loose = [Effects((record("id-1", "SUCCESS"),), (follow_up,))]
    with pytest.raises(OutcomeUnknown):
        unclaimed.perform(loose)
    monkeypatch.undo()
    assert "1 messages that follow tasks with early acknowledgement" in caplog.text
    unclaimed.perform(loose)
    assert driver.broker().stats(["celery"])[0].ready == 1
    assert driver.result_backend().fetch(["id-1"])["id-1"].state == "SUCCESS"


def test_a_broker_that_keeps_no_such_messages_has_it_logged(caplog):
    broker = FaultyBroker(MemoryDriver().broker())
    broker.capabilities = type(broker.capabilities)(
        delay=True, priority=True, lease=True, celery_peers=False
    )
    with caplog.at_level(logging.ERROR):
        Unclaimed(broker, None).perform([Effects(asides=(ASIDE,))])
    assert "from queue celery was acknowledged early and is lost" in caplog.text
