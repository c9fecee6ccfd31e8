"""argsrepr as Celery generates it."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tests.wire.recordings import FOLDER
from umbel.wire.reprs import safe_repr

NAMES = {"date": date, "Decimal": Decimal, "UUID": UUID}


def rows() -> list[Any]:
    import json

    content = json.loads((FOLDER / "reprs.json").read_text())
    return [
        pytest.param(row["source"], row["wrapped"], row["argsrepr"], id=row["source"])
        for row in content["rows"]
    ]


@pytest.mark.parametrize(("source", "wrapped", "text"), rows())
def test_same_text(source: str, wrapped: bool, text: str) -> None:
    value = eval(source, dict(NAMES))
    assert safe_repr((value,) if wrapped else value) == text
