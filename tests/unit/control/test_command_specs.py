"""Words become arguments; wrong ones are told."""

from __future__ import annotations

import pytest

from umbel.control.command_specs import BY_NAME, SPECS
from umbel.errors import UsageError


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        ("conf yes", {"with_defaults": True}),
        ("conf", {}),
        ("query_task a b", {"ids": ["a", "b"]}),
        ("registered rate_limit", {"taskinfoitems": ["rate_limit"]}),
        ("revoke a b", {"task_id": ["a", "b"]}),
        ("terminate SIGKILL a", {"signal": "SIGKILL", "task_id": ["a"]}),
        ("time_limit t 1 2.5", {"task_name": "t", "soft": 1.0, "hard": 2.5}),
        ("rate_limit t 10/m", {"task_name": "t", "rate_limit": "10/m"}),
        ("rate_limit t 0.5", {"task_name": "t", "rate_limit": 0.5}),
        ("pool_grow", {}),
        ("pool_grow 3", {"n": 3}),
        ("autoscale 8 2", {"max": 8, "min": 2}),
        ("add_consumer q e topic k", {
            "queue": "q", "exchange": "e", "exchange_type": "topic", "routing_key": "k",
        }),
    ],
)  # fmt: skip
def test_words_become_arguments(words, arguments):
    name, *rest = words.split()
    assert BY_NAME[name].from_words(rest) == arguments


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("query_task", "needs more arguments"),
        ("time_limit t", "<task_name> <soft_secs>"),
        ("ping now", "takes no more arguments"),
        ("pool_grow many", "n cannot be 'many'"),
        ("conf perhaps", "with_defaults cannot be 'perhaps'"),
    ],
)
def test_wrong_words_are_told(words, told):
    name, *rest = words.split()
    with pytest.raises(UsageError, match=told):
        BY_NAME[name].from_words(rest)


def test_every_name_is_one_commands():
    names = [name for spec in SPECS for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names)) == len(BY_NAME)
