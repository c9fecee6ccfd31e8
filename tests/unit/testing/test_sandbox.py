"""The sandbox: the real worker, and a clock that the test turns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from umbel import chain, chord, group
from umbel.errors import BrokerUnavailable
from umbel.testing import Sandbox
from umbel.testing.manual_clock import START


def test_nothing_runs_before_it_is_drained(app):
    ran = []

    @app.task
    def note(word):
        ran.append(word)
        return word.upper()

    with Sandbox(app) as box:
        result = note.delay("a")
        assert (ran, result.state) == ([], "PENDING")
        assert box.drain() == 1
        assert (ran, result.get(timeout=1)) == (["a"], "A")
        assert [run.state for run in box.runs] == ["SUCCESS"]
        assert box.drain() == 0


def test_what_waits_runs_when_its_time_has_come(app):
    ran = []

    @app.task
    def note(word):
        ran.append((word, app.now() - START))

    with Sandbox(app, now=START) as box:
        note.apply_async(("later",), countdown=3600)
        note.apply_async(("soon",), eta=START + timedelta(minutes=5))
        expired = note.apply_async(("never",), countdown=100, expires=50)
        assert box.advance(minutes=4) == 0
        assert box.advance(minutes=57) == 2
        assert ran == [("soon", timedelta(minutes=5)), ("later", timedelta(hours=1))]
        assert expired.state == "REVOKED"


def test_retries_wait_their_time(app):
    tries = []

    @app.task(bind=True, max_retries=3, default_retry_delay=60)
    def flaky(self):
        tries.append(int((app.now() - START).total_seconds()))
        if len(tries) < 3:
            raise self.retry()
        return "at last"

    with Sandbox(app, now=START) as box:
        result = flaky.delay()
        box.drain()
        assert result.state == "RETRY"
        box.advance(seconds=119)
        assert tries == [0, 60]
        box.advance(seconds=1)
        assert (tries, result.get(timeout=1)) == ([0, 60, 120], "at last")


def test_workflows_run_to_their_end(app):
    @app.task
    def add(a, b):
        return a + b

    @app.task
    def total(values):
        return sum(values)

    with Sandbox(app) as box:
        line = chain(add.s(1, 2), add.s(3)).delay()
        both = group(add.s(1, 1), add.s(2, 2)).delay()
        joined = chord([add.s(i, i) for i in range(5)], total.s()).delay()
        box.drain()
        assert line.get(timeout=1) == 6
        assert both.get(timeout=1) == [2, 4]
        assert joined.get(timeout=1) == 20


def test_the_schedule_is_kept(app):
    ran = []

    @app.task
    def tick():
        ran.append(app.now())

    app.add_periodic_task(600, tick.s(), name="every ten minutes")
    with Sandbox(app, now=datetime(2030, 5, 1, 12, tzinfo=UTC)) as box:
        box.advance(hours=1)
    assert len(ran) == 6


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_dead_worker_held_runs_again(app, when):
    ran = []

    @app.task
    def note():
        ran.append(1)

    with Sandbox(app) as box:
        result = note.delay()
        box.kill_worker(when)
        box.drain()
        assert (len(ran), result.state) == (int(when == "after"), "PENDING")
        box.advance(seconds=app.settings.worker_lease + 1)
        assert (len(ran), result.state) == (1 + int(when == "after"), "SUCCESS")


def test_an_early_acknowledgement_loses_what_a_dead_worker_ran(celery_app):
    ran = []

    @celery_app.task
    def note():
        ran.append(1)

    with Sandbox(celery_app) as box:
        note.delay()
        box.kill_worker("before")
        box.advance(minutes=5)
    assert ran == []


def test_a_message_can_come_twice(app):
    ran = []

    @app.task(bind=True)
    def note(self):
        ran.append(self.request.delivery_info["redelivered"])

    with Sandbox(app) as box:
        note.delay()
        assert box.redeliver() == 2
    assert ran == [False, True]


def test_the_broker_can_be_out_of_reach(app):
    @app.task
    def note():
        return 1

    app.conf.task_publish_retry = False
    with Sandbox(app) as box:
        waiting = note.delay()
        with box.broker_down():
            with pytest.raises(BrokerUnavailable, match="The broker is down, as the test said"):
                note.delay()
            assert box.drain() == 0
        box.drain()
        assert waiting.get(timeout=1) == 1


def test_what_was_sent_can_be_asked(app):
    @app.task
    def mail(to, subject="hello"):
        return to

    with Sandbox(app) as box:
        box.assert_not_enqueued(mail)
        mail.apply_async(("ann",), {"subject": "hi"}, countdown=60, queue="slow")
        mail.delay("bob")
        (message,) = box.assert_enqueued(
            mail, ("ann",), {"subject": "hi"}, queue="slow", countdown=60
        )
        assert message.task == mail.name
        box.assert_enqueued(mail, times=2)
        with pytest.raises(AssertionError) as told:
            box.assert_enqueued(mail, ("cyd",))
        assert "was to be sent at least once and was 0 times" in str(told.value)
        assert "mail('ann', subject='hi') to slow at 20" in str(told.value)
        assert [each.args for each in box.sent] == [["ann"], ["bob"]]


def test_a_task_that_sends_itself_for_ever_is_told(app):
    @app.task
    def again():
        again.delay()

    with Sandbox(app) as box:
        again.delay()
        with pytest.raises(AssertionError, match="More than 20 runs, and there is still something"):
            box.drain(most=20)


def test_the_app_is_afterwards_what_it_was(app):
    before = app.conf, app.clock
    url = app.settings.broker_url
    with Sandbox(app):
        assert app.settings.broker_url.startswith("memory://sandbox-")
    assert (app.conf, app.clock) == before
    assert app.settings.broker_url == url
