"""``delay_on_commit``: sent when Django's transaction commits, by the outbox or behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from umbel import Umbel
from umbel.errors import ImproperlyConfigured

PROCESS_SECONDS = 50.0
"""For a Python that imports Django, on a busy machine too."""

SITE = """
import json, sys
import django
from django.conf import settings

place, outbox = sys.argv[1:]
one = {"ENGINE": "django.db.backends.sqlite3", "NAME": place}
settings.configure(DATABASES={"default": one, "other": {**one, "NAME": place + "-other"}})
django.setup()
from django.db import connections, transaction
from umbel import Umbel
from umbel.errors import TaskSignatureMismatch
from umbel.outbox.table import creation

app = Umbel("shop", broker="memory://", backend=None)
app.conf.outbox_url = outbox or None

@app.task(name="shop.order")
def order(number): ...

def table(using):
    with connections[using].cursor() as cursor:
        cursor.execute(creation("sqlite", "umbel_outbox"))

def rows(using):
    with connections[using].cursor() as cursor:
        cursor.execute("SELECT count(*) FROM umbel_outbox")
        return cursor.fetchone()[0]

def there():
    return [app.broker.stats(["celery"])[0].ready, rows("default"), rows("other")]

def roll_back(*with_):
    for each in with_:
        each.__enter__()
    order.delay_on_commit(1)
    for each in reversed(with_):
        each.__exit__(ZeroDivisionError, ZeroDivisionError(), None)

seen = {}
table("default"); table("other")
roll_back(transaction.atomic())
seen["rolled back"] = there()
with transaction.atomic():
    roll_back(transaction.atomic())
seen["a savepoint rolled back"] = there()
with transaction.atomic():
    seen["returned"] = order.delay_on_commit(2)
    seen["within"] = there()
    try:
        order.delay_on_commit(1, 2, 3)
    except TaskSignatureMismatch:
        seen["wrong arguments"] = "said at once"
seen["committed"] = there()
order.delay_on_commit(3)
seen["outside"] = there()
with transaction.atomic(using="other"), transaction.atomic():
    order.apply_async_on_commit((4,), {}, using="other", queue="celery", countdown=0)
    seen["within the other"] = there()
seen["the other committed"] = there()
app.conf.task_always_eager = True
ran = []

@app.task(name="shop.eager")
def eager(number):
    ran.append(number)

with transaction.atomic():
    eager.delay_on_commit(5)
    seen["eager within"] = list(ran)
seen["eager committed"] = list(ran)
print(json.dumps(seen))
"""


def seen_in(tmp_path: Path, outbox: str) -> dict[str, Any]:
    told = subprocess.run(
        [sys.executable, "-c", SITE, str(tmp_path / "site.sqlite3"), outbox],
        capture_output=True,
        text=True,
        timeout=PROCESS_SECONDS,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    seen: dict[str, Any] = json.loads(told.stdout)
    assert seen.pop("returned") is None
    assert seen.pop("wrong arguments") == "said at once"
    assert (seen.pop("eager within"), seen.pop("eager committed")) == ([], [5])
    return seen


def test_without_an_outbox_it_is_sent_after_the_commit(tmp_path: Path) -> None:
    assert seen_in(tmp_path, "") == {
        "rolled back": [0, 0, 0],
        "a savepoint rolled back": [0, 0, 0],
        "within": [0, 0, 0],
        "committed": [1, 0, 0],
        "outside": [2, 0, 0],
        "within the other": [2, 0, 0],
        "the other committed": [3, 0, 0],
    }


def test_with_an_outbox_it_is_a_row_of_the_transaction(tmp_path: Path) -> None:
    assert seen_in(tmp_path, f"sqlite:///{tmp_path / 'site.sqlite3'}") == {
        "rolled back": [0, 0, 0],
        "a savepoint rolled back": [0, 0, 0],
        "within": [0, 1, 0],
        "committed": [0, 1, 0],
        "outside": [0, 2, 0],
        "within the other": [0, 2, 1],
        "the other committed": [0, 2, 1],
    }


def test_without_django_it_says_what_to_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "django.db", None)
    app = Umbel("shop", broker="memory://", set_as_current=False)

    @app.task(name="shop.order")
    def order(number: int) -> None: ...

    with pytest.raises(ImproperlyConfigured, match=r"Django is not installed.*delay_tx\(session"):
        order.delay_on_commit(1)
