"""Ids of runs: random ones, and those that belong to what they follow."""

from __future__ import annotations

import hashlib
import os


def new_id() -> str:
    """Return a random id in the form of a UUID."""
    return _as_uuid(os.urandom(16).hex(), "4")


def derived_id(*parts: object) -> str:
    """Return the id that belongs to these parts, always the same, in the form of a UUID.

    What follows a run is named so: should it be sent twice, it is told from something new.
    """
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16)
    return _as_uuid(digest.hexdigest(), "8")


def _as_uuid(text: str, version: str) -> str:
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-{version}{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"
