"""What type checkers must understand. Checked by ``test_types``, never run."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any, assert_type

from umbel import (
    AsyncResult,
    EagerResult,
    GroupResult,
    ResultSet,
    Signature,
    Task,
    Umbel,
    chord,
    group,
    shared_task,
    signature,
)
from umbel.workflows.binding import RunHandle

app = Umbel("x", broker="memory://", backend="memory://")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(name="named", max_retries=5, queue="q", autoretry_for=(OSError,))
def named(text: str) -> bytes:
    return text.encode()


@app.task(bind=True)
def bound(self: Task[..., Any], x: int, *, flag: bool = False) -> str:
    self.update_state(state="PROGRESS", meta={"x": x})
    if flag:
        raise self.retry(countdown=5)
    return str(self.request.retries)


@app.task(bind=True, max_retries=3)
def bound_without_annotation(self, x: int) -> str:  # type: ignore[no-untyped-def]  # as written
    return str(self.request.id)


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@app.task(queue="io", bind=True)
async def bound_fetch(self: Task[..., Any], url: str) -> list[int]:
    return [len(url)]


@shared_task
def shared(x: float) -> float:
    return x


@shared_task(bind=True, name="s")
def shared_bound(self: Task[..., Any], x: float) -> float:
    return x


@app.task()
def nothing() -> None: ...


class Charge(Task[[int, str], bool]):
    name = "charge"
    max_retries = 5
    limit = 100

    def run(self, amount: int, currency: str) -> bool:
        return amount < self.limit

    def on_failure(
        self, exc: BaseException, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        print(task_id, exc)


charge = Charge()
app.register_task(charge)
app.register_task(Charge)


@app.task(base=Charge, name="with-base")
def with_base(x: int) -> int:
    return x


assert_type(charge(1, "EUR"), bool)
assert_type(charge.delay(1, "EUR"), AsyncResult[bool])
assert_type(charge.limit, int)
assert_type(with_base.delay(1), AsyncResult[int])
assert_type(add(1, 2), int)
assert_type(add.delay(1, y=2), AsyncResult[int])
assert_type(add.delay(1).get(timeout=1), int)
assert_type(add.apply_async((1,), countdown=5), AsyncResult[int])
assert_type(add.apply((1,)), EagerResult[int])
assert_type(add.apply((1,)).get(), int)
assert_type(add.s(1), Signature[int])
assert_type(add.AsyncResult("id"), AsyncResult[int])
assert_type(add.send_many([(1, 2)]), ResultSet[int])
assert_type(add.send_stream([(1, 2)]), Iterator[AsyncResult[int]])
assert_type(add.s(1).delay(), RunHandle[int])
assert_type(add.s(1).set(countdown=5), Signature[int])
assert_type(add.s(1)(), int)
assert_type(~add.si(1), int)
assert_type(add.signature((1,), immutable=True).clone(), Signature[int])
assert_type(add.map([1, 2]), Signature[list[Any]])
assert_type(signature("far.away"), Signature[Any])
assert_type(add.send_many([(1, 2)]).results, list[Any])
assert_type(app.AsyncResult("id"), AsyncResult[Any])
assert_type(app.AsyncResult("id").get(timeout=1), Any)
assert_type(app.GroupResult("id", []), GroupResult[Any])
assert_type(AsyncResult[int]("id").get(), int)
assert_type(app.control.purge(), int)
with app.connection_for_write() as connection:
    connection.ensure_connection(max_retries=3)
assert_type(named.delay("x"), AsyncResult[bytes])
assert_type(bound(1, flag=True), str)
assert_type(bound.delay(1), AsyncResult[str])
assert_type(bound_without_annotation.delay(1), AsyncResult[str])
assert_type(fetch.delay("u"), AsyncResult[bytes])
assert_type(fetch.apply(("u",)).get(), bytes)
assert_type(bound_fetch.delay("u"), AsyncResult[list[int]])
assert_type(shared.delay(1.0), AsyncResult[float])
assert_type(shared_bound(1.0), float)
assert_type(nothing.delay(), AsyncResult[None])
assert_type(add.max_retries, int | None)
assert_type(add.acks_late, bool)
assert_type(add.app, Umbel)
assert_type(app.send_task("far.away", (1,), countdown=1), AsyncResult[Any])


async def use() -> None:
    call: Coroutine[Any, Any, bytes] = fetch("u")
    assert_type(await call, bytes)
    bound_call: Coroutine[Any, Any, list[int]] = bound_fetch("u")
    assert_type(await bound_call, list[int])
    assert_type(await add.adelay(1), AsyncResult[int])
    assert_type(await add.delay(1), int)
    assert_type(await fetch.delay("u"), bytes)
    assert_type(await fetch("u"), bytes)
    assert_type(await add.asend_many([(1, 2)]), ResultSet[int])
    assert_type(await add.s(1).adelay(), RunHandle[int])
    assert_type(await add.aapply_async((1,), countdown=1), AsyncResult[int])


def takes_any_task(task: Task[..., Any]) -> None:
    takes_any_task(add)
    takes_any_task(fetch)
    takes_any_task(shared_bound)


assert_type(add.s(1) | named.s(), Signature[bytes])
assert_type((add.s(1) | named.s()).delay(), RunHandle[bytes])
assert_type(group[int](add.s(1), add.s(2)).delay().get(timeout=1), list[int])
assert_type(chord[bytes]([add.s(1)], named.s()).delay().get(timeout=1), bytes)
assert_type(add.chunks([(1, 2)], 2).delay().get(timeout=1), list[Any])
