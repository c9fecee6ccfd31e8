"""A whole run as a value: what was asked, on what machine, every figure of every repeat.

Made by ``running``, read by ``report``; this is what ``benchmarks/results/*.json`` holds.
"""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from benchmarks.environments import HERE

RESULTS = HERE / "results"


class Machine(msgspec.Struct, frozen=True):
    """Where the figures come from, in general words."""

    cores: int
    python: str
    system: str
    redis: str


class Failure(msgspec.Struct, frozen=True):
    """A measurement that did not come about."""

    scenario: str
    peer: str
    reason: str


class Record(msgspec.Struct):
    """One run."""

    date: str
    machine: Machine
    repeat: int
    seconds: float
    figures: dict[str, dict[str, list[dict[str, float]]]] = msgspec.field(default_factory=dict)
    """Scenario, then peer, then one mapping for each repeat."""
    failures: list[Failure] = msgspec.field(default_factory=list)

    def add(self, scenario: str, peer: str, measured: dict[str, float]) -> None:
        """Keep one measurement."""
        self.figures.setdefault(scenario, {}).setdefault(peer, []).append(measured)

    def failed(self, scenario: str, peer: str) -> bool:
        """Whether this measurement has failed before in this run."""
        return any(f.scenario == scenario and f.peer == peer for f in self.failures)


def machine(redis: str) -> Machine:
    """Return this machine."""
    return Machine(
        cores=len(os.sched_getaffinity(0)),
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        redis=redis,
    )


def now() -> str:
    """Return the moment as it is written in file names."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H-%M")


def write(record: Record, markdown: str) -> Path:
    """Write the run and its table; return the path of the JSON file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{record.date}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=1))
    path.with_suffix(".md").write_text(markdown)
    return path


def read(path: Path) -> Record:
    """Read a run back."""
    return msgspec.json.decode(path.read_bytes(), type=Record)
