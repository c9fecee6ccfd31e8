"""Our schedules and the real Celery's come to the same instants, where clocks are not set."""

from __future__ import annotations

import json
import random
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from umbel import schedules
from umbel.schedules import Schedule

SCRIPT = Path(__file__).parent / "celery_schedules.py"
START = datetime(2026, 2, 27, 22, 47, 31, tzinfo=UTC).timestamp()
COUNT = 5
FIXED: list[list[Any]] = [
    ["*", "*"],
    [0, 3],
    ["*/15", "8-18/2", "mon-fri"],
    ["50-10/15", "*", "fri-mon"],
    [0, 0, "*", "29"],
    ["7", "7", "*", "*/10", "*/3"],
    ["30", "2", "sun", "1-7"],
    [[1, 2], [5], "*", "31", "jan,jul"],
]
PLACES = [(52.5, 13.4), (-33.9, 151.2), (0.0, 0.0), (69.65, 18.96)]


def some_crontabs() -> list[list[Any]]:
    dice = random.Random(5)

    def some(first: int, last: int) -> list[int] | str:
        few = sorted(dice.sample(range(first, last + 1), dice.randint(1, 4)))
        return few if dice.random() < 0.6 else "*"

    spans = ((0, 59), (0, 23), (0, 6), (1, 28), (1, 12))
    return [[some(*span) for span in spans] for _ in range(60)]


def ask(python: str, questions: list[Any]) -> list[list[float]]:
    done = subprocess.run(
        [python, str(SCRIPT)],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env={"PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stderr
    answers: list[list[float]] = json.loads(done.stdout)
    return answers


def runs(rule: Schedule) -> list[float]:
    moment: datetime | None = datetime.fromtimestamp(START, UTC)
    times = []
    for _ in range(COUNT):
        assert moment is not None
        moment = rule.next_after(moment)
        assert moment is not None
        times.append(moment.timestamp())
    return times


def test_crontabs_run_when_celerys_do(celery_python: str) -> None:
    rules = FIXED + some_crontabs()
    answers = ask(celery_python, [["crontab", each, START, COUNT] for each in rules])
    for fields, theirs in zip(rules, answers, strict=True):
        assert runs(schedules.crontab(*fields)) == theirs, fields


def test_the_sun_is_where_celery_sees_it(celery_python: str) -> None:
    pytest.importorskip("ephem")
    asked = [(event, *place) for event in schedules.solar.events for place in PLACES]
    answers = ask(celery_python, [["solar", each, START, 1] for each in asked])
    for words, theirs in zip(asked, answers, strict=True):
        ours = schedules.solar(*words).next_after(datetime.fromtimestamp(START, UTC))
        assert ours is not None
        assert abs(ours.timestamp() - theirs[0]) < 1, words


def test_intervals_are_as_long(celery_python: str) -> None:
    answers = ask(celery_python, [["schedule", [each], START, COUNT] for each in (0.5, 60, 5400)])
    for length, theirs in zip((0.5, 60, 5400), answers, strict=True):
        assert runs(schedules.interval(length)) == pytest.approx(theirs)
