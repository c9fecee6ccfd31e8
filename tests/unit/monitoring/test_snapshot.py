"""Cameras: when a picture is taken, and what a failing one does."""

from __future__ import annotations

import time

from umbel.monitoring.cluster_state import State
from umbel.monitoring.snapshot import Polaroid


class Camera(Polaroid):
    clear_after = True

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.pictures, self.cleanups, self.broken = [], 0, False

    def on_shutter(self, state):
        self.pictures.append(len(state.tasks))
        if self.broken:
            raise RuntimeError("no film")

    def on_cleanup(self):
        self.cleanups += 1


def test_pictures_are_taken_in_time_and_what_ended_is_forgotten():
    state = State()
    state.event({"type": "task-succeeded", "uuid": "a"})
    camera, start = Camera(state, freq=2.0, cleanup_freq=3.0), time.monotonic()
    assert 0 < camera.run_due(start) <= 2.0
    assert camera.pictures == []
    assert camera.run_due(start + 2.5) <= 0.6  # the cleanup is next
    assert (camera.pictures, camera.cleanups) == ([1], 0)
    camera.run_due(start + 3.5)
    assert camera.cleanups == 1
    camera.run_due(start + 4.6)
    assert camera.pictures == [1, 0]


def test_the_rate_limits_the_frequency():
    assert Camera(State(), freq=0.1, maxrate=2.0).freq == 0.5
    assert Camera(State(), freq=1.0, maxrate=2.0).freq == 1.0


def test_a_camera_that_fails_is_logged_and_goes_on(caplog):
    camera, start = Camera(State(), freq=1.0), time.monotonic()
    camera.broken = True
    camera.run_due(start + 1.1)
    camera.run_due(start + 2.2)
    assert len(camera.pictures) == 2
    assert "no film" in caplog.text
