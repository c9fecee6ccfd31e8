"""What the doctor finds: values, and how they are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Literal, TypeAlias

import click
import msgspec

Level: TypeAlias = Literal["ok", "warn", "fail"]

_COLORS = {"ok": "green", "warn": "yellow", "fail": "red"}


class Finding(msgspec.Struct, frozen=True):
    """One line of the doctor's: what was looked at, how it is, and what to do about it."""

    level: Level
    subject: str
    detail: str
    advice: str = ""


def ok(subject: str, detail: str) -> Finding:
    return Finding("ok", subject, detail)


def warn(subject: str, detail: str, advice: str = "") -> Finding:
    return Finding("warn", subject, detail, advice)


def fail(subject: str, detail: str, advice: str) -> Finding:
    return Finding("fail", subject, detail, advice)


def failed(findings: Sequence[Finding]) -> bool:
    """Tell whether one of them is a failure."""
    return any(one.level == "fail" for one in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as a JSON document."""
    return json.dumps(
        {"ok": not failed(findings), "findings": [msgspec.to_builtins(one) for one in findings]},
        ensure_ascii=False,
        indent=2,
    )


def show(findings: Sequence[Finding], *, color: bool, quiet: bool = False) -> None:
    """Print the findings, one line each, advice and longer details indented below.

    ``quiet`` leaves out what is well.
    """
    for one in findings:
        if quiet and one.level == "ok":
            continue
        mark = click.style(f"{one.level:<5}", fg=_COLORS[one.level]) if color else f"{one.level:<5}"
        first, *rest = one.detail.splitlines() or [""]
        click.echo(f"{mark}{one.subject}: {first}", color=color)
        for line in rest:
            click.echo(f"       {line}")
        for line in one.advice.splitlines():
            click.echo(f"     > {line}")
    counts = {level: sum(one.level == level for one in findings) for level in _COLORS}
    click.echo(f"\n{counts['ok']} ok, {counts['warn']} to look at, {counts['fail']} failed")
