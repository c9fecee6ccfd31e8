"""``make demo``: tasks run end to end on the embedded store. No server; ends by itself.

Writes a program into a temporary directory, starts a worker for it, sends tasks of every kind,
shows how they end, stops the worker and removes everything. Exit code 0 when all went as it should.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 5_000
PATIENCE = 60.0

PROGRAM = """\
import asyncio

from umbel import Umbel

app = Umbel()


@app.task
def add(x: int, y: int) -> int:
    return x + y


@app.task
async def fetch(name: str) -> str:
    await asyncio.sleep(0.1)
    return f"hello from the coroutine, {name}"


@app.task
def broken() -> None:
    raise ValueError("this one always fails")


@app.task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=0.2, max_retries=5)
def flaky(self) -> str:
    if self.request.retries < 2:
        raise ConnectionError("not yet")
    return f"worked after {self.request.retries} retries"
"""

console = Console(highlight=False)


def main() -> int:
    console.rule("[bold]Umbel: a task queue without a server")
    with tempfile.TemporaryDirectory(prefix="umbel-demo-") as home:
        os.chdir(home)
        sys.path.insert(0, home)
        Path(home, "tasks.py").write_text(PROGRAM, encoding="utf-8")
        console.print("The program:\n")
        console.print(_syntax())
        with running_worker(home):
            return show_tasks()


def _syntax() -> Any:
    from rich.syntax import Syntax

    return Syntax(PROGRAM, "python", background_color="default")


@contextmanager
def running_worker(home: str) -> Iterator[None]:
    """A worker process for the program, ended and waited for afterwards."""
    words = [sys.executable, "-m", "umbel", "worker", "-A", "tasks", "-c", "2", "-l", "WARNING"]
    console.print(f"\n[dim]$ umbel {' '.join(words[3:])}[/]")
    with Path(home, "worker.log").open("w+b") as log:
        worker = subprocess.Popen(words, stdout=log, stderr=log, cwd=home)
        try:
            yield
        except BaseException:
            log.seek(0)
            console.print(log.read().decode(errors="replace"), style="red", markup=False)
            raise
        finally:
            worker.send_signal(signal.SIGTERM)
            try:
                status = worker.wait(15)
            except subprocess.TimeoutExpired:
                worker.kill()
                status = worker.wait()
            console.print(f"[dim]The worker ended with status {status}.[/]")


def show_tasks() -> int:
    import tasks  # type: ignore[import-not-found]  # written by main()

    begin = time.perf_counter()
    result = tasks.add.delay(4, 5)
    console.print(f"\nadd.delay(4, 5)  ->  {result.id}")
    told = [("add(4, 5)", result.get(timeout=PATIENCE), result.state)]
    console.print(f"first result after {time.perf_counter() - begin:.2f} s, worker start included")

    rate = show_batch(tasks.add)

    console.print()
    coroutine, failing = tasks.fetch.delay("Umbel"), tasks.broken.delay()
    retrying = tasks.flaky.delay()
    told.append(("async def fetch", coroutine.get(timeout=PATIENCE), coroutine.state))
    error = failing.get(timeout=PATIENCE, propagate=False)
    told.append(("broken", f"{type(error).__name__}: {error}", failing.state))
    told.append(("flaky", retrying.get(timeout=PATIENCE), retrying.state))
    show_table(told)
    expected = [9, "hello from the coroutine, Umbel", None, "worked after 2 retries"]
    right = all(want in (got, None) for want, (_, got, _) in zip(expected, told, strict=True))
    console.print(f"\n[bold]{rate:,.0f} tasks per second[/], sent, run and their results stored.")
    return 0 if right and failing.failed() else 1


def show_batch(add: Any) -> float:
    """Send many tasks, watch them end, return tasks per second."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, refresh_per_second=20) as progress:
        sent = progress.add_task("sent", total=BATCH)
        done = progress.add_task("done", total=BATCH)
        begin = time.perf_counter()
        results = []
        for start in range(0, BATCH, 1000):
            results += add.send_many((n, n) for n in range(start, start + 1000)).results
            progress.update(sent, completed=len(results))
        for count, result in enumerate(results, 1):
            value = result.get(timeout=PATIENCE)
            if value != 2 * (count - 1):
                raise AssertionError(f"add gave {value} for {count - 1}")
            if count % 50 == 0:
                progress.update(done, completed=count)
        return BATCH / (time.perf_counter() - begin)


def show_table(told: list[tuple[str, Any, str]]) -> None:
    from rich.table import Table

    table = Table("task", "result", "state", box=None, pad_edge=False)
    for name, value, state in told:
        color = "green" if state == "SUCCESS" else "red"
        table.add_row(name, str(value), f"[{color}]{state}[/]")
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
