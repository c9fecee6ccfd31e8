"""Reading the files that ``tools/record_goldens.py`` writes."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "goldens"


def names(kind: str, prefix: str = "") -> list[str]:
    found = sorted(path.stem for path in (FOLDER / kind).glob(f"{prefix}*.json"))
    assert found, f"no recordings of {kind}/{prefix}"
    return found


def recording(kind: str, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((FOLDER / kind / f"{name}.json").read_text())
    return content


def raw(entry: dict[str, str]) -> bytes:
    if "raw" in entry:
        return entry["raw"].encode("ascii")
    return base64.b64decode(entry["base64"])


def raws(kind: str, name: str, part: str) -> list[bytes]:
    return [raw(entry) for entry in recording(kind, name)[part]]
