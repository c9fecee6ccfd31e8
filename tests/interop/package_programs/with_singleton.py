"""celery-singleton: its README's example, and what its options promise."""

import sys
from typing import Any

from celery import Celery
from celery.contrib.testing.worker import start_worker
from celery_singleton import DuplicateTaskError, Singleton, clear_locks

app = Celery("shop", broker=sys.argv[1], backend=sys.argv[1])


@app.task(base=Singleton)
def do_stuff(*args: Any, **kwargs: Any) -> str:
    return "I just did some stuff!"


@app.task(base=Singleton, unique_on=["user"], raise_on_duplicate=True)
def per_user(user: str, number: int) -> int:
    return number


clear_locks(app)
async_one = do_stuff.delay(1, 2, 3, a="b")
async_two = do_stuff.delay(1, 2, 3, a="b")
assert async_one == async_two
assert do_stuff.delay(4).id != async_one.id

per_user.delay("ann", 1)
refused: list[DuplicateTaskError] = []
try:
    per_user.delay("ann", 2)
except DuplicateTaskError as error:
    refused.append(error)
assert len(refused) == 1

with start_worker(app, perform_ping_check=False):
    assert async_one.get(timeout=20) == "I just did some stuff!"

# The first one is over: its lock is gone, and the same call is sent anew.
async_three = do_stuff.delay(1, 2, 3, a="b")
assert async_three.id != async_one.id
assert Celery.__module__ == "umbel.app.celery_app"
print("ok")
