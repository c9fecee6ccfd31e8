"""When real Celery's schedules run: read from standard input, answered on standard output, as JSON.

Run by a Python that has the real Celery. Each question is ``[kind, arguments, start, count]``; each
answer a list of Unix times.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any

import celery.schedules  # type: ignore[import-not-found, unused-ignore]  # the other Python's

app = celery.Celery("schedules")
app.conf.timezone = "UTC"


def answer(kind: str, arguments: list[Any], start: float, count: int) -> list[float]:
    moment = datetime.fromtimestamp(start, UTC)
    rule = getattr(celery.schedules, kind)(*arguments, app=app, nowfun=lambda: moment)
    times = []
    for _ in range(count):
        # remaining_estimate counts from nowfun(), which is the last run here.
        moment += rule.remaining_estimate(moment)
        times.append(moment.timestamp())
    return times


print(json.dumps([answer(*question) for question in json.load(sys.stdin)]))
