"""Reads what the tasks wrote down, while they write it.

Files are named ``<worker>.<pid>.<moment>``; ``programs/torture_notes.py`` writes the lines. A line
that is not complete yet is read the next time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torture.load import Key


@dataclass(slots=True)
class Run:
    """One time that one run began. Moments are the machine's monotonic clock."""

    key: Key
    worker: str
    pid: int
    began: float
    ended: float | None = None


class Journal:
    """Every run so far. Main thread only."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.home.mkdir(exist_ok=True)
        self.runs: dict[Key, list[Run]] = {}
        self.ended = 0
        self.ended_of: dict[str, int] = {}
        """Worker -> runs that ended there."""
        self.last_news = 0.0
        self.fresh: list[Key] = []
        """Runs that have begun for the first time, until somebody takes them out."""
        self._open: dict[tuple[int, Key], Run] = {}
        self._places: dict[Path, int] = {}

    def read(self) -> None:
        """Take in what was written since the last call."""
        for path in self.home.iterdir():
            place = self._places.get(path, 0)
            if path.stat().st_size > place:
                with path.open("rb") as file:
                    file.seek(place)
                    data = file.read()
                end = data.rfind(b"\n") + 1
                self._places[path] = place + end
                self._take(path.name, data[:end].decode())

    def _take(self, name: str, text: str) -> None:
        worker, number, _ = name.split(".")
        pid = int(number)
        for line in text.splitlines():
            letter, call, step, moment = line.split()
            key, at = (int(call), int(step)), float(moment)
            self.last_news = max(self.last_news, at)
            if letter == "B":
                run = Run(key, worker, pid, at)
                if key not in self.runs:
                    self.runs[key] = []
                    self.fresh.append(key)
                self.runs[key].append(run)
                self._open[pid, key] = run
            else:
                ended = self._open.pop((pid, key), None)
                if ended is not None:
                    ended.ended = at
                    self.ended += 1
                    self.ended_of[worker] = self.ended_of.get(worker, 0) + 1

    def busy(self, worker: str) -> list[int]:
        """Return the processes of a worker that run something now."""
        return sorted({run.pid for run in self._open.values() if run.worker == worker})

    def forget(self, pids: set[int]) -> None:
        """These processes are dead: what they ran is not running."""
        for key in [each for each in self._open if each[0] in pids]:
            del self._open[key]
