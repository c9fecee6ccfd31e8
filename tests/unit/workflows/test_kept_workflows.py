"""Workflows that were kept: how they stand, going on with them where they failed, ending them."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from tests.redis_server import RedisServer
from umbel.app.app import App
from umbel.errors import ChordError, DecodeError, UsageError
from umbel.model.queues import Queue
from umbel.testing.conformance.station import presence
from umbel.workflows.canvas import chain, chord, group
from umbel.workflows.nodes import Node

PATIENCE = 20


class Tasks:
    def __init__(self, app: App) -> None:
        self.app = app
        self.ran: list[str] = []
        self.broken: set[str] = set()
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.note = app.task(name="note")(self._note)
        self.total = app.task(name="total")(self._total)
        self.held = app.task(name="held")(self._held)

    def n(self, name: str, *args: Any) -> Any:
        """A call that notes its name and adds it to what it gets, or fails while it is broken."""
        return self.note.s(*args, name=name)

    def _note(self, before: str, name: str) -> str:
        self.ran.append(name)
        if name in self.broken:
            raise ValueError(name)
        return before + name

    def _total(self, values: list[Any], name: str = "T") -> str:
        return self._note("(" + " ".join(map(str, values)) + ")", name)

    def _held(self) -> str:
        self.reached.set()
        assert self.gate.wait(PATIENCE)
        return "held"

    def settle(self) -> None:
        self.note.delay("", name="settle").get(timeout=PATIENCE)
        self.ran = [one for one in self.ran if one != "settle"]


REDIS = pytest.param("redis", marks=pytest.mark.redis)


@pytest.fixture(scope="module", params=["memory", "sqlite", REDIS])
def tasks(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tasks]:
    with contextlib.ExitStack() as stack:
        url = f"memory://{uuid.uuid4().hex}"
        if request.param == "sqlite":
            url = f"sqlite:///{Path(tmp_path_factory.mktemp('kept')) / 'umbel.db'}"
        elif request.param == "redis":
            server = RedisServer().start()
            stack.callback(server.close)
            url = server.url()
        app = stack.enter_context(App("kept", broker=url, backend=url))
        made = Tasks(app)
        stack.enter_context(OneWorker(app, "celery"))
        yield made


@pytest.fixture(autouse=True)
def afresh(tasks: Tasks) -> None:
    tasks.ran.clear()
    tasks.broken.clear()
    tasks.gate.clear()
    tasks.reached.clear()


def states(node: Node) -> list[str]:
    return [f"{one.task}:{one.state}" for one in node.runs()]


def failed(tasks: Tasks, workflow: Any, *broken: str) -> Any:
    """Send it while these are broken, wait for its end, and mend them."""
    tasks.broken.update(broken)
    sent = workflow.apply_async()
    ends = sent.results if isinstance(workflow, group) else [sent]
    errors = [one.get(timeout=PATIENCE, propagate=False, follow_parents=False) for one in ends]
    assert any(isinstance(one, (ValueError, ChordError)) for one in errors)
    tasks.settle()
    tasks.broken.clear()
    tasks.ran.clear()
    return sent


def test_a_chain_goes_on_where_it_failed(tasks: Tasks) -> None:
    whole = chain(tasks.n("a", ""), tasks.n("b"), tasks.n("c"), tasks.n("d"))
    sent = failed(tasks, whole, "c")
    kept = tasks.app.workflow(sent)
    assert states(kept.status()) == [
        "note:SUCCESS",
        "note:SUCCESS",
        "note:FAILURE",
        "note:FAILURE",
    ]
    assert kept.status().state == "FAILURE"
    again = kept.resume()
    assert again.id == sent.id
    assert again.get(timeout=PATIENCE) == "abcd"
    assert tasks.ran == ["c", "d"]
    assert tasks.app.workflow(sent.id).status().state == "SUCCESS"


def test_partial_arguments_are_kept_too(tasks: Tasks) -> None:
    tasks.broken.add("a")
    sent = chain(tasks.n("a"), tasks.n("b")).apply_async(("x",))
    with pytest.raises(ValueError, match="a"):
        sent.get(timeout=PATIENCE)
    tasks.settle()
    tasks.broken.clear()
    assert tasks.app.workflow(sent).resume().get(timeout=PATIENCE) == "xab"


def test_a_chord_goes_on_with_the_member_that_failed(tasks: Tasks) -> None:
    header = [tasks.n("a", ""), tasks.n("b", "") | tasks.n("c"), tasks.n("d", "")]
    sent = failed(tasks, chord(header, tasks.total.s() | tasks.n("e")), "b")
    assert tasks.app.workflow(sent).resume().get(timeout=PATIENCE) == "(a bc d)Te"
    tasks.settle()
    assert sorted(tasks.ran) == ["T", "b", "c", "e"]


def test_a_chord_goes_on_with_its_body(tasks: Tasks) -> None:
    header = [tasks.n("a", ""), tasks.n("b", "")]
    sent = failed(tasks, chord(header, tasks.total.s() | tasks.n("c")), "T")
    assert tasks.app.workflow(sent).resume().get(timeout=PATIENCE) == "(a b)Tc"
    assert tasks.ran == ["T", "c"]


def test_a_chord_in_the_header_of_a_chord(tasks: Tasks) -> None:
    inner = chord([tasks.n("a", ""), tasks.n("b", "")], tasks.total.s(name="I"))
    whole = chord([inner, tasks.n("c", "")], tasks.total.s()) | tasks.n("d")
    sent = failed(tasks, whole, "b")
    assert tasks.app.workflow(sent).resume().get(timeout=PATIENCE) == "((a b)I c)Td"
    tasks.settle()
    assert sorted(tasks.ran) == ["I", "T", "b", "d"]


def test_a_group_goes_on_with_the_members_that_failed(tasks: Tasks) -> None:
    sent = failed(tasks, group(tasks.n(name, "") for name in "abcd"), "b", "d")
    assert tasks.app.workflow(sent).resume().get(timeout=PATIENCE) == ["a", "b", "c", "d"]
    assert sorted(tasks.ran) == ["b", "d"]


def test_what_fails_again_can_be_resumed_again(tasks: Tasks) -> None:
    header = [tasks.n("a", ""), tasks.n("b", "")]
    sent = failed(tasks, chord(header, tasks.total.s()), "a")
    tasks.broken.add("a")
    with pytest.raises(ChordError):
        tasks.app.workflow(sent).resume().get(timeout=PATIENCE, follow_parents=False)
    tasks.settle()
    tasks.broken.clear()
    assert tasks.app.workflow(sent).resume().get(timeout=PATIENCE) == "(a b)T"


def test_retry_runs_one_again_and_what_comes_after_it(tasks: Tasks) -> None:
    header = [tasks.n("a", ""), tasks.n("b", "")]
    sent = chord(header, tasks.total.s() | tasks.n("c")).apply_async()
    assert sent.get(timeout=PATIENCE) == "(a b)Tc"
    tasks.settle()
    tasks.ran.clear()
    kept = tasks.app.workflow(sent)
    member = kept.status().parts[1]
    assert kept.retry(str(member.id)).get(timeout=PATIENCE) == "(a b)Tc"
    assert tasks.ran == ["b", "T", "c"]


def test_retry_of_one_leaves_what_failed_beside_it(tasks: Tasks) -> None:
    sent = failed(tasks, group(tasks.n(name, "") for name in "abc"), "a", "b")
    kept = tasks.app.workflow(sent)
    kept.retry(str(kept.status().parts[0].id))
    tasks.settle()
    assert states(kept.status()) == ["note:SUCCESS", "note:FAILURE", "note:SUCCESS"]
    assert tasks.ran == ["a"]


def test_a_policy_holds_when_it_is_resumed(tasks: Tasks) -> None:
    header = [tasks.n(name, "") for name in "abc"]
    sent = failed(tasks, chord(header, tasks.total.s(), policy="at_least(2)"), "a", "b")
    again = tasks.app.workflow(sent).resume()
    assert again.get(timeout=PATIENCE).startswith("(")
    tasks.settle()
    assert tasks.ran.count("T") == 1


def test_how_one_stands_on_its_way(tasks: Tasks) -> None:
    whole = chord([tasks.n("a", ""), tasks.held.si()], tasks.total.s()) | tasks.n("b")
    sent = whole.apply_async()
    assert tasks.reached.wait(PATIENCE)
    kept = tasks.app.workflow(sent)
    node = kept.status()
    assert node.kind == "chord"
    assert node.state == "STARTED"
    assert node.parts[0].state == "SUCCESS"
    assert node.body is not None
    assert states(node.body) == ["total:WAITING", "note:WAITING"]
    with pytest.raises(UsageError, match=r"is not over: 3 of its runs have not ended"):
        kept.retry(str(node.parts[0].id))
    drawn = kept.draw().splitlines()
    assert drawn[0].startswith("chord of 2  STARTED  (1 SUCCESS, 1 ")
    assert drawn[1].startswith("├─ note ")
    assert drawn[3].startswith("└─ then chain of 2  WAITING")
    assert drawn[4].startswith("   ├─ total ")
    tasks.gate.set()
    assert sent.get(timeout=PATIENCE) == "(a held)Tb"


def test_abort_revokes_what_is_not_over(tasks: Tasks) -> None:
    """That workers keep to it is seen in tests/e2e/test_workflows.py."""
    sent = chain(tasks.n("z", ""), tasks.held.si(), tasks.n("a"), tasks.n("b")).apply_async()
    assert tasks.reached.wait(PATIENCE)
    kept = tasks.app.workflow(sent)
    assert kept.abort() == 3
    tasks.gate.set()
    broker = tasks.app.broker
    looking = broker.open_consumer(
        [Queue(name="nobody")], presence=presence(), lease=30, results=tasks.app.result_backend
    )
    try:
        looking.receive(1, 0)  # on some stores it hears of them there
        revoked = {one.task_id for one in looking.revocations()}
    finally:
        looking.close()
    assert revoked >= {str(one.id) for one in list(kept.status().runs())[1:]}
    sent.get(timeout=PATIENCE)


def test_what_cannot_be_gone_on_with(tasks: Tasks) -> None:
    sent = chain(tasks.n("a", ""), tasks.n("b")).apply_async()
    assert sent.get(timeout=PATIENCE) == "ab"
    kept = tasks.app.workflow(sent)
    with pytest.raises(UsageError, match=r"nothing of the workflow .* has failed"):
        kept.resume()
    with pytest.raises(UsageError, match="has no run of the id nobody"):
        kept.retry("nobody")
    sent.parent.forget()
    with pytest.raises(UsageError, match="is not over"):
        kept.retry(sent.id)
    with pytest.raises(UsageError, match="is not kept any more"):
        kept.retry(sent.id, force=True)


def test_what_is_not_kept(tasks: Tasks) -> None:
    with pytest.raises(UsageError, match="no workflow is kept under the id nobody"):
        tasks.app.workflow("nobody")
    tasks.app.conf.result_keep_workflows = False
    try:
        sent = chain(tasks.n("a", ""), tasks.n("b")).apply_async()
    finally:
        tasks.app.conf.result_keep_workflows = True
    with pytest.raises(UsageError, match="result_keep_workflows was on"):
        tasks.app.workflow(sent)


def test_one_that_is_kept_in_a_way_that_is_not_accepted(tasks: Tasks) -> None:
    tasks.app.conf.task_serializer = "pickle"
    try:
        sent = group(tasks.n("a", "")).apply_async(queue="nobody-is-there")
    finally:
        tasks.app.conf.task_serializer = "json"
    with pytest.raises(DecodeError, match="is kept as pickle, which accept_content"):
        tasks.app.workflow(sent)
