"""Stamps on every call of a workflow."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from umbel.app.app import App
from umbel.errors import UsageError
from umbel.workflows.canvas import chain, chord, group
from umbel.workflows.stamping import StampingVisitor

PATIENCE = 20


@pytest.fixture
def app() -> Iterator[App]:
    url = f"memory://{uuid.uuid4().hex}"
    with App("stamps", broker=url, backend=url) as made:
        yield made


@pytest.fixture
def stamps(app: App) -> Any:
    @app.task(bind=True, name="stamps")
    def stamps(self: Any, *_: Any) -> Any:
        return dict(self.request.stamps or {})

    return stamps


class Each(StampingVisitor):
    """Tells where each call stands."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"number": len(self.seen) or self.seen.append(sig.name)}

    def on_chain_start(self, chain: Any, **headers: Any) -> dict[str, Any]:
        return {"within": "chain"}

    def on_group_start(self, group: Any, **headers: Any) -> dict[str, Any]:
        return {"within": "group"}

    def on_chord_body(self, sig: Any, **headers: Any) -> dict[str, Any]:
        return {"within": "body"}

    def on_callback(self, callback: Any, **headers: Any) -> dict[str, Any]:
        return {"within": "callback"}


def test_plain_stamps_reach_every_run(app: App, stamps: Any) -> None:
    workflow = chain(stamps.s(), group(stamps.s(), stamps.s()), stamps.s()).stamp(who="me", n=1)
    with OneWorker(app, "celery"):
        result = workflow.apply_async()
        told = {"who": "me", "n": 1}
        assert result.get(timeout=PATIENCE) == told
        assert result.parent.get(timeout=PATIENCE) == [told, told]
        assert result.parent.parent.get(timeout=PATIENCE) == told


def test_a_visitor_says_where(app: App, stamps: Any) -> None:
    call = stamps.s()
    call.link(stamps.s())
    workflow = chord([stamps.s(), chain(stamps.s(), stamps.s())], call).stamp(Each())
    header = workflow.tasks
    assert header[0].options["within"] == "group"
    assert header[1].tasks[0].options["within"] == "chain"
    assert workflow.body.options["within"] == "body"
    assert workflow.body.options["link"][0].options["within"] == "callback"
    with OneWorker(app, "celery"):
        assert workflow.apply_async().get(timeout=PATIENCE)["within"] == "body"


def test_only_what_is_listed_is_a_stamp(stamps: Any) -> None:
    class Some(StampingVisitor):
        def on_signature(self, sig: Any, **headers: Any) -> dict[str, Any]:
            return {"a": 1, "b": 2, "stamped_headers": ["a"]}

    call = stamps.s().stamp(Some())
    assert (call.options["stamped_headers"], call.options["a"]) == (["a"], 1)
    assert call.options["headers"] == {"b": 2}


def test_a_stamp_that_is_there_stays_or_grows(stamps: Any) -> None:
    call = stamps.s().stamp(who="me")
    assert call.stamp(who="you").options["who"] == "me"
    assert call.stamp(append_stamps=True, who="you").options["who"] == ["me", "you"]
    assert call.options["stamped_headers"] == ["who"]


def test_links_alone(stamps: Any) -> None:
    call = stamps.s()
    call.link(dict(stamps.s()))
    call.on_error(stamps.s())
    call.stamp_links(who="me")
    assert "who" not in call.options
    assert call.options["link"][0].options["who"] == "me"
    assert call.options["link_error"][0].options["who"] == "me"


def test_what_a_visitor_may_return(stamps: Any) -> None:
    class Wrong(StampingVisitor):
        def on_signature(self, sig: Any, **headers: Any) -> Any:
            return ["a"]

    with pytest.raises(UsageError, match="a mapping of names to values, not"):
        stamps.s().stamp(Wrong())
