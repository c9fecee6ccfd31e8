"""Every problem at once: unknown names with the nearest known one, wrong values, mixed namings.

``conf`` hands in keys and values as they were written and gets back what is stored under which
setting, and the list of problems. ``fail`` makes the one error of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from umbel.config import delivery_semantics
from umbel.config.celery_names import NEW_NAMES
from umbel.config.converting import convert
from umbel.config.settings import NAMES, OWN_NAMES, Settings
from umbel.config.urls import StoreUrl, split_urls
from umbel.errors import ImproperlyConfigured, UnknownSetting

_KNOWN = frozenset(NAMES)
_PREFIXES = tuple(sorted({name.partition("_")[0] + "_" for name in NAMES if "_" in name}))
_OLD_PREFIXES = ("CELERY_", "CELERYD_", "CELERYBEAT_", "BROKER_")
_CELERY_ONLY = ("TASK_", "WORKER_", "BEAT_")
"""Beginnings that only Celery's settings have; REDIS_HOST and DATABASE_URL are anybody's."""
_CELERY_SPELLINGS = {f"CELERY_{name.upper()}": name for name in NAMES if name not in OWN_NAMES}
_URL_SETTINGS = frozenset({"broker_url", "broker_read_url", "broker_write_url", "result_backend"})
_OUR_SCHEMES = frozenset(
    {"redis", "rediss", "valkey", "valkeys", "sentinel", "amqp", "amqps", "pyamqp", "rpc", "sqlite"}
    | {"memory", "redis+socket", "unix", "postgresql"}
)


class Given(msgspec.Struct, frozen=True):
    """One value that somebody set: ``value`` as written, ``stored`` as ``Settings`` has it."""

    name: str
    value: Any
    stored: Any
    key: str
    origin: str


class Problem(msgspec.Struct, frozen=True):
    """One thing that is wrong, as a sentence without its full stop."""

    sentence: str
    is_unknown_name: bool = False


class Checked(msgspec.Struct, frozen=True):
    """What a source said: settings, other values that are none of ours, and problems."""

    given: dict[str, Given]
    custom: dict[str, Any]
    problems: list[Problem]


# --- names ----------------------------------------------------------------------------------------


def prefix_of(namespace: str | None) -> str:
    """Return what names of this namespace begin with; empty without one."""
    return f"{namespace.rstrip('_')}_" if namespace else ""


def setting_named(key: str, namespace: str | None = None) -> str | None:
    """Return the setting that ``key`` spells: its name, its old name, or its namespaced name.

    ``CELERY_`` and the name of today is understood without a namespace too: Flask programs pass
    all of ``app.config`` to ``conf.update``.
    """
    if key in _KNOWN:
        return key
    prefix = prefix_of(namespace)
    if prefix and key.startswith(prefix):
        name = key[len(prefix) :].lower()
        if name in _KNOWN:
            return name
    return NEW_NAMES.get(key) or _CELERY_SPELLINGS.get(key)


def misspelled(key: str) -> str | None:
    """Return the spelling that ``key`` misses by one or two letters, or None.

    In capitals, only names that begin as Celery's do are looked at.
    """
    if not key.isupper():
        return _within_two_letters(key, NAMES)
    if key.startswith(_OLD_PREFIXES):
        return _within_two_letters(key, (*NEW_NAMES, *_CELERY_SPELLINGS))
    if key.startswith(_CELERY_ONLY):
        return _within_two_letters(key.lower(), NAMES)
    return None


def _within_two_letters(word: str, known: Iterable[str]) -> str | None:
    if word in known:
        return word
    length = len(word)
    most = 2 if length > 7 else 1
    letters = set(word)
    likely = [
        name
        for name in known
        # An edit brings at most one new letter and takes at most one away.
        if abs(len(name) - length) <= most and len(letters ^ set(name)) <= 2 * most
    ]
    distances = ((_letters_apart(word, name), name) for name in likely)
    near = min(distances, default=(most + 1, ""))
    return near[1] if near[0] <= most else None


def _letters_apart(one: str, other: str) -> int:
    """Letters to add, drop, change or swap with a neighbour to make one word the other."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        this = [row]
        for column, wanted in enumerate(other, 1):
            cost = min(
                last[column] + 1, this[column - 1] + 1, last[column - 1] + (letter != wanted)
            )
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == wanted:
                cost = min(cost, before[column - 2] + 1)
            this.append(cost)
        before, last = last, this
    return last[-1]


def _closest(word: str, known: Iterable[str], cutoff: float) -> str | None:
    # Needed only once something is wrong; difflib would be a third of this room's import time.
    from difflib import get_close_matches  # noqa: PLC0415 - see above

    found = get_close_matches(word, known, n=1, cutoff=cutoff)
    return found[0] if found else None


def hint_for(key: str) -> str:
    """Return ``: did you mean …?`` for a name that is no setting, or an empty text."""
    lower = key.lower()
    close = misspelled(key) or _within_two_letters(lower, NAMES) or _closest(lower, NAMES, 0.75)
    if close is None:
        endings = [name for name in NAMES if name.endswith("_" + lower)]
        close = endings[0] if len(endings) == 1 else None
    return f": did you mean {close}?" if close else ""


def unknown_name(key: str, origin: str) -> Problem:
    """Return the problem of a name that is no setting."""
    return Problem(f"{key} ({origin}) is not a setting{hint_for(key)}", is_unknown_name=True)


# --- what one source said -------------------------------------------------------------------------


class Strictness(msgspec.Struct, frozen=True):
    """Which unknown names are errors.

    A misspelled one always is. ``every`` makes all others errors too; ``ours`` those that begin as
    settings do. What is left is a custom value.
    """

    every: bool = False
    ours: bool = False

    def refuses(self, key: str) -> bool:
        """Return whether this unknown name is an error."""
        if self.every or (self.ours and key.startswith(_PREFIXES)):
            return True
        return misspelled(key) is not None


class Checker(msgspec.Struct, frozen=True, kw_only=True):
    """Checks what one source says.

    ``origin`` is the source, for messages. ``from_text`` says that values are text by nature.
    ``is_source`` says that it is something given to config_from_object: old beside new names are a
    problem there, and with a namespace only names in it count.
    ``is_code`` says that the source is a module, class or object: it also holds imports, functions
    and constants of the program, and only what is written like a setting can be a misspelled one.
    """

    origin: str
    strictness: Strictness = Strictness()
    namespace: str | None = None
    from_text: bool = False
    is_source: bool = False
    is_code: bool = False

    def check(self, items: Iterable[tuple[Any, Callable[[], Any]]]) -> Checked:
        """Return settings, custom values and problems of these keys.

        The functions return the values; they are called only where a value matters.
        """
        checked = Checked({}, {}, [])
        spellings: list[str] = []
        for key, read in items:
            name = setting_named(key, self.namespace) if isinstance(key, str) else None
            if not isinstance(key, str):
                sentence = f"{key!r} ({self.origin}) is not a setting: names are text"
                checked.problems.append(Problem(sentence, is_unknown_name=True))
            elif name is None:
                self._check_other(checked, key, read)
            else:
                spellings.append(key)
                self._check_setting(checked, Given(name, read(), None, key, self.origin))
        if self.is_source and not self.namespace:
            checked.problems.extend(self._mixed(spellings))
        return checked

    def _check_setting(self, checked: Checked, given: Given) -> None:
        name, key = given.name, given.key
        try:
            stored = convert(name, given.value, from_text=self.from_text)
            if name in _URL_SETTINGS:
                _check_url(name, stored)
            elif name == "timezone" and isinstance(stored, str):
                _check_zone(stored)
        except ValueError as error:
            sentence = f"{key} ({self.origin}) {error}".rstrip(".")
            checked.problems.append(Problem(sentence))
            return
        earlier = checked.given.get(name)
        if earlier is not None and earlier.stored != stored:
            sentence = (
                f"{name} ({self.origin}) is given twice with different values, as {earlier.key} "
                f"and as {key}: keep one of them"
            )
            checked.problems.append(Problem(sentence))
        value = stored if self.from_text else given.value
        checked.given[name] = Given(name, value, stored, key, self.origin)

    def _check_other(self, checked: Checked, key: str, read: Callable[[], Any]) -> None:
        prefix = prefix_of(self.namespace)
        in_namespace = bool(prefix) and key.startswith(prefix)
        if self.is_source and (key == "TIME_ZONE" or (prefix and not in_namespace)):
            return  # Django's zone is taken over elsewhere; the rest is somebody else's
        bare = key[len(prefix) :].lower() if in_namespace else key
        if self.is_code and bare.isupper() and not bare.startswith(_OLD_PREFIXES):
            return  # a constant of the program
        if self.strictness.refuses(bare):
            if not self.is_code or not _is_part_of_a_program(read()):
                checked.problems.append(unknown_name(bare, self.origin))
        elif in_namespace or not self.is_code:
            checked.custom[bare] = read()

    def _mixed(self, keys: Sequence[str]) -> Iterable[Problem]:
        old = [key for key in keys if key in NEW_NAMES]
        if old and any(key in _KNOWN for key in keys):
            renames = ", ".join(f"{key} to {NEW_NAMES[key]}" for key in old)
            yield Problem(f"old and new names are mixed ({self.origin}): rename {renames}")


def _check_url(name: str, stored: Any) -> None:
    if name == "result_backend":
        if not (stored is None or isinstance(stored, str) or callable(stored)):
            raise ValueError(f"is {stored!r}; it takes a URL, the alias of a backend or a class")
        if not isinstance(stored, str) or "://" not in stored:
            return
    if stored is None:
        return
    for part in split_urls(stored):
        scheme = part.partition("://")[0].lower()
        if "://" not in part or scheme in _OUR_SCHEMES:
            try:
                StoreUrl.parse(part)
            except ImproperlyConfigured as error:
                raise ValueError(f"cannot be used. {error}") from None


def _check_zone(name: str) -> None:
    # Most programs name no zone, and then zoneinfo need not be imported for one.
    from zoneinfo import ZoneInfo, available_timezones  # noqa: PLC0415 - see above

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        known = available_timezones()
        if not known:
            return  # a system without time zone data: nothing can be said about any name
        close = _closest(name, known, cutoff=0.6)
        hint = f": did you mean {close!r}?" if close else " such as 'Europe/Rome'"
        raise ValueError(f"is {name!r}, which is not a time zone{hint}") from None


def _is_part_of_a_program(value: Any) -> bool:
    return callable(value) or type(value).__name__ == "module"


# --- settings that do not fit each other ----------------------------------------------------------


def combined(settings: Settings, origins: Mapping[str, str]) -> list[Problem]:
    """Return what is wrong with settings that are right one by one."""
    problems = []

    def both(first: str, second: str) -> str:
        return " and ".join(
            f"{name} = {getattr(settings, name)!r} ({origins.get(name, 'default')})"
            for name in (first, second)
        )

    if settings.worker_lease_renewal >= settings.worker_lease:
        problems.append(
            Problem(
                f"{both('worker_lease_renewal', 'worker_lease')}: a lease must be renewed before "
                "it ends"
            )
        )
    said = {
        word: getattr(settings, f"task_{word}")
        for word in delivery_semantics.OLDER_WORDS
        if f"task_{word}" in origins
    }
    problems += [
        Problem(
            f"{both('task_delivery', f'task_{word}')}: these contradict each other; keep one of "
            "them"
        )
        for word in delivery_semantics.contradictions(settings.task_delivery, said)
    ]
    for queue in ("event_queue", "control_queue"):
        durable, exclusive = f"{queue}_durable", f"{queue}_exclusive"
        if getattr(settings, durable) and getattr(settings, exclusive):
            problems.append(
                Problem(
                    f"{both(durable, exclusive)}: a queue that only its maker may read cannot "
                    f"outlive it; set {exclusive} to False"
                )
            )
    hard, soft = settings.task_time_limit, settings.task_soft_time_limit
    if settings.profile == "umbel" and hard is not None and soft is not None and soft >= hard:
        problems.append(
            Problem(
                f"{both('task_soft_time_limit', 'task_time_limit')}: the soft limit would never "
                "be reached"
            )
        )
    return problems


def fail(problems: Sequence[Problem]) -> None:
    """Raise one error that tells every problem; does nothing when there is none.

    UnknownSetting when all of them are unknown names, else ImproperlyConfigured.
    """
    if not problems:
        return
    kind = UnknownSetting if all(p.is_unknown_name for p in problems) else ImproperlyConfigured
    ends = [p.sentence if p.sentence.endswith("?") else f"{p.sentence}." for p in problems]
    if len(ends) == 1:
        raise kind(ends[0])
    lines = "".join(f"\n  - {end}" for end in ends)
    raise kind(f"{len(ends)} settings are wrong:{lines}")
