"""Commands of an app's own: what the decorators make of them."""

from __future__ import annotations

import pytest

from umbel.control.custom_commands import REGISTRY, Panel, control_command, inspect_command
from umbel.errors import ImproperlyConfigured, UsageError


@pytest.fixture(autouse=True)
def forgotten():
    before = set(REGISTRY.names())
    yield
    for name in set(REGISTRY.names()) - before:
        REGISTRY.remove(name)


def test_a_decorated_function_stays_itself_and_is_described():
    @inspect_command(
        args=[("low", int), ("high", float)], signature="[low [high]]", alias=["rng"],
        default_timeout=3.0, visible=False,
    )  # fmt: skip
    def between(state, low=0, high=1.0):
        """Say what lies between.

        At length.
        """
        return low + high

    assert between(None, 1) == 2.0
    command = REGISTRY.get("between")
    assert command is REGISTRY.get("rng")
    spec = command.spec
    assert (spec.inspect, spec.help, spec.signature) == (
        True, "Say what lies between.", "[low [high]]",
    )  # fmt: skip
    assert (spec.timeout, spec.visible, spec.aliases) == (3.0, False, ("rng",))
    assert spec.from_words(["3", "4.5"]) == {"low": 3, "high": 4.5}
    with pytest.raises(UsageError, match="low cannot be 'x'"):
        spec.from_words(["x"])
    assert [one.name for one in REGISTRY.specs()] == ["between"]


def test_bare_decorators_and_the_panel():
    @control_command
    def flush_cache(state):
        return {"ok": "flushed"}

    @Panel.register
    def older(state):
        return 1

    @Panel.register(name="oldest", type="control", variadic="words")
    def another(state, words):
        return words

    assert REGISTRY.get("flush_cache").spec.inspect is False
    assert REGISTRY.get("flush_cache").spec.help == "A command of this app."
    assert REGISTRY.get("older").handler is older
    assert REGISTRY.get("oldest").spec.from_words(["a", "b"]) == {"words": ["a", "b"]}


def test_a_name_that_every_worker_knows_is_refused():
    with pytest.raises(ImproperlyConfigured, match="'ping' is a command that every worker has"):
        control_command(name="ping")(lambda state: None)
    with pytest.raises(ImproperlyConfigured, match="'dump_active'"):
        inspect_command(name="x", alias="dump_active")(lambda state: None)
