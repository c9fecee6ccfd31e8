"""How finished calls are counted across threads and forks."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from benchmarks.counter import Counter
from benchmarks.peers import tally


@pytest.fixture
def counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    made = Counter(tmp_path)
    monkeypatch.setenv("BENCH_TALLY", str(made.path))
    monkeypatch.setattr(tally, "_slot", tally._Slot())
    return made


def test_counts_of_threads_are_not_lost(counter: Counter) -> None:
    def many() -> None:
        for _ in range(500):
            tally.count()

    threads = [threading.Thread(target=many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counter.value() == 2000


# Python 3.12 and later warn of forks beside threads; pytest-timeout keeps one.
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_counts_in_a_slot_of_its_own(counter: Counter) -> None:
    tally.count()
    child = os.fork()
    if child == 0:
        try:
            tally.count()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    tally.count()
    assert counter.value() == 3
    assert sorted(path.name for path in counter.path.parent.iterdir()) == [
        "tally",
        "tally.0",
        "tally.1",
    ]
