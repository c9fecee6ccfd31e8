"""A pipe to oneself wakes whoever waits, and remembers one ring."""

from __future__ import annotations

import os
import threading
import time

import pytest

from umbel.drivers.selfpipe import SelfPipe
from umbel.testing.conformance.station import PATIENCE


def test_a_ring_before_the_wait_is_remembered_and_used_up() -> None:
    pipe = SelfPipe()
    pipe.ring()
    pipe.ring()
    began = time.monotonic()
    assert pipe.wait(PATIENCE) == []
    assert time.monotonic() - began < PATIENCE / 2
    assert pipe.wait(0.0) == []
    began = time.monotonic()
    pipe.wait(0.05)
    assert time.monotonic() - began >= 0.04
    pipe.close()


def test_a_ring_from_another_thread_ends_the_wait() -> None:
    pipe = SelfPipe()
    thread = threading.Timer(0.02, pipe.ring)
    thread.start()
    began = time.monotonic()
    pipe.wait(PATIENCE)
    assert time.monotonic() - began < PATIENCE / 2
    thread.join()
    pipe.close()


def test_other_descriptors_end_the_wait_and_are_named() -> None:
    reader, writer = os.pipe()
    pipe = SelfPipe(reader)
    os.write(writer, b"x")
    assert pipe.wait(PATIENCE) == [reader]
    pipe.close()
    os.close(reader)
    os.close(writer)


def test_any_number_of_rings_neither_waits_nor_fails() -> None:
    pipe = SelfPipe()
    for _ in range(100_000):
        pipe.ring()
    pipe.wait(PATIENCE)
    pipe.close()


@pytest.mark.parametrize("times", [1, 2])
def test_closed_is_silent(times: int) -> None:
    pipe = SelfPipe()
    for _ in range(times):
        pipe.close()
    pipe.ring()
