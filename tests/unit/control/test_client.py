"""A caller waits for those who can answer, and no longer."""

from __future__ import annotations

import threading
import time

import pytest

from umbel.config.bus_names import BusNames
from umbel.control.client import ControlClient, checked_matcher, expected_answers
from umbel.drivers.memory.bus import MemoryBus
from umbel.errors import UsageError
from umbel.model.bus import Notice
from umbel.wire import pidbox
from umbel.wire.pidbox import Command
from umbel.wire.serializers import JSON

ACCEPT = frozenset({"application/json"})
NAMES = BusNames()


@pytest.mark.parametrize(
    ("fields", "heard_by", "known", "expected"),
    [
        ({}, 2, ["a", "b"], 2),
        ({}, 3, ["a", "b"], 3),  # one is of Celery
        ({}, None, ["a"], None),
        ({}, 0, ["a"], 0),
        ({"destination": ("a",)}, 2, ["a", "b"], 1),
        ({"destination": ("gone",)}, 2, ["a", "b"], 0),
        ({"destination": ("a", "other")}, 3, ["a", "b"], 2),
        ({"destination": ("a", "a")}, None, [], 1),
        ({"pattern": "b*", "matcher": "glob"}, 2, ["a", "b"], 1),
        ({"pattern": "b*", "matcher": "glob"}, 3, ["a", "b"], None),
    ],
)
def test_how_many_answers_can_come(fields, heard_by, known, expected):
    assert expected_answers(Command(method="ping", **fields), heard_by, known) == expected


class Worker:
    """Answers every command with its name, until it is closed."""

    def __init__(self, bus, name, answer=True):
        self.name, self.answer = name, answer
        self.line = bus.open_line([NAMES.node(name)])
        self.line.listen(1)
        self.heard = []
        self.ending = False
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ending:
            for notice in self.line.receive(0.2):
                command = pidbox.decode_command(notice.message, ACCEPT)
                self.heard.append(command)
                if command.reply_key and self.answer and command.is_for(self.name):
                    self.reply(command, "stale")
                    self.reply(command, command.ticket)

    def reply(self, command, ticket):
        said = pidbox.encode_reply(
            self.name, {"ok": "pong"}, ticket=ticket, clock=9, serializer=JSON
        )
        self.line.tell([Notice(NAMES.replies, command.reply_key, said)], timeout=1)

    def close(self):
        self.ending = True
        self.line.wake()
        self.thread.join()
        self.line.close()


@pytest.fixture
def bus():
    return MemoryBus()


@pytest.fixture
def start(bus):
    workers = []

    def make(name, **options):
        workers.append(Worker(bus, name, **options))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close()


def client(bus, *known):
    return ControlClient(bus, NAMES, serializer=JSON, accept=ACCEPT, known=lambda: known)


def test_everybody_answers_and_nobody_is_waited_for(bus, start):
    start("a"), start("b")
    began = time.monotonic()
    replies = client(bus, "a", "b").ask(Command(method="ping"), timeout=30)
    assert sorted(replies, key=str) == [{"a": {"ok": "pong"}}, {"b": {"ok": "pong"}}]
    assert time.monotonic() - began < 30


def test_who_does_not_answer_is_waited_for_as_long_as_said(bus, start):
    start("a"), start("b", answer=False)
    assert client(bus, "a", "b").ask(Command(method="ping"), timeout=0.2) == [{"a": {"ok": "pong"}}]


def test_nobody_there_is_no_wait(bus):
    began = time.monotonic()
    assert client(bus).ask(Command(method="ping"), timeout=30) == []
    assert time.monotonic() - began < 30


def test_a_limit_is_enough(bus, start):
    start("a"), start("b")
    assert len(client(bus, "a", "b").ask(Command(method="ping"), timeout=30, limit=1)) == 1


def test_each_answer_is_given_to_the_callback(bus, start):
    start("a")
    heard = []
    client(bus, "a").ask(Command(method="ping"), timeout=30, callback=heard.append)
    assert heard == [{"a": {"ok": "pong"}}]


def test_a_command_without_answer(bus, start):
    worker = start("a")
    client(bus, "a").tell(Command(method="heartbeat"))
    client(bus, "a").ask(Command(method="ping"), timeout=30)
    assert [(each.method, bool(each.reply_key)) for each in worker.heard] == [
        ("heartbeat", False),
        ("ping", True),
    ]


def test_a_pattern_is_a_glob_unless_said():
    assert checked_matcher("w*", None) == ("w*", "glob")
    assert checked_matcher(None, "pcre") == (None, None)
    with pytest.raises(UsageError, match="glob, pcre"):
        checked_matcher("w*", "astrology")
