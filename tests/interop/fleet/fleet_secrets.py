"""Imported by workers only, when a task needs it: what its classes are, no reader knows."""

from __future__ import annotations


class HiddenError(Exception):
    """A class the reader of the result has not imported."""
