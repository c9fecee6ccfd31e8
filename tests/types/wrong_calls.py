"""What type checkers must refuse: every line marked ``# error``, and no other.

Checked by ``test_types``, never run.
"""

from __future__ import annotations

from typing import Any

from umbel import AsyncResult, Task, Umbel, shared_task

app = Umbel("x")


@app.task
def add(x: int, y: int = 0) -> int:
    return x + y


@app.task(bind=True, max_retries=3)
def bound(self: Task[..., Any], x: int) -> int:
    return x


@app.task
async def fetch(url: str) -> bytes:
    return url.encode()


@shared_task(name="shared")
def shared(x: int) -> int:
    return x


class Charge(Task[[int, str], bool]):
    def run(self, amount: int, currency: str) -> bool:
        return amount < len(currency)


Charge().delay(1)  # error
Charge().delay("1", "EUR")  # error
wrong: AsyncResult[str] = Charge().delay(1, "EUR")  # error
other: str = add.s(1)()  # error
add.s(1).link_eror(add.s(2))  # error
app.contrl.purge()  # error
add.delay("x")  # error
add.delay()  # error
add.delay(1, 2, 3)  # error
add.delay(1, z=2)  # error
add("x")  # error
bound.delay("x")  # error
bound.delay(bound, 1)  # error
bound("x")  # error
fetch.delay(1)  # error
shared.delay("x")  # error


async def use() -> None:
    await add.adelay("x")  # error
    await fetch.adelay(url=3)  # error


text: str = add.delay(1).get()  # error
more: str = add(1)  # error
data: str = fetch.delay("u").get()  # error
app.task(3)  # error
