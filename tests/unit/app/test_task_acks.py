"""When a late-acknowledged message is done with: the task's word, then the settings'."""

from __future__ import annotations

import pytest

from umbel import Umbel

CASES = [
    # settings, the task's own attributes, (after a failure, after a timeout)
    ({}, {}, (True, True)),
    ({"task_acks_on_failure_or_timeout": False}, {}, (False, False)),
    ({"task_acks_on_timeout": False}, {}, (True, False)),
    ({"task_acks_on_failure": False}, {"acks_on_failure": True}, (True, True)),
    ({}, {"acks_on_failure_or_timeout": False}, (False, False)),
    ({}, {"acks_on_failure_or_timeout": False, "acks_on_timeout": True}, (False, True)),
    ({"task_acks_on_timeout": False}, {"acks_on_failure_or_timeout": True}, (True, True)),
]


@pytest.mark.parametrize(("settings", "own", "expected"), CASES)
def test_the_tasks_own_word_wins_over_the_settings(settings, own, expected):
    app = Umbel("acks", broker="memory://acks", **settings)

    @app.task(**own)
    def add(x: int, y: int) -> int:
        return x + y

    assert (add.acks("failure"), add.acks("timeout")) == expected
