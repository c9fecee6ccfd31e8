"""Reports that are kept for a moment: nothing is lost, nothing is told wrong."""

from __future__ import annotations

import os
import socket

import pytest

from umbel.model.assignment import Assignment, Report, Word
from umbel.model.delivery import Ack
from umbel.worker.channel import Channel
from umbel.worker.frames import FrameReader, pack_word
from umbel.worker.pools.seats import Seat
from umbel.worker.spool import SIZE, Spool, open_spool


def report(number: int) -> Report:
    return Report(number, "SUCCESS", Ack(), (), (), 0.0)


def words(frame: bytes) -> list[Word]:
    return FrameReader[Word](Word).feed(frame)


@pytest.fixture
def both_sides():
    descriptor = open_spool()
    writer, reader = Spool(descriptor), Spool(descriptor)
    os.close(descriptor)
    yield writer, reader
    writer.close()
    reader.close()


def test_an_empty_spool_has_no_frame(both_sides):
    _, reader = both_sides
    assert reader.frame() == b""


def test_the_other_side_reads_what_was_kept_in_order(both_sides):
    writer, reader = both_sides
    for number in range(100):
        assert writer.put(pack_word(report(number)))
        assert words(reader.frame()) == [report(each) for each in range(number + 1)]
    assert reader.frame() == writer.frame()


def test_what_was_sent_is_not_read_again(both_sides):
    writer, reader = both_sides
    writer.put(pack_word(report(1)))
    writer.clear()
    assert reader.frame() == b""
    writer.put(pack_word(report(2)))
    assert words(reader.frame()) == [report(2)]


def test_a_spool_emptied_under_the_reader_tells_nothing(both_sides, monkeypatch):
    writer, reader = both_sides
    writer.put(pack_word(report(1)))
    states = iter([reader._load(), (reader._load() >> 48) + 1 << 48])
    monkeypatch.setattr(reader, "_load", lambda: next(states))
    assert reader.frame() == b""


def test_more_than_fits_is_refused_and_changes_nothing(both_sides):
    writer, reader = both_sides
    writer.put(pack_word(report(1)))
    assert not writer.put(bytes(SIZE))
    assert words(reader.frame()) == [report(1)]


@pytest.fixture
def seat_and_channel():
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    seat = Seat(1, ours, slots=1)
    _, shared, _, _ = socket.recv_fds(theirs, 1, 1)
    channel = Channel(theirs, Spool(shared[0]))
    os.close(shared[0])
    yield seat, channel
    theirs.close()
    seat.close()


def give(seat: Seat, *numbers: int) -> None:
    seat.give([Assignment(each, b"", "q", 1, False, None, None) for each in numbers], now=0.0)


def test_a_kept_report_is_heard_though_the_executor_sends_nothing(seat_and_channel):
    seat, channel = seat_and_channel
    give(seat, 1, 2)
    channel.keep(report(1))
    with pytest.raises(BlockingIOError):
        seat.sock.recv(1)
    assert seat.hear_kept() == [report(1)]


def test_a_report_heard_ahead_is_not_heard_twice(seat_and_channel):
    seat, channel = seat_and_channel
    give(seat, 1, 2)
    channel.keep(report(1))
    assert [seat.finished(each, 1.0) for each in seat.hear_kept()] == [True]
    channel.flush()
    sent = seat.reader.feed(seat.sock.recv(65536))
    assert sent == [report(1)]
    assert [seat.finished(each, 2.0) for each in sent] == [False]
    assert list(seat.held) == [2]
    assert seat.moved == 1.0


def test_what_is_said_now_goes_behind_what_was_kept(seat_and_channel):
    seat, channel = seat_and_channel
    give(seat, 1, 2, 3)
    channel.keep(report(1))
    channel.keep(report(2))
    channel.send(report(3))
    assert seat.reader.feed(seat.sock.recv(65536)) == [report(1), report(2), report(3)]
    assert seat.hear_kept() == ()


def test_a_report_too_large_to_keep_is_sent(seat_and_channel, monkeypatch):
    seat, channel = seat_and_channel
    monkeypatch.setattr("umbel.worker.spool.SIZE", 100)
    give(seat, 1, 2)
    channel.keep(report(1))
    channel.keep(report(2))
    heard = seat.reader.feed(seat.sock.recv(65536))
    assert heard[-1] == report(2)
    assert not channel.keeps


def test_a_seat_is_looked_at_while_something_waits_behind_its_task(seat_and_channel):
    seat, _ = seat_and_channel
    give(seat, 1)
    assert seat.looked_at(0.1) is None
    give(seat, 2)
    assert seat.looked_at(0.1) == pytest.approx(0.1)
    seat.recalled = True
    assert seat.looked_at(0.1) is None
