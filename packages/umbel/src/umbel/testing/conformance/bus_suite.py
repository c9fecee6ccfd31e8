"""The promises of ``ports.Bus`` and ``Line``, as tests to subclass.

A test module gives the fixture ``bus``; and ``unreachable_bus``, one whose service is not there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from umbel.errors import OperationalError
from umbel.model.bus import Mailbox, Notice, Spread, Topic
from umbel.model.message import EncodedMessage
from umbel.ports import Bus, Line
from umbel.testing.conformance.station import PATIENCE, InThread, new_id

Open = Callable[..., Line]


def topic(spread: Spread) -> Topic:
    """Return a topic that nobody else uses."""
    return Topic(f"suite-{new_id()}", spread)


def mailbox(about: Topic, binding: str = "") -> Mailbox:
    """Return a mailbox that nobody else reads."""
    return Mailbox(topic=about, binding=binding, queue=f"box-{new_id()}", ttl=5.0, expires=60.0)


def notice(about: Topic, text: str, key: str = "") -> Notice:
    """Return something to tell."""
    message = EncodedMessage(
        headers={"ticket": text, "clock": 3},
        properties={"delivery_mode": 1, "priority": 0},
        body=text.encode(),
        content_type="application/json",
        content_encoding="utf-8",
    )
    return Notice(about, key, message)


def hear(line: Line, count: int = 1) -> list[str]:
    """Return the next texts that a line hears, in order."""
    heard: list[str] = []
    deadline = time.monotonic() + PATIENCE
    while len(heard) < count and time.monotonic() < deadline:
        heard += [each.message.body.decode() for each in line.receive(0.5)]
    return heard


class BusSuite:
    """Everything a bus promises. Subclass it and give it ``bus``."""

    @pytest.fixture
    def bus(self) -> Bus:
        """Return the bus under test. Topics are random, so others may be on it."""
        raise NotImplementedError("give the suite a fixture named bus")

    @pytest.fixture
    def unreachable_bus(self) -> Bus:
        """Return a bus whose service cannot be reached."""
        pytest.skip("this bus is always there")

    @pytest.fixture
    def open_line(self, bus: Bus) -> Iterator[Open]:
        """Return a function that opens a listening line; all are closed in the end."""
        lines: list[Line] = []

        def make(*mailboxes: Mailbox) -> Line:
            lines.append(bus.open_line(mailboxes))
            lines[-1].listen(PATIENCE)
            return lines[-1]

        yield make
        for line in lines:
            line.close()

    @pytest.fixture
    def speaker(self, open_line: Open) -> Line:
        """Return a line that only tells."""
        return open_line()

    # --- who hears what ---------------------------------------------------------------------------

    def test_everybody_hears_what_is_told_to_all(self, open_line: Open, speaker: Line) -> None:
        about = topic(Spread.ALL)
        lines = [open_line(mailbox(about)) for _ in range(3)]
        speaker.tell([notice(about, "hello")], timeout=PATIENCE)
        assert [hear(line) for line in lines] == [["hello"]] * 3

    def test_it_arrives_as_it_was_told(self, open_line: Open, speaker: Line) -> None:
        about = topic(Spread.BY_PATTERN)
        line = open_line(mailbox(about, "#"))
        speaker.tell([notice(about, "as it is", "worker.online")], timeout=PATIENCE)
        (heard,) = _receive(line)
        assert heard.topic == about
        assert heard.key == "worker.online"
        assert dict(heard.message.headers) == {"ticket": "as it is", "clock": 3}
        assert heard.message.body == b"as it is"
        assert heard.message.content_type == "application/json"

    @pytest.mark.parametrize(
        ("binding", "heard"),
        [
            ("#", ["online", "multi"]),
            ("worker.#", ["online"]),
            ("task.*", ["multi"]),
            ("task.multi", ["multi"]),
        ],
    )
    def test_a_pattern_chooses_by_the_key(
        self, open_line: Open, speaker: Line, binding: str, heard: list[str]
    ) -> None:
        about = topic(Spread.BY_PATTERN)
        line = open_line(mailbox(about, binding))
        told = [notice(about, "online", "worker.online"), notice(about, "multi", "task.multi")]
        speaker.tell(told, timeout=PATIENCE)
        speaker.tell(
            [notice(about, "last", binding.replace("#", "x").replace("*", "x"))], timeout=1
        )
        assert hear(line, len(heard) + 1) == [*heard, "last"]

    def test_only_the_one_with_the_key_hears_it(self, open_line: Open, speaker: Line) -> None:
        about = topic(Spread.BY_KEY)
        mine, other = open_line(mailbox(about, "me")), open_line(mailbox(about, "you"))
        speaker.tell([notice(about, "for you", "you")], timeout=PATIENCE)
        speaker.tell([notice(about, "for me", "me")], timeout=PATIENCE)
        assert hear(mine) == ["for me"]
        assert hear(other) == ["for you"]

    def test_topics_do_not_mix(self, open_line: Open, speaker: Line) -> None:
        one, two = topic(Spread.ALL), topic(Spread.ALL)
        line = open_line(mailbox(one))
        speaker.tell([notice(two, "elsewhere"), notice(one, "here")], timeout=PATIENCE)
        assert hear(line) == ["here"]

    def test_one_line_may_listen_to_several_topics(self, open_line: Open, speaker: Line) -> None:
        events, commands = topic(Spread.BY_PATTERN), topic(Spread.ALL)
        line = open_line(mailbox(events, "#"), mailbox(commands))
        speaker.tell(
            [notice(events, "event", "a.b"), notice(commands, "command")], timeout=PATIENCE
        )
        assert sorted(hear(line, 2)) == ["command", "event"]

    # --- order, number, loss ----------------------------------------------------------------------

    def test_one_speaker_is_heard_in_order(self, open_line: Open, speaker: Line) -> None:
        about = topic(Spread.ALL)
        line = open_line(mailbox(about))
        texts = [str(number) for number in range(200)]
        speaker.tell([notice(about, text) for text in texts], timeout=PATIENCE)
        assert hear(line, len(texts)) == texts

    def test_a_line_hears_itself(self, open_line: Open) -> None:
        about = topic(Spread.ALL)
        line = open_line(mailbox(about))
        line.tell([notice(about, "me")], timeout=PATIENCE)
        assert hear(line) == ["me"]

    def test_telling_says_how_many_listen_where_that_is_known(
        self, open_line: Open, speaker: Line
    ) -> None:
        about = topic(Spread.ALL)
        assert speaker.tell([notice(about, "to nobody")], timeout=PATIENCE) in (0, None)
        lines = [open_line(mailbox(about)) for _ in range(2)]
        assert speaker.tell([notice(about, "to two")], timeout=PATIENCE) in (2, None)
        lines[0].close()
        assert speaker.tell([notice(about, "to one")], timeout=PATIENCE) in (1, None)

    def test_what_is_told_to_nobody_is_gone(self, open_line: Open, speaker: Line) -> None:
        for spread in Spread:
            about = topic(spread)
            speaker.tell([notice(about, "early", "key")], timeout=PATIENCE)
            line = open_line(mailbox(about, "key"))
            speaker.tell([notice(about, "in time", "key")], timeout=PATIENCE)
            assert hear(line) == ["in time"]

    def test_nothing_to_tell_is_nothing_told(self, speaker: Line) -> None:
        assert speaker.tell([], timeout=PATIENCE) == 0

    # --- waiting ----------------------------------------------------------------------------------

    @pytest.mark.parametrize("spread", list(Spread), ids=lambda spread: spread.value)
    def test_a_waiting_line_hears_at_once(
        self, open_line: Open, speaker: Line, spread: Spread
    ) -> None:
        about = topic(spread)
        line = open_line(mailbox(about, "key"))
        waiting = InThread(lambda: list(line.receive(PATIENCE)))
        speaker.tell([notice(about, "now", "key")], timeout=PATIENCE)
        assert [each.message.body for each in waiting.result()] == [b"now"]

    @pytest.mark.parametrize("spread", list(Spread), ids=lambda spread: spread.value)
    def test_a_waiting_line_is_woken(self, open_line: Open, spread: Spread) -> None:
        line = open_line(mailbox(topic(spread), "key"))
        waiting = InThread(lambda: list(line.receive(PATIENCE)))
        line.wake()
        assert waiting.result() == []

    def test_a_wake_before_the_wait_counts(self, open_line: Open) -> None:
        line = open_line(mailbox(topic(Spread.ALL)))
        line.wake()
        started = time.monotonic()
        assert line.receive(PATIENCE) == []
        assert time.monotonic() - started < PATIENCE

    def test_a_wait_ends_when_its_time_is_up(self, open_line: Open) -> None:
        for spread in Spread:
            assert list(open_line(mailbox(topic(spread), "key")).receive(0.01)) == []

    # --- when the service is away -----------------------------------------------------------------

    def test_a_service_that_is_not_there_is_an_operational_error(
        self, unreachable_bus: Bus
    ) -> None:
        about = topic(Spread.ALL)
        line = unreachable_bus.open_line([mailbox(about)])
        try:
            with pytest.raises(OperationalError):
                line.tell([notice(about, "hello")], timeout=1.0)
            with pytest.raises(OperationalError):
                line.listen(1.0)
            with pytest.raises(OperationalError):
                line.receive(0.1)
        finally:
            line.close()


def _receive(line: Line) -> Sequence[Notice]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if heard := line.receive(0.5):
            return heard
    return ()
