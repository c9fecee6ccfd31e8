"""``celery.canvas``: signatures, and the workflows that they make."""

from __future__ import annotations

from umbel.workflows.canvas import chain, chord, chunks, group, xmap, xstarmap
from umbel.workflows.canvas import chain as _chain
from umbel.workflows.canvas import chord as _chord
from umbel.workflows.signature import Signature, maybe_signature, signature
from umbel.workflows.signature import signature as subtask
from umbel.workflows.stamping import StampingVisitor

__all__ = [
    "Signature",
    "StampingVisitor",
    "_chain",
    "_chord",
    "chain",
    "chord",
    "chunks",
    "group",
    "maybe_signature",
    "signature",
    "subtask",
    "xmap",
    "xstarmap",
]
