"""Without OpenTelemetry the error says what to install."""

from __future__ import annotations

import importlib
import sys

import pytest

from umbel.errors import ImproperlyConfigured


def test_it_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "umbel.app.tracing", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(ImproperlyConfigured, match=r"pip install 'umbel\[otel\]'"):
        importlib.import_module("umbel.app.tracing")
    sys.modules.pop("umbel.app.tracing", None)
