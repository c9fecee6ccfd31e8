"""What a run is told as: a table for people, JSON for machines."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torture.audit import Rescue, Verdict
from torture.running import Record
from torture.slope import Slope, fit, quantile

MIB = 1 << 20
PER = 10_000
"""Slopes are told for so many runs."""


def summary(record: Record, verdict: Verdict) -> dict[str, Any]:
    """Return everything that is kept of a run."""
    seconds = record.calm - record.began
    return {
        "setup": asdict(record.plan.setup),
        "commit": commit(),
        "machine": machine(),
        "began": record.began,
        "seconds": round(seconds, 1),
        "seconds_to_quiet": round(record.ended - record.calm, 1),
        "faults": dict(Counter(fault.name for fault in record.faults).most_common()),
        "faults_made": len(record.faults),
        "faults_not_made": record.not_made,
        "faults_left_out": list(record.plan.left_out),
        "calls": {
            "confirmed": verdict.confirmed,
            "maybe": verdict.maybe,
            "not sent": verdict.unsent,
        },
        "outcomes_due": verdict.outcomes,
        "runs": verdict.runs,
        "lost": verdict.lost,
        "stuck": verdict.stuck,
        "wrong": verdict.wrong,
        "told_lost": verdict.told_lost,
        "repeats": dict(verdict.repeats.most_common()),
        "repeats_allowed": verdict.allowed,
        "unexplained": verdict.unexplained,
        "ghosts": verdict.ghosts,
        "premature": verdict.premature,
        "leftovers": verdict.leftovers,
        "rescue": {kind: _rescue(each) for kind, each in verdict.rescues.items()},
        "start_delay": _quantiles(verdict.start_delays),
        "waited": dict(record.waited),
        "client_hung": record.hung,
        "gave_up": verdict.gave_up,
        "would_not_end": verdict.would_not_end,
        "memory": {name: told_slope(each) for name, each in _memory_slopes(record).items()},
        "store_bytes_most": max((size for _, size in record.sizes), default=0),
        "schedule": [
            {
                "index": fault.index,
                "name": fault.name,
                "at": round(fault.began - record.began, 3),
                "for": None if fault.ended is None else round(fault.ended - fault.began, 3),
                "workers": list(fault.workers),
                "pids": list(fault.pids),
                "detail": fault.detail,
            }
            for fault in record.faults
        ],
        "broken": verdict.broken,
    }


def table(kept: dict[str, Any]) -> str:
    """Return a summary as lines of text."""
    setup = kept["setup"]
    rows: list[tuple[str, str]] = [
        ("calls confirmed", f"{kept['calls']['confirmed']:,}"),
        ("calls in doubt, not sent", f"{kept['calls']['maybe']:,}, {kept['calls']['not sent']:,}"),
        ("outcomes due, runs seen", f"{kept['outcomes_due']:,}, {kept['runs']:,}"),
        ("faults", f"{kept['faults_made']} in {kept['seconds']:.0f} s"),
        ("", ", ".join(f"{name} {count}" for name, count in kept["faults"].items())),
        ("LOST", str(len(kept["lost"]))),
        ("STUCK", str(len(kept["stuck"]))),
        ("wrong outcomes", str(len(kept["wrong"]))),
        ("repeated", _repeated(kept)),
        ("", ", ".join(f"{name} {count}" for name, count in kept["repeats"].items())),
    ]
    if kept["told_lost"]:
        rows.append(("outcome says: worker lost", str(kept["told_lost"])))
    for kind, figures in kept["rescue"].items():
        rows.append((f"rescue after a dead {kind}", _spread(figures["clear"])))
        rows.append(("  with another fault besides", _spread(figures["disturbed"])))
    rows += [
        ("from confirmed to begun", _spread(kept["start_delay"])),
        ("clients waiting for results", ", ".join(f"{n} {w}" for w, n in kept["waited"].items())),
        ("client hung", f"{kept['client_hung']} times"),
        ("workers that gave up", str(len(kept["gave_up"]))),
    ]
    rows += [(f"supervisor's {name} memory", told) for name, told in kept["memory"].items()]
    rows.append(("store at its largest", f"{kept['store_bytes_most'] / MIB:.1f} MiB"))
    if kept["faults_left_out"] or kept["faults_not_made"]:
        rows.append(("not made", "; ".join([*kept["faults_left_out"], *kept["faults_not_made"]])))
    head = (
        f"{setup['peer']} on {setup['store']}, ack {setup['ack']}, {setup['pool']},"
        f" {setup['workers']} x {setup['concurrency']}, lease {setup['lease']:g} s,"
        f" seed {setup['seed']}"
    )
    width = max(len(name) for name, _ in rows)
    body = [f"{name:<{width}}  {text}" for name, text in rows if name or text]
    broken = [f"BROKEN: {each}" for each in kept["broken"]]
    return "\n".join([head, "-" * len(head), *body, *(broken or ["every promise was kept"])])


def write(kept: dict[str, Any], path: Path) -> None:
    """Keep a summary as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _repeated(kept: dict[str, Any]) -> str:
    total = sum(kept["repeats"].values())
    return (
        f"{total}, of {kept['repeats_allowed']} in flight; unexplained {len(kept['unexplained'])}"
    )


def _rescue(rescue: Rescue) -> dict[str, Any]:
    return {"clear": _quantiles(rescue.clear), "disturbed": _quantiles(rescue.disturbed)}


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {"count": 0}
    return {
        "count": len(values),
        "p50": round(quantile(values, 0.5), 4),
        "p99": round(quantile(values, 0.99), 4),
        "most": round(max(values), 4),
    }


def _spread(figures: dict[str, float]) -> str:
    if not figures["count"]:
        return "none"
    return (
        f"p50 {figures['p50']:.3f} s, p99 {figures['p99']:.3f} s, most {figures['most']:.3f} s"
        f" ({figures['count']:,.0f})"
    )


def _memory_slopes(record: Record) -> dict[str, Slope | None]:
    series = [each.points for each in record.memory.values()]
    return {
        "resident": fit([[(runs / PER, size) for runs, size, _ in one] for one in series]),
        "own": fit([[(runs / PER, size) for runs, _, size in one] for one in series]),
    }


def told_slope(slope: Slope | None) -> str:
    """Return what a slope of bytes says, in words."""
    if slope is None:
        return "too few measurements"
    return (
        f"{slope.value / MIB:+.4f} ± {slope.margin / MIB:.4f} MiB for {PER:,} runs"
        f" ({slope.points} measurements): {'flat' if slope.flat else 'rising'}"
    )


def machine() -> str:
    """Return what this ran on."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, {platform.system()} {platform.release()}, {os.cpu_count()} processors"


def commit() -> str:
    """Return the commit that this is, as git names it."""
    done = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
