"""``umbel workflow``: what it draws and prints, and what it says to wrong words."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.conformance.one_worker import OneWorker
from umbel import Umbel, chain, chord
from umbel.cli.main import main

PATIENCE = 20


@pytest.fixture
def app() -> Iterator[Umbel]:
    url = f"memory://{uuid.uuid4().hex}"
    app = Umbel("shop", broker_url=url, result_backend=url, set_as_current=False)
    app.broken = True  # type: ignore[attr-defined]
    app.task(name="add")(lambda x, y=1: x + y)
    app.task(name="total")(sum)

    @app.task(name="check")
    def check(value: int) -> int:
        if app.broken:  # type: ignore[attr-defined]
            raise ValueError("out of stock")
        return value

    yield app
    app.close()


@pytest.fixture
def run(app: Umbel, capsys: pytest.CaptureFixture[str]) -> Any:
    def run_one(*words: str) -> tuple[int, str, str]:
        code = main(["workflow", *words], app=app, prog="umbel")
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_one


def tree(app: Umbel) -> Any:
    add, total, check = (app.tasks[name] for name in ("add", "total", "check"))
    header = [add.si(1, 1), chain(add.si(2, 2), check.s())]
    return (chord(header, total.s()) | add.s(10)).apply_async()


def test_it_is_drawn_before_during_and_after(app: Umbel, run: Any) -> None:
    sent = tree(app)
    code, out, _ = run("show", sent.id)
    assert code == 0
    lines = [line.split()[:-1] if "of" not in line else line.split() for line in out.splitlines()]
    states = [line.split()[-1] for line in out.splitlines()]
    assert lines[0] == ["chord", "of", "2", "PENDING", "(2", "PENDING)"]
    assert states[1:] == ["PENDING", "WAITING)", "PENDING", "WAITING", "WAITING)"] + ["WAITING"] * 2
    assert out.splitlines()[2].startswith("├─ chain of 2")
    with OneWorker(app, "celery"):
        sent.get(timeout=PATIENCE, propagate=False, follow_parents=False)
        code, out, _ = run("show", sent.id, "--watch")
        assert "check" in out
        assert "FAILURE  ValueError('out of stock')" in out
        app.broken = False  # type: ignore[attr-defined]
        assert run("resume", sent.id)[:2] == (0, f"{sent.id}\n")
        assert app.AsyncResult(sent.id).get(timeout=PATIENCE) == 16
        document = json.loads(run("show", sent.id, "--json")[1])
    assert (document["kind"], document["state"]) == ("chord", "SUCCESS")
    assert [one["kind"] for one in document["parts"]] == ["task", "chain"]
    assert document["body"]["parts"][1]["task"] == "add"
    assert document["body"]["parts"][1]["id"] == sent.id


def test_one_run_again(app: Umbel, run: Any) -> None:
    app.broken = False  # type: ignore[attr-defined]
    with OneWorker(app, "celery"):
        sent = tree(app)
        assert sent.get(timeout=PATIENCE) == 16
        assert run("retry", sent.id, sent.parent.id)[:2] == (0, f"{sent.id}\n")
        assert app.AsyncResult(sent.id).get(timeout=PATIENCE) == 16


def test_abort_says_how_many(app: Umbel, run: Any) -> None:
    assert run("abort", tree(app).id)[:2] == (0, "5 runs are revoked.\n")


def test_wrong_words(app: Umbel, run: Any) -> None:
    code, _, err = run("show", "nobody")
    assert code != 0
    assert "no workflow is kept under the id nobody" in err
    sent = tree(app)
    code, _, err = run("resume", sent.id)
    assert code != 0
    assert "is not over: 5 of its runs have not ended" in err
    code, _, err = run("retry", sent.id, "nobody")
    assert code != 0
    assert "has no run of the id nobody" in err


def test_a_wide_group_is_drawn_in_few_lines(app: Umbel, run: Any) -> None:
    from umbel import group

    sent = group(app.tasks["add"].si(number, 1) for number in range(100)).apply_async()
    out = run("show", sent.id)[1]
    assert len(out.splitlines()) == 22
    assert out.splitlines()[-1] == "└─ ... 80 more"
