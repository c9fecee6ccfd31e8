"""Tests of the settings see no variables of the machine that they run on."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith(("UMBEL_", "CELERY_")):
            monkeypatch.delenv(variable)
