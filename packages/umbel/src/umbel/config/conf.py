"""``app.conf``: every setting under every spelling, and the frozen ``Settings`` made of them.

``App`` makes one ``Conf`` and reads ``conf.settings``; users read and write it as an object or a
mapping. What wins over what is in ``layers``, which names are errors in ``checking``.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from datetime import timedelta
from typing import Any, overload
from weakref import WeakSet

import msgspec

from umbel.config.checking import hint_for, setting_named
from umbel.config.layers import Added, Layers
from umbel.config.settings import NAMES, Settings, defaults
from umbel.config.showing import Option, option_named, table_of, text_of
from umbel.config.sources import source_in_variable

_AS_CELERY_HAS_THEM: Mapping[str, Any] = {"result_expires": timedelta(days=1)}
"""Defaults that ``conf`` shows in Celery's type, for programs that calculate with them."""
_COMPOSED = frozenset({"broker_url", "result_backend"})
"""What ``Settings`` may have from other settings; Celery's programs see None here."""
_ATTRIBUTES = frozenset({"on_configure", "on_after_configure"})


_ALL: WeakSet[Conf] = WeakSet()


def _renew_locks() -> None:
    for conf in _ALL:
        conf._lock = threading.RLock()


# Race: a thread that reads settings for the first time while another forks. The child has its
# lock, held, and not the thread that would let it go. Tested in test_conf.
os.register_at_fork(after_in_child=_renew_locks)


class _Snapshot:
    """``Conf.settings``: made at the first read, from then on a plain attribute of the instance.

    Every task call reads it; as a plain attribute that costs 20 ns, as a property 60.
    """

    @overload
    def __get__(self, conf: None, owner: type[Conf]) -> _Snapshot: ...
    @overload
    def __get__(self, conf: Conf, owner: type[Conf]) -> Settings: ...
    def __get__(self, conf: Conf | None, owner: type[Conf]) -> _Snapshot | Settings:
        return self if conf is None else conf.make_settings()


class Conf(MutableMapping[str, Any]):
    """The settings of one app, as attributes and items, under every spelling.

    Thread-safe. Reading gives a value as it was set; ``settings`` has all of them converted. Wrong
    names and values raise ImproperlyConfigured: where the program sets them, or at the first read
    of any setting when they come from a source or the environment.
    """

    settings = _Snapshot()
    """The frozen settings: the same object until something is set."""
    on_configure: list[Callable[[Conf], None]]
    """Called before a source is read."""
    on_after_configure: list[Callable[[Conf], None]]
    """Called after it was read."""

    def __init__(
        self,
        *,
        profile: str = "umbel",
        changes: Mapping[str, Any] | None = None,
        source: Any = None,
        namespace: str | None = None,
        silent: bool = False,
    ) -> None:
        """``changes`` are what the app's constructor was given; the rest is as in set_source."""
        defaults(profile)  # raises for one that does not exist
        self._lock = threading.RLock()
        _ALL.add(self)
        self._layers = Layers(profile)
        self._is_read = False
        self._is_announced = self._is_told = False
        self.on_configure = []
        self.on_after_configure = []
        self.set_source(source, namespace=namespace, silent=silent)
        self._layers.change((changes or {}).items(), "the app's constructor")

    # --- where values come from -------------------------------------------------------------------

    def set_source(
        self,
        source: Any,
        *,
        namespace: str | None = None,
        silent: bool = False,
        force: bool = False,
    ) -> None:
        """Take settings from this mapping, object, module or dotted name, in place of the last.

        It is read when a setting is first needed, or now with ``force``. ``namespace`` is what its
        names begin with. ``silent`` ignores a module that does not exist.
        """
        with self._lock:
            layers = self._layers
            layers.source, layers.namespace, layers.silent = source, namespace, silent
            self._is_announced = self._is_told = False
            self._read_again()
        if force:
            self.finalize()

    def set_source_from_variable(
        self, variable: str, *, silent: bool = False, force: bool = False
    ) -> bool:
        """Take settings from the module that an environment variable names; False if it is unset.

        Raises ImproperlyConfigured when it is unset, unless ``silent``.
        """
        source = source_in_variable(variable, silent=silent)
        if source is None:
            return False
        self.set_source(source, silent=silent, force=force)
        return True

    def set_from_command_line(
        self, words: Sequence[str] | Mapping[str, Any], namespace: str = "celery"
    ) -> None:
        """Let ``group.name=value`` words, or a mapping of such, win over everything else.

        A word without a group belongs to ``namespace``. What options of a command say belongs here
        too: set on ``app.conf`` it would lose to the environment.
        """
        with self._lock:
            self._layers.set_from_command_line(words, namespace)
            self._drop_snapshot()

    def add_defaults(self, added: Added) -> None:
        """Add defaults that stand above the profile's and below everything else.

        A callable is called when the settings are read. The last added wins.
        """
        with self._lock:
            self._layers.added.insert(0, added)
            self._read_again()

    def profile_so_far(self) -> str:
        """Return the profile in force, without reading a source for it.

        A source that was not read yet may still choose another one.
        """
        return self._layers.profile_so_far(read=self._is_read)

    def finalize(self) -> None:
        """Read the sources now. Raises ImproperlyConfigured with everything that is wrong."""
        self.make_settings()

    # --- mapping ----------------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        self._read()
        name = self._setting_named(key)
        if name is None:
            try:
                return self._layers.find_custom(key)
            except KeyError:
                raise KeyError(f"No setting is called {key!r}{hint_for(key)}") from None
        given = self._layers.find(name)
        return self._default(name) if given is None else given.value

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def __delitem__(self, key: str) -> None:
        """Take back what the program set. KeyError when it did not set it."""
        with self._lock:
            self._layers.take_back(key)
            self._drop_snapshot()

    def __iter__(self) -> Iterator[str]:
        self._read()
        yield from NAMES
        yield from self._layers.custom()

    def __len__(self) -> int:
        self._read()
        return len(NAMES) + len(self._layers.custom())

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str):
            return False
        if self._setting_named(key) is not None:
            return True
        self._read()
        try:
            self._layers.find_custom(key)
        except KeyError:
            return False
        return True

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        state = f"{len(self._layers.given())} set" if self._is_read else "not read yet"
        return f"<Conf of the profile {self._layers.profile}, {state}>"

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set several: all of them, or none when one is wrong."""
        given: dict[str, Any] = {}
        given.update(*args, **kwargs)
        with self._lock:
            self._layers.change(given.items(), "app.conf")
            self._drop_snapshot()

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Set it unless somebody did; return what is in force. A profile's default is nobody's."""
        if self.value_set_for(key) is None:
            self[key] = default
        return self[key]

    def clear(self) -> None:
        """Take back everything that the program set."""
        with self._lock:
            self._layers.take_back_all()
            self._drop_snapshot()

    def copy(self) -> Conf:
        """Return another Conf with the same values. Nothing that is set on one is seen in both."""
        twin = Conf.__new__(Conf)
        twin.__setstate__(self.__getstate__())
        return twin

    # --- attributes -------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(error.args[0]) from None

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_") or name in _ATTRIBUTES:
            object.__setattr__(self, name, value)
        elif hasattr(type(self), name):
            raise AttributeError(f"{name!r} is no setting: app.conf.{name} cannot be set.")
        else:
            self[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self[name]
        except KeyError:
            raise AttributeError(f"{name!r} was not set on app.conf.") from None

    # --- looking at it ----------------------------------------------------------------------------

    @property
    def changes(self) -> dict[str, Any]:
        """What the program set, by setting, as it was set."""
        return self._layers.changes()

    @property
    def defaults(self) -> list[dict[str, Any]]:
        """The mappings of ``add_defaults``, the last added first, then the profile's defaults."""
        profile = self.settings.profile
        return [*self._layers.added_defaults(), msgspec.structs.asdict(defaults(profile))]

    def origin_of(self, key: str) -> str:
        """Return where the value of a setting comes from, for people to read."""
        profile = self.settings.profile
        name = self._setting_named(key)
        given = self._layers.find(name) if name else None
        return given.origin if given else f"default of the profile {profile}"

    def without_defaults(self) -> dict[str, Any]:
        """Return everything that somebody set, by setting."""
        self._read()
        found = {name: given.value for name, given in self._layers.given().items()}
        return found | self._layers.custom()

    def value_set_for(self, key: str) -> Any:
        """Return the value that somebody set, or None when nobody did."""
        return self.without_defaults().get(self._setting_named(key) or key)

    def first(self, *keys: str) -> Any:
        """Return the first value of these that is not None. Names that are no setting count not."""
        return next((value for key in keys if (value := self.get(key)) is not None), None)

    def get_by_parts(self, *parts: str) -> Any:
        """Return the setting whose name is these parts, the empty ones left out."""
        return self["_".join(part for part in parts if part)]

    def find_option(self, name: str, namespace: str = "") -> tuple[str, str, Option]:
        """Return group, rest of the name and description of a setting that may lack its group.

        Raises KeyError with the nearest name.
        """
        option = option_named(name, namespace)
        if option is None:
            raise KeyError(f"No setting is called {name!r}{hint_for(name)}")
        return option.group, option.key, option

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """Return the value of a setting that may be named without its group."""
        return self[self.find_option(name, namespace)[2].name]

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        """Return what was set (or everything), secrets masked."""
        return table_of(dict(self) if with_defaults else self.without_defaults(), censored)

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """Return the same as text, a line for each setting."""
        return text_of(self.table(with_defaults, censored))

    # --- inside -----------------------------------------------------------------------------------

    def make_settings(self) -> Settings:
        """Return the frozen settings, and keep them until something is set.

        For ``settings``, which everybody reads. Raises ImproperlyConfigured with everything that
        is wrong.
        """
        while True:
            self._read()
            with self._lock:
                if not self._is_read:
                    continue  # another thread gave a new source in between
                if "settings" not in self.__dict__:
                    self.__dict__["settings"] = self._layers.settings()
                made: Settings = self.__dict__["settings"]
                return made

    def _setting_named(self, key: str) -> str | None:
        return setting_named(key, self._layers.namespace)

    def _default(self, name: str) -> Any:
        if name in _COMPOSED and self.settings.profile == "celery":
            return getattr(defaults("celery"), name)
        return _AS_CELERY_HAS_THEM.get(name, getattr(self.settings, name))

    def _drop_snapshot(self) -> None:
        self.__dict__.pop("settings", None)

    def _read_again(self) -> None:
        self._is_read = False
        self._drop_snapshot()

    def _read(self) -> None:
        if self._is_read:
            return
        with self._lock:
            if not self._is_announced:
                self._is_announced = True
                for callback in self.on_configure:
                    callback(self)
            if not self._is_read:  # a callback that reads a setting has them read
                self._layers.read()
                self._is_read = True
                self._drop_snapshot()
            told, self._is_told = self._is_told, True
        if not told:
            # Outside the lock: what is called here may send tasks, through other threads.
            for callback in self.on_after_configure:
                callback(self)

    # --- crossing into another process ------------------------------------------------------------

    def __getstate__(self) -> Layers:
        """Everything that was read goes along, so nothing is read again; callbacks stay behind."""
        self._read()
        return self._layers

    def __setstate__(self, layers: Layers) -> None:
        self._lock = threading.RLock()
        _ALL.add(self)
        self._layers = Layers.__new__(Layers)
        self._layers.__dict__.update(layers.__getstate__())
        self._is_read = self._is_announced = self._is_told = True
        self.on_configure = []
        self.on_after_configure = []
