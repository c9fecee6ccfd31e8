"""Words on a socket come out as they went in, however they are cut."""

from __future__ import annotations

import socket

from hypothesis import given
from hypothesis import strategies as st

from umbel.model.assignment import Assignment, Cancel, Interrupt, Order, Recall, Stop
from umbel.worker.frames import FrameReader, FrameWriter, pack

assignments = st.builds(
    Assignment,
    id=st.integers(0, 2**40),
    raw=st.binary(max_size=200),
    queue=st.text(max_size=20),
    count=st.integers(1, 99),
    redelivered=st.booleans(),
    soft_limit=st.none() | st.floats(0, 1e6),
    hard_limit=st.none() | st.floats(0, 1e6),
)
orders = st.one_of(
    assignments,
    st.builds(Recall, st.booleans()),
    st.just(Stop()),
    st.builds(Cancel, st.integers(0, 2**40), st.sampled_from(Interrupt), st.text()),
)


@given(st.lists(st.lists(orders, max_size=5), max_size=5), st.data())
def test_any_cut_of_the_stream_gives_the_same_words(batches, data):
    stream = b"".join(pack(batch) for batch in batches)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8), label="cuts"))
    reader: FrameReader[Order] = FrameReader(Order)
    heard = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        heard.extend(reader.feed(stream[start:end]))
    assert heard == [word for batch in batches for word in batch]


def test_what_the_socket_does_not_take_waits_and_keeps_its_order():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        writer = FrameWriter(ours)
        reader: FrameReader[Order] = FrameReader(Order)
        sent = [Assignment(n, b"x" * 50_000, "q", 1, False, None, None) for n in range(40)]
        for each in sent:
            writer.send((each,))
        assert writer.blocked
        heard: list[Order] = []
        while len(heard) < len(sent):
            heard.extend(reader.feed(theirs.recv(65_536)))
            writer.flush()
        assert heard == sent
        assert not writer.blocked


def test_a_frame_of_many_megabytes_is_put_together_without_copying_it_at_each_piece():
    sent = Assignment(1, b"x" * 30_000_000, "q", 1, False, None, None)
    stream = pack((sent,)) + pack((Stop(),))
    reader: FrameReader[Order] = FrameReader(Order)
    heard: list[Order] = []
    for start in range(0, len(stream), 10_000):
        heard.extend(reader.feed(stream[start : start + 10_000]))
    assert heard == [sent, Stop()]
