from __future__ import annotations

import gc
import logging
from typing import Any

import pytest

from umbel.app import signals
from umbel.app.signals import Signal, reraise


def test_receivers_are_called_in_order_with_signal_and_sender() -> None:
    signal = Signal(["what"], name="s")
    calls: list[Any] = []

    @signal.connect
    def first(signal: Signal, sender: Any, what: str, **_: Any) -> str:
        calls.append((signal.name, sender, what))
        return "1"

    @signal.connect(sender=None)
    def second(**_: Any) -> str:
        return "2"

    assert signal.send(sender="me", what="x") == [(first, "1"), (second, "2")]
    assert calls == [("s", "me", "x")]


def test_nobody_listening_is_false() -> None:
    signal = Signal()
    assert not signal.receivers

    @signal.connect
    def receiver(**_: Any) -> None: ...

    assert signal.receivers
    assert signal.has_listeners()
    assert signal.disconnect(receiver)
    assert not signal.receivers
    assert not signal.disconnect(receiver)


def test_receivers_are_weak_unless_told_otherwise() -> None:
    signal = Signal()

    def connect() -> None:
        def weak(**_: Any) -> str:
            return "weak"

        def strong(**_: Any) -> str:
            return "strong"

        signal.connect(weak)
        signal.connect(strong, weak=False)

    connect()
    gc.collect()
    assert [answer for _, answer in signal.send(sender=None)] == ["strong"]


def test_weak_methods_live_as_long_as_their_object() -> None:
    class Watcher:
        def seen(self, **_: Any) -> str:
            return "seen"

    signal = Signal()
    watcher = Watcher()
    signal.connect(watcher.seen)
    assert [answer for _, answer in signal.send(sender=1)] == ["seen"]
    del watcher
    gc.collect()
    assert signal.send(sender=1) == []
    assert not signal.receivers


def test_sender_filter_compares_text_by_value_and_the_rest_by_identity() -> None:
    signal = Signal()
    heard: list[str] = []
    one, other = object(), object()

    @signal.connect(sender="proj.add")
    def by_name(**_: Any) -> None:
        heard.append("name")

    @signal.connect(sender=one)
    def by_object(**_: Any) -> None:
        heard.append("object")

    signal.send(sender="proj." + "add")
    signal.send(sender="proj.other")
    signal.send(sender=one)
    signal.send(sender=other)
    assert heard == ["name", "object"]
    assert signal.has_listeners(one)
    assert not signal.has_listeners(other)


def test_a_task_as_sender_filter_also_means_its_name() -> None:
    class Task:
        name = "proj.add"

    signal = Signal()
    heard: list[Any] = []

    @signal.connect(sender=Task)
    def receiver(sender: Any, **_: Any) -> None:
        heard.append(sender)

    signal.send(sender="proj.add")
    assert heard == ["proj.add"]


def test_connecting_twice_counts_once() -> None:
    signal = Signal()

    def receiver(**_: Any) -> None: ...

    signal.connect(receiver)
    signal.connect(receiver)
    assert len(signal.receivers) == 1
    signal.connect(lambda **_: None, weak=False, dispatch_uid="me")
    signal.connect(lambda **_: None, weak=False, dispatch_uid="me")
    assert len(signal.receivers) == 2
    assert signal.disconnect(dispatch_uid="me")


def test_exceptions_are_logged_and_returned(caplog: pytest.LogCaptureFixture) -> None:
    signal = Signal(name="fragile")

    @signal.connect
    def broken(**_: Any) -> None:
        raise ValueError("no")

    @signal.connect
    def fine(**_: Any) -> int:
        return 1

    with caplog.at_level(logging.ERROR):
        answers = signal.send_robust(sender=None)
    assert [type(answer) for _, answer in answers] == [ValueError, int]
    assert "broken of signal fragile raised" in caplog.text
    with pytest.raises(ValueError, match="no"):
        reraise(answers)


def test_a_receiver_must_take_any_keyword() -> None:
    def narrow(sender: Any) -> None: ...

    with pytest.raises(ValueError, match=r"narrow must accept arbitrary keywords: add \*\*kwargs"):
        Signal().connect(narrow)
    with pytest.raises(TypeError, match="must be callable"):
        Signal().connect(3)  # type: ignore[type-var]  # the error under test


def test_retry_repeats_until_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(signals.time, "sleep", pauses.append)
    signal = Signal()
    tries: list[int] = []

    @signal.connect(retry=True)
    def stubborn(**_: Any) -> str:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("not yet")
        return "done"

    assert [answer for _, answer in signal.send(sender=None)] == ["done"]
    assert pauses == [0.2, 0.4]


@pytest.mark.parametrize(
    "name",
    [
        "before_task_publish",
        "after_task_publish",
        "task_prerun",
        "task_postrun",
        "task_success",
        "task_failure",
        "task_retry",
        "task_received",
        "task_revoked",
        "task_rejected",
        "task_unknown",
        "task_internal_error",
        "task_sent",
        "import_modules",
        "celeryd_init",
        "celeryd_after_setup",
        "worker_init",
        "worker_ready",
        "worker_shutting_down",
        "worker_shutdown",
        "worker_before_create_process",
        "worker_process_init",
        "worker_process_shutdown",
        "heartbeat_sent",
        "setup_logging",
        "after_setup_logger",
        "after_setup_task_logger",
        "beat_init",
        "beat_embedded_init",
        "eventlet_pool_started",
        "eventlet_pool_preshutdown",
        "eventlet_pool_postshutdown",
        "eventlet_pool_apply",
        "user_preload_options",
        "test_worker_starting",
        "test_worker_started",
        "test_worker_stopped",
    ],
)
def test_every_signal_of_celery_is_there(name: str) -> None:
    assert getattr(signals, name).name == name
