"""Options of a driver, taken one by one out of what the URL and the settings say.

Used by the drivers' ``address`` modules. Whatever is wrong becomes ImproperlyConfigured, in a
sentence that names the option, the (censored) URL and what it takes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

from umbel.errors import ImproperlyConfigured


class OptionReader:
    """Takes options out of one mapping, remembers which, and complains in full sentences."""

    def __init__(
        self, options: Mapping[str, Any], url: str, *, accepted: frozenset[str] = frozenset()
    ) -> None:
        """``accepted``: names that are known and without effect; ``url`` as it may be shown."""
        self._options = options
        self._url = url
        self._known: set[str] = set(accepted)

    def raw(self, name: str, default: Any = None) -> Any:
        self._known.add(name)
        value = self._options.get(name)
        return default if value is None else value

    def text(self, name: str, default: str | None = None) -> str | None:
        value = self.raw(name, default)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(name, value, "a text")

    def number(self, name: str, default: float | None, *, least: float = 0.0) -> float | None:
        value = self.raw(name, default)
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise self.wrong(name, value, "a number") from None
        if not number >= least or isinstance(value, bool):
            raise self.wrong(name, value, f"a number of at least {least:g}")
        return number

    def flag(self, name: str, default: bool | None) -> bool | None:
        value = self.raw(name, default)
        if isinstance(value, bool) or value is None:
            return value
        word = str(value).lower()
        if word in {"1", "true", "yes", "on"}:
            return True
        if word in {"0", "false", "no", "off"}:
            return False
        raise self.wrong(name, value, "true or false")

    def wrong(self, name: str, value: object, wanted: str) -> ImproperlyConfigured:
        return ImproperlyConfigured(
            f"The option {name!r} for {self._url} must be {wanted}, not {value!r}."
        )

    def refuse_unknown(self) -> None:
        unknown = sorted(set(self._options) - self._known)
        if not unknown:
            return
        near = difflib.get_close_matches(unknown[0], sorted(self._known), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ImproperlyConfigured(
            f"{', '.join(map(repr, unknown))}: no such option for {self._url}.{hint}"
        )
