"""The table: medians, spreads, ratios to Celery, to the fastest equal rival, and to the limit.

Pure: a ``Record`` in, markdown out. Called by ``__main__``; tested in ``tests/unit/benchmarks``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks import figures
from benchmarks.catalogue import BASELINE, BY_NAME, LIMIT, SUBJECTS
from benchmarks.record import Record
from benchmarks.scenarios import SCENARIOS, Scenario

Measured = Mapping[str, Sequence[Mapping[str, float]]]
NOTHING = "-"
KEPT_OUT = ("whole s", "tasks")  # in the JSON only


def markdown(record: Record) -> str:
    """Return the whole run as markdown."""
    machine = record.machine
    lines = [
        f"# Benchmark run {record.date}",
        "",
        f"{machine.cores} cores, {machine.system}, Python {machine.python}, Redis "
        f"{machine.redis} on the same machine; {record.repeat} repeats of {record.seconds:g} s, "
        "peers in turn. Median (smallest-largest). Ratios above 1 are in favour of the row's peer.",
    ]
    for key, scenario in SCENARIOS.items():
        if key in record.figures:
            lines += [
                "",
                f"## {scenario.name} (`{key}`)",
                "",
                *table(scenario, record.figures[key]),
            ]
    if record.failures:
        lines += ["", "## Not measured", ""]
        lines += [f"* {f.scenario}, {f.peer}: {_short(f.reason)}" for f in record.failures]
    return "\n".join(lines) + "\n"


def _short(reason: str) -> str:
    lines = reason.strip().splitlines() or ["no reason given"]
    return lines[0] if len(lines) == 1 else f"{lines[0]} ... {lines[-1]}"


def table(scenario: Scenario, measured: Measured) -> list[str]:
    """Return the lines of one scenario's table, best first."""
    medians = {
        peer: figures.summary(row[scenario.figure] for row in rows).median
        for peer, rows in measured.items()
    }
    others = _other_figures(scenario, measured)
    heads = ["peer", "delivery", scenario.figure, "x Celery", "x best equal rival", "x limit"]
    lines = [
        "| " + " | ".join([*heads, *others]) + " |",
        "|---" * (len(heads) + len(others)) + "|",
    ]
    order = sorted(medians, key=lambda name: medians[name], reverse=scenario.larger_is_better)
    for peer in order:
        cells = [peer, BY_NAME[peer].delivery, _spread(measured[peer], scenario.figure)]
        cells.append(_ratio(scenario, medians, peer, BASELINE))
        cells.append(_rival(scenario, medians, peer))
        cells.append(_ratio(scenario, medians, peer, LIMIT))
        cells += [_middle(measured[peer], figure) for figure in others]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def best_rival(scenario: Scenario, medians: Mapping[str, float], peer: str) -> str | None:
    """Return the fastest rival on the same kind of store that promises as much as ``peer``.

    Rivals are all but Umbel itself and the bare loop. Where delivery plays no part (sending,
    memory, start), every rival counts.
    """
    subject = BY_NAME[peer]
    equal = {
        name: value
        for name, value in medians.items()
        if name not in SUBJECTS
        and name != LIMIT
        and BY_NAME[name].store == subject.store
        and (not scenario.same_delivery or BY_NAME[name].delivery == subject.delivery)
    }
    return figures.best(equal, larger_is_better=scenario.larger_is_better)


def _rival(scenario: Scenario, medians: Mapping[str, float], peer: str) -> str:
    if peer not in SUBJECTS:
        return NOTHING
    rival = best_rival(scenario, medians, peer)
    if rival is None:
        return NOTHING
    return f"{_ratio(scenario, medians, peer, rival)} ({rival})"


def _ratio(scenario: Scenario, medians: Mapping[str, float], peer: str, other: str) -> str:
    if peer not in medians or other not in medians:
        return NOTHING
    times = figures.times_better(
        medians[peer], medians[other], larger_is_better=scenario.larger_is_better
    )
    return NOTHING if times is None else f"{times:.2f}"


def _other_figures(scenario: Scenario, measured: Measured) -> list[str]:
    names: dict[str, None] = {}
    for rows in measured.values():
        for row in rows:
            names.update(dict.fromkeys(row))
    return [name for name in names if name not in {scenario.figure, *KEPT_OUT}]


def _spread(rows: Sequence[Mapping[str, float]], figure: str) -> str:
    found = figures.summary(row[figure] for row in rows)
    if found.count == 1:
        return _number(found.median)
    return f"{_number(found.median)} ({_number(found.smallest)}-{_number(found.largest)})"


def _middle(rows: Sequence[Mapping[str, float]], figure: str) -> str:
    values = [row[figure] for row in rows if figure in row]
    return _number(figures.summary(values).median) if values else NOTHING


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}"
