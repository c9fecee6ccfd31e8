"""The layers that settings lie in, and which of them wins.

The strongest first: command line, ``UMBEL_*`` variables, Celery's four variables, what the program
set (constructor and ``app.conf``), the source, ``add_defaults`` (last added first), the defaults of
the profile. ``conf`` is the only caller; it holds a lock while it writes.
"""

from __future__ import annotations

import os
from collections import ChainMap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from umbel.config import composing, sources
from umbel.config.checking import Checker, Given, Problem, Strictness, combined, fail, setting_named
from umbel.config.settings import PROFILES, Settings, defaults

Layer: TypeAlias = dict[str, Given]
Added: TypeAlias = Mapping[str, Any] | Callable[[], Mapping[str, Any]]

_MAPPING_DEFAULTS = {
    name: value
    for name, value in msgspec.structs.asdict(defaults("celery")).items()
    if isinstance(value, dict)
}
"""Programs write into these (``app.conf.beat_schedule["x"] = ...``), so each app has its own."""


class Layers:
    """What was set, by whom. One thread may write while others read."""

    def __init__(self, profile: str) -> None:
        self.profile = profile
        self.source: Any = None
        self.namespace: str | None = None
        self.silent = False
        self.added: list[Added] = []
        self._command_line: Layer = {}
        self._environment: Layer = {}
        self._changes: Layer = {}
        self._from_sources: list[Layer] = []
        self._own_mappings: dict[str, Any] = {
            name: dict(value) for name, value in _MAPPING_DEFAULTS.items()
        }
        self._custom_changes: dict[str, Any] = {}
        self._custom_read: dict[str, Any] = {}
        self._reading: sources.Reading | None = None

    # --- writing ----------------------------------------------------------------------------------

    def change(self, items: Iterable[tuple[str, Any]], origin: str) -> None:
        """Set what the program says: all of it, or nothing and ImproperlyConfigured."""
        one = self.find("profile")
        strict = (one.stored if one else self.profile) == "umbel"
        checker = Checker(
            origin=origin, strictness=Strictness(every=strict), namespace=self.namespace
        )
        checked = checker.check(_as_readers(items))
        fail(checked.problems)
        self._changes = self._changes | checked.given
        self._custom_changes = self._custom_changes | checked.custom

    def take_back(self, key: str) -> None:
        """Undo one change. KeyError when there is none."""
        name = setting_named(key, self.namespace)
        if name is None:
            del self._custom_changes[key]
        else:
            del self._changes[name]

    def take_back_all(self) -> None:
        """Undo every change."""
        self._changes, self._custom_changes = {}, {}

    def set_from_command_line(
        self, words: Sequence[str] | Mapping[str, Any], namespace: str
    ) -> None:
        """Set what ``group.name=value`` words say, or raise ImproperlyConfigured."""
        reading = sources.read_command_line(words, namespace)
        checker = Checker(origin=reading.origin, strictness=Strictness(every=True), from_text=True)
        checked = checker.check(reading.items())
        fail(checked.problems)
        self._command_line = self._command_line | checked.given

    def read(self) -> None:
        """Read environment, source and added defaults, in place of what was read before.

        Raises ImproperlyConfigured with everything that is wrong in all of them.
        """
        problems = self._read_environment(os.environ)
        source = sources.source_in_environment() if self.source is None else self.source
        self._reading = sources.open_source(source, silent=self.silent)
        own = [self._reading] if self._reading else []
        readings = [*own, *map(sources.open_defaults, self.added)]
        strict = self._profile_among(readings) == "umbel"
        layers: list[Layer] = [] if own else [{}]
        custom: dict[str, Any] = {}
        for reading in readings:
            checker = Checker(
                origin=reading.origin,
                strictness=Strictness(every=strict and not reading.is_code, ours=strict),
                namespace=self.namespace if reading is self._reading else None,
                is_source=True,
                is_code=reading.is_code,
            )
            checked = checker.check(reading.items())
            _take_zone_of_django(checked.given, reading)
            layers.append(checked.given)
            custom = checked.custom | custom
            problems += checked.problems
        fail(problems)
        self._from_sources, self._custom_read = layers, custom

    def _read_environment(self, environ: Mapping[str, str]) -> list[Problem]:
        problems = sources.misspelled_variables(environ)
        layer: Layer = {}
        for reading in sources.read_environment(environ):
            checker = Checker(origin=reading.origin, from_text=True)
            checked = checker.check(reading.items())
            layer = checked.given | layer
            problems += checked.problems
        self._environment = layer
        return problems

    # --- reading ----------------------------------------------------------------------------------

    def find(self, name: str) -> Given | None:
        """Return the value of a setting that somebody set."""
        return next((layer[name] for layer in self._all() if name in layer), None)

    def find_custom(self, key: str) -> Any:
        """Return a value that is no setting. KeyError when there is none."""
        for custom in (self._custom_changes, self._custom_read):
            if key in custom:
                return custom[key]
        if self._reading is not None and key in self._reading.keys:
            return self._reading.read(key)
        raise KeyError(key)

    def given(self) -> Mapping[str, Given]:
        """Return every setting that somebody set."""
        return ChainMap(*self._all())

    def custom(self) -> dict[str, Any]:
        """Return the values that are no settings, except those of modules and objects."""
        return self._custom_read | self._custom_changes

    def changes(self) -> dict[str, Any]:
        """Return what the program set, as it was set."""
        return {name: one.value for name, one in self._changes.items()} | self._custom_changes

    def added_defaults(self) -> list[dict[str, Any]]:
        """Return the added defaults, the last added first."""
        layers = self._from_sources[1:]
        return [{name: one.value for name, one in layer.items()} for layer in layers]

    def settings(self) -> Settings:
        """Return all settings as one value, ``broker_url`` never None.

        Raises ImproperlyConfigured when two do not fit each other.
        """
        given = self.given()
        profile = given["profile"].stored if "profile" in given else self.profile
        stored = self._own_mappings | {name: one.stored for name, one in given.items()}
        made = msgspec.structs.replace(defaults(profile), **stored)
        url = composing.broker_url(made, given)
        composed = {
            "broker_url": url,
            "result_backend": composing.result_backend(made, url, given),
        }
        if composing.follows_broker(made, given):
            composed |= composing.as_the_broker(made, given)
        composed |= composing.delivery(made, given)
        made = msgspec.structs.replace(made, **composed)
        fail(combined(made, {name: one.origin for name, one in given.items()}))
        return made

    def profile_so_far(self, *, read: bool) -> str:
        """Return the profile; where sources and environment were not ``read``, without them."""
        word = os.environ.get("UMBEL_PROFILE", "").strip()
        if not read and word in PROFILES and "profile" not in self._command_line:
            return word
        found = self.find("profile")
        return str(found.stored) if found is not None else self.profile

    def _all(self) -> list[Layer]:
        return [self._command_line, self._environment, self._changes, *self._from_sources]

    def _profile_among(self, readings: Sequence[sources.Reading]) -> str:
        """The profile decides how strictly names are read, so it is looked for first."""
        for layer in (self._command_line, self._environment, self._changes):
            if "profile" in layer:
                return str(layer["profile"].stored)
        for reading in readings:
            for key in reading.keys:
                if setting_named(key, self.namespace) == "profile":
                    found = reading.read(key)
                    return found if found in PROFILES else self.profile
        return self.profile

    # --- crossing into another process ------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        """Everything that was read goes along; the sources themselves stay behind."""
        own = {name: dict(value) for name, value in self._own_mappings.items()}
        left: dict[str, Any] = {"source": None, "added": [], "_reading": None, "_own_mappings": own}
        return self.__dict__ | left


def _as_readers(items: Iterable[tuple[str, Any]]) -> list[tuple[str, Callable[[], Any]]]:
    def reader(value: Any) -> Callable[[], Any]:
        return lambda: value

    return [(key, reader(value)) for key, value in items]


def _take_zone_of_django(layer: Layer, reading: sources.Reading) -> None:
    zone = reading.get("TIME_ZONE")
    if "timezone" not in layer and isinstance(zone, str) and zone:
        layer["timezone"] = Given("timezone", zone, zone, "TIME_ZONE", reading.origin)
