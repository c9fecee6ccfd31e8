"""``umbel schedule`` and ``umbel beat``: what they print, and what they say to wrong words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from umbel import Umbel
from umbel.cli.main import main


@pytest.fixture
def app(tmp_path: Path) -> Iterator[Umbel]:
    url = f"sqlite:///{tmp_path / 'schedule.sqlite3'}"
    app = Umbel("shop", broker_url=url, result_backend=url, set_as_current=False)
    app.task(name="shop.tick")(lambda *args: None)
    yield app
    app.close()


@pytest.fixture
def run(app: Umbel, capsys: pytest.CaptureFixture[str]) -> Any:
    def run_one(*words: str) -> tuple[int, str, str]:
        code = main(["schedule", *words], app=app, prog="umbel")
        told = capsys.readouterr()
        return code, told.out, told.err

    return run_one


def test_an_empty_schedule_says_so(run: Any) -> None:
    code, out, _ = run("list")
    assert code == 0
    assert out.startswith("The schedule has no entries; a scheduler writes the program's")


def test_an_entry_comes_rests_and_goes(run: Any) -> None:
    words = ("--cron", "0 3 * * mon", "--tz", "Europe/Berlin", "-a", "[1]", "--jitter", "5")
    code, out, _ = run("add", "clean", "shop.tick", *words)
    assert code == 0
    assert out.startswith("clean: 0 3 * * mon, next 2")
    (entry,) = json.loads(run("list", "--json")[1])
    assert entry["task"] == "shop.tick"
    assert entry["schedule"] == "0 3 * * mon"
    assert (entry["zone"], entry["jitter"], entry["runs"]) == ("Europe/Berlin", 5.0, 0)
    assert entry["call"] == {"args": [1], "kwargs": {}, "options": {}}
    assert run("pause", "clean")[1] == "clean: paused\n"
    assert json.loads(run("show", "clean", "-j")[1])["paused"] is True
    assert "paused" in run("list")[1]
    assert run("resume", "clean")[1].startswith("clean: next in ")
    assert len(run("next", "clean", "-n", "3")[1].splitlines()) == 3
    assert run("remove", "clean") == (0, "clean: removed\n", "")


def test_run_sends_it_now(run: Any, app: Umbel) -> None:
    run("add", "often", "shop.tick", "--every", "60")
    code, out, _ = run("run", "often")
    assert code == 0
    assert len(out.strip()) == 36
    assert app.broker.stats([app.router.default.name])[0].ready == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "Say when, by one of --every, --cron, --at and --solar."),
        (("--every", "5", "--cron", "@daily"), "Say when, by one of"),
        (("--cron", "* *"), "it has 2 fields and needs five"),
        (("--at", "soon"), "'soon' is no time; write it as 2026-12-31T23:59:00"),
        (("--at", "2001-01-01"), "would never run: once at 2001-01-01 00:00:00+00:00 is past"),
        (("--solar", "sunset"), "'sunset' is no event and place; write sunset,52.5,13.4"),
        (("--every", "5", "-a", "{}"), "{} is not a list"),
        (("--every", "5", "-k", "x"), "no JSON"),
        (("--every", "5", "--tz", "Mars/Base"), "there is no time zone 'Mars/Base'"),
    ],
)
def test_wrong_words_are_told(run: Any, words: tuple[str, ...], says: str) -> None:
    code, _, err = run("add", "x", "shop.tick", *words)
    assert code != 0
    assert says in " ".join(err.split())


def test_an_unknown_entry_is_told(run: Any) -> None:
    run("add", "one", "shop.tick", "--every", "60")
    code, _, err = run("pause", "two")
    assert code == 1
    assert err == "Error: the schedule has no entry 'two'; there are one\n"


def test_beat_says_what_it_cannot_do(app: Umbel, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["beat", "--detach"], app=app, prog="umbel") == 2
    assert "use systemd" in capsys.readouterr().err
    assert main(["beat", "-S", "my.Scheduler"], app=app, prog="umbel") == 1
    assert "the scheduler class 'my.Scheduler' cannot be used" in capsys.readouterr().err
    app.conf.beat_schedule = {"x": {"task": "shop.tick"}}
    assert main(["beat"], app=app, prog="umbel") == 1
    assert "beat_schedule: the entry 'x' has no 'schedule'" in capsys.readouterr().err
