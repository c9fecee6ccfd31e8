"""The app that is tortured: the same tasks for Umbel and for Celery.

Runs in the interpreters of the peers. Everything it must know is in the environment.
"""

import asyncio
import json
import os
import time

from torture_notes import note

if os.environ["TORTURE_PEER"] == "celery":
    from celery import Celery as App
    from celery import chain, chord
    from celery.signals import worker_ready
else:
    from umbel import Umbel as App
    from umbel import chain, chord
    from umbel.app.signals import worker_ready

app = App("torture", broker=os.environ["TORTURE_URL"], backend=os.environ["TORTURE_URL"])
app.conf.update(json.loads(os.environ["TORTURE_SETTINGS"]))

RETRY_AFTER = 0.1


@worker_ready.connect
def say_ready(**_):
    """Let the torture know that this worker claims tasks."""
    open(f"{os.environ['TORTURE_WORKER']}.ready", "w").close()


def _end(task, number, step, retries, fails):
    note("E", number, step)
    if task.request.retries < retries:
        raise task.retry(countdown=RETRY_AFTER)
    if fails:
        raise ValueError(number)
    # Each task of a chord's header has a value of its own.
    return number + step - task.request.retries


if os.environ.get("TORTURE_POOL") == "asyncio":

    @app.task(bind=True, name="torture.work", max_retries=None)
    async def work(self, number, seconds, retries=0, fails=False, step=0):
        step += self.request.retries
        note("B", number, step)
        await asyncio.sleep(seconds)
        return _end(self, number, step, retries, fails)

    @app.task(name="torture.follow")
    async def follow(before, number, step, seconds):
        note("B", number, step)
        await asyncio.sleep(seconds)
        note("E", number, step)
        return before + 1

else:

    @app.task(bind=True, name="torture.work", max_retries=None)
    def work(self, number, seconds, retries=0, fails=False, step=0):
        step += self.request.retries
        note("B", number, step)
        time.sleep(seconds)
        return _end(self, number, step, retries, fails)

    @app.task(name="torture.follow")
    def follow(before, number, step, seconds):
        note("B", number, step)
        time.sleep(seconds)
        note("E", number, step)
        return before + 1


@app.task(name="torture.gather")
def gather(values, number, step):
    """Run as the body of a chord."""
    note("B", number, step)
    note("E", number, step)
    return sum(values)


@app.task(name="torture.step")
def step(number, fails=False):
    """One step of the soak: nothing is noted, so that millions cost little."""
    if fails:
        raise ValueError(number)
    return number


def send(call):
    """Send one call of the load; return its handle."""
    if call["header"]:
        return _send_chord(call)
    options = {name: call[name] for name in ("countdown", "expires") if call[name] is not None}
    first = work.s(
        call["number"], call["seconds"], retries=call["retries"], fails=call["fails"]
    ).set(task_id=call["task_id"], retry=False)
    following = [
        follow.s(call["number"], step, call["seconds"]).set(task_id=task_id)
        for step, task_id in enumerate(call["links"], call["retries"] + 1)
    ]
    if call["kind"] == "chain":
        return chain(first, *following).apply_async()
    while len(following) > 1:
        last = following.pop()
        following[-1].link(last)
    if following:
        first.link(following[0])
    return first.apply_async(**options)


def _send_chord(call):
    header = [
        work.s(call["number"], call["seconds"], step=step).set(task_id=task_id, retry=False)
        for step, task_id in enumerate(call["header"])
    ]
    body = gather.s(call["number"], len(header)).set(task_id=call["task_id"])
    return chord(header, body).apply_async()
