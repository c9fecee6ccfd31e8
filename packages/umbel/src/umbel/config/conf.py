"""``app.conf``: every setting under every spelling, and the frozen ``Settings`` made of them.

``App`` makes one ``Conf`` and reads ``conf.settings``; users read and write it as an object or a
mapping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Any

import msgspec

from umbel.config.settings import NAMES, Settings, defaults


class Conf(MutableMapping[str, Any]):
    """The settings of one app."""

    on_configure: list[Callable[[Conf], None]]
    on_after_configure: list[Callable[[Conf], None]]

    def __init__(
        self,
        *,
        profile: str = "umbel",
        changes: Mapping[str, Any] | None = None,
        source: Any = None,
        namespace: str | None = None,
        silent: bool = False,
    ) -> None:
        state = self.__dict__
        state["_profile"] = profile
        state["_changes"] = dict(changes or {})
        state["_source"] = (source, namespace, silent)
        state["on_configure"] = []
        state["on_after_configure"] = []

    @property
    def settings(self) -> Settings:
        """The frozen settings; the same object until something changes."""
        made: Settings | None = self.__dict__.get("_made")
        if made is None:
            changes = {name: self._changes[name] for name in NAMES if name in self._changes}
            made = msgspec.structs.replace(defaults(self._profile), **changes)
            self.__dict__["_made"] = made
        return made

    def set_source(
        self, source: Any, *, namespace: str | None = None, silent: bool = False, force: bool = False
    ) -> None:
        self.__dict__["_source"] = (source, namespace, silent)
        if isinstance(source, Mapping):
            for name, value in source.items():
                self._changes.setdefault(name, value)
        self.__dict__.pop("_made", None)

    def __getitem__(self, name: str) -> Any:
        if name in self._changes:
            return self._changes[name]
        if name in NAMES:
            return getattr(self.settings, name)
        raise KeyError(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._changes[name] = value
        self.__dict__.pop("_made", None)

    def __delitem__(self, name: str) -> None:
        del self._changes[name]
        self.__dict__.pop("_made", None)

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value
