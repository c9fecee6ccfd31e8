"""What each kind of setting accepts, and the sentence about what it does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from umbel.config.converting import convert


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [
        ("task_acks_late", True, True),
        ("task_acks_late", 0, False),
        ("task_acks_late", "yes", True),
        ("task_acks_late", "False", False),
        ("task_acks_late", None, False),
        ("task_reject_on_worker_lost", None, None),
        ("worker_prefetch_multiplier", "8", 8),
        ("worker_prefetch_multiplier", 8.0, 8),
        ("broker_pool_limit", None, None),
        ("result_expires", timedelta(hours=2), 7200.0),
        ("result_expires", 60, 60.0),
        ("result_expires", "60.5", 60.5),
        ("result_expires", 0, None),
        ("result_expires", None, None),
        ("task_time_limit", timedelta(minutes=1), 60.0),
        ("worker_concurrency", "auto", "auto"),
        ("worker_concurrency", "12", 12),
        ("worker_concurrency", 0, None),
        ("worker_umask", "022", 0o22),
        ("worker_umask", 18, 18),
        ("broker_url", ["redis://a", "redis://b"], "redis://a;redis://b"),
        ("worker_state_db", Path("/var/state"), "/var/state"),
        ("include", "a, b", ("a", "b")),
        ("include", '["a", "b"]', ["a", "b"]),
        ("accept_content", {"pickle", "json"}, ["json", "pickle"]),
        ("security_key_password", "secret", b"secret"),
        ("broker_transport_options", '{"visibility_timeout": 60}', {"visibility_timeout": 60}),
        ("result_backend_max_retries", "inf", float("inf")),
        ("result_cache_max", -1, -1),
        ("task_default_delivery_mode", "persistent", "persistent"),
        ("task_default_rate_limit", "10/m", "10/m"),
    ],
)
def test_accepted(name: str, value: Any, stored: Any) -> None:
    assert convert(name, value) == stored
    assert type(convert(name, value)) is type(stored)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("task_acks_late", "maybe", "is 'maybe' (str); it takes True or False"),
        ("task_acks_late", 2, "is 2 (int); it takes True or False"),
        ("worker_prefetch_multiplier", "many", "is 'many' (str); it takes a whole number"),
        ("worker_prefetch_multiplier", True, "is True (bool); it takes a whole number"),
        ("worker_prefetch_multiplier", 1.5, "is 1.5 (float); it takes a whole number"),
        ("worker_prefetch_multiplier", None, "cannot be None: it takes a whole number"),
        ("worker_prefetch_multiplier", -1, "is -1; it cannot be negative"),
        (
            "task_time_limit",
            "1 hour",
            "is '1 hour' (str); it takes a number of seconds or a timedelta",
        ),
        (
            "task_time_limit",
            float("nan"),
            "is nan (float); it takes a number of seconds or a timedelta",
        ),
        ("result_expires", timedelta(days=-1), "is -86400.0; it cannot be negative"),
        ("task_protocol", 3, "is 3; it must be one of 1, 2"),
        (
            "task_default_queue_type",
            "qourum",
            "is 'qourum'; it must be one of 'classic', 'quorum'",
        ),
        ("task_serializer", 3, "is 3 (int); it takes text"),
        ("include", 3, "is 3 (int); it takes a list of texts, or one text with commas"),
        (
            "include",
            ["a", 3],
            "is ['a', 3] (list); it takes a list of texts, or one text with commas",
        ),
        ("beat_schedule", [1], "is [1] (list); it takes a mapping"),
        ("beat_schedule", "{1", "is not valid JSON"),
        ("security_key_password", 5, "is 5 (int); it takes bytes or text"),
        ("worker_umask", "9", "is '9' (str); it takes a file mode"),
        ("worker_uid", 1.5, "is 1.5 (float); it takes a whole number or text"),
        ("result_backend_max_retries", "often", "is 'often' (str); it takes a number"),
    ],
)
def test_refused_with_a_sentence(name: str, value: Any, sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        convert(name, value)
    assert str(caught.value).startswith(sentence)


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(ValueError, match=r"\.\.\. \(str\)") as caught:
        convert("worker_prefetch_multiplier", "x" * 10_000)
    assert len(str(caught.value)) < 150


@pytest.mark.parametrize(
    ("name", "text", "stored"),
    [
        ("broker_pool_limit", "none", None),
        ("timezone", "null", None),
        ("task_compression", "None", None),
        ("task_routes", '{"a.*": {"queue": "q"}}', {"a.*": {"queue": "q"}}),
        ("task_queues", "[]", []),
        ("result_backend", "redis://h", "redis://h"),
        ("task_default_delivery_mode", "1", 1),
        ("task_protocol", " 1 ", 1),
    ],
)
def test_text_from_outside_may_say_none_and_json(name: str, text: str, stored: Any) -> None:
    assert convert(name, text, from_text=True) == stored


def test_in_code_the_text_none_is_a_text() -> None:
    assert convert("task_compression", "none") == "none"


def test_mappings_and_lists_stay_the_same_objects() -> None:
    schedule: dict[str, Any] = {}
    modules = ["a"]
    assert convert("beat_schedule", schedule) is schedule
    assert convert("include", modules) is modules


@given(st.integers(min_value=0, max_value=10**9))
def test_a_number_and_its_text_are_the_same_setting(number: int) -> None:
    assert convert("worker_prefetch_multiplier", number) == number
    assert convert("worker_prefetch_multiplier", str(number)) == number
    assert convert("task_time_limit", timedelta(seconds=number)) == (number or None)
