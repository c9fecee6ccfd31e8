"""``a | b``: which kind of workflow two calls make.

Pure: mappings in, a mapping out. The rules are Celery's (docs/reference/workflows.md has the
table); a chain that is made by naming its steps, ``chain(a, b)``, keeps them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from umbel.workflows.planning import Sig, chain_sig, chord_sig, copied

# The parts stay the objects they are, with their apps; only what is changed here is copied.


def joined(left: Mapping[str, Any], right: Mapping[str, Any]) -> Sig:
    """Return the workflow in which ``right`` follows ``left``. Neither is changed."""
    kind = left.get("subtask_type")
    if kind in ("group", "chunks") and right.get("subtask_type") != "chain":
        return chord_sig(left, right)
    if kind in ("group", "chunks"):
        return _chord_then(chord_sig(left, chain_sig(())), right)
    if kind == "chord" and right.get("subtask_type") != "group":
        return _chord_then(left, right)
    if kind == "chain":
        return _chain_then(left, right)
    return chain_sig([left, *_steps(right)])


def _chord_then(chord: Mapping[str, Any], right: Mapping[str, Any]) -> Sig:
    whole = copied(chord)
    body = whole["kwargs"]["body"]
    before = _steps(body)
    body = chain_sig([*before, *_steps(right)]) if before else right
    whole["kwargs"] = {**whole["kwargs"], "body": body}
    return whole


def _chain_then(chain: Mapping[str, Any], right: Mapping[str, Any]) -> Sig:
    whole = copied(chain)
    steps: list[Mapping[str, Any]] = list(whole["kwargs"].get("tasks") or ())
    if steps and _is_plain_group(steps[-1]):
        # A chain that ends in a group goes on from all of its members.
        steps[-1:] = [joined(steps[-1], right)]
    else:
        steps += _steps(right)
    whole["kwargs"] = {**whole["kwargs"], "tasks": steps}
    return whole


def _is_plain_group(sig: Mapping[str, Any]) -> bool:
    return sig.get("subtask_type") in ("group", "chunks")


def _steps(sig: Mapping[str, Any]) -> list[Any]:
    """Return the steps of a chain that has nothing of its own to give them; of others, itself."""
    if sig.get("subtask_type") == "chain" and not (sig["options"] or sig["args"]):
        return list(sig["kwargs"].get("tasks") or ())
    return [sig]
