"""``celery.canvas``: signatures. Chains, groups and chords are not there yet, and say so."""

from __future__ import annotations

from typing import NoReturn

from umbel.workflows.signature import Signature, maybe_signature, signature
from umbel.workflows.signature import signature as subtask

from .absent import refuse_canvas

__all__ = ["Signature", "maybe_signature", "signature", "subtask"]


def __getattr__(name: str) -> NoReturn:
    refuse_canvas(name, __name__)
