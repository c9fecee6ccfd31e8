"""The fields of a crontab: from what the user wrote to the set of numbers it means.

The syntax is Celery's (documented behaviour): ``*``, numbers, names, ranges that may wrap around,
steps, comma lists; Python integers, strings and iterables of either. Called by ``crontab``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import msgspec

from umbel.errors import UsageError

FieldSpec: TypeAlias = "int | str | Iterable[int | str]"


class ParseException(UsageError, ValueError):
    """A field of a crontab that cannot be read."""


class Field(msgspec.Struct, frozen=True):
    """One field: its name for messages, its first and last number, the names it may use."""

    name: str
    first: int
    last: int
    names: tuple[str, ...] = ()

    def read(self, spec: FieldSpec) -> frozenset[int]:
        """Return the numbers that ``spec`` means. Raises ParseException, naming field and part."""
        if isinstance(spec, bool) or spec is None:
            raise ParseException(f"{self.name}: {spec!r} is no number, string or list of them")
        if isinstance(spec, int):
            return frozenset((self._within(spec, spec),))
        if isinstance(spec, str):
            return frozenset(n for part in spec.split(",") for n in self._part(part, spec))
        try:
            items = list(spec)
        except TypeError:
            raise ParseException(
                f"{self.name}: {spec!r} is no number, string or list of them"
            ) from None
        if not items:
            raise ParseException(f"{self.name}: an empty list would never run")
        return frozenset().union(*(self.read(item) for item in items))

    @property
    def every(self) -> frozenset[int]:
        """All numbers of the field."""
        return frozenset(range(self.first, self.last + 1))

    def _part(self, part: str, spec: str) -> Iterator[int]:
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise ParseException(
                f"{self.name}: cannot read {part.strip()!r} in {spec!r};"
                f" write *, n, a-b, */step or a-b/step, with commas between them"
            )
        low, high, step = found["low"], found["high"], found["step"]
        if low != "*" and high is None:
            if step is not None:
                raise ParseException(
                    f"{self.name}: {part.strip()!r} has a step and no range;"
                    f" write {low}-{self.last}/{step}"
                )
            yield self._number(low, spec)
            return
        width = int(step) if step is not None else 1
        if width < 1:
            raise ParseException(f"{self.name}: a step of {width} in {spec!r} leads nowhere")
        yield from self._span(low, high, spec)[::width]

    def _span(self, low: str, high: str | None, spec: str) -> list[int]:
        """Every number of a range, in the order in which they come; it may wrap around."""
        if low == "*":
            return list(range(self.first, self.last + 1))
        assert high is not None
        begin, end = self._number(low, spec), self._number(high, spec)
        if begin <= end:
            return list(range(begin, end + 1))
        return [*range(begin, self.last + 1), *range(self.first, end + 1)]

    def _number(self, word: str, spec: str) -> int:
        if word.isdigit():
            return self._within(int(word), spec)
        short = word.lower()[:3]
        if short in self.names and self._is_name(word.lower()):
            return self.first + self.names.index(short)
        known = f"; names are {', '.join(self.names)}" if self.names else ""
        raise ParseException(f"{self.name}: {word!r} in {spec!r} is no number{known}")

    def _is_name(self, word: str) -> bool:
        return len(word) == 3 or any(full.startswith(word) for full in _FULL_NAMES)

    def _within(self, number: int, spec: object) -> int:
        if self.first <= number <= self.last:
            return number
        hint = ""
        if self.name == "day_of_week" and number == 7:
            hint = "; Sunday is 0"
        raise ParseException(
            f"{self.name}: {number} in {spec!r} is not within {self.first} to {self.last}{hint}"
        )


_PART = re.compile(r"(?P<low>\*|\d+|[A-Za-z]+)(?:-(?P<high>\d+|[A-Za-z]+))?(?:/(?P<step>\d+))?")
_FULL_NAMES = (
    *("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"),
    *("january", "february", "march", "april", "may", "june", "july", "august"),
    *("september", "october", "november", "december"),
)

MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY_OF_WEEK = Field("day_of_week", 0, 6, ("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
DAY_OF_MONTH = Field("day_of_month", 1, 31)
MONTH_OF_YEAR = Field(
    "month_of_year",
    1,
    12,
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
)


class crontab_parser:  # noqa: N801 - Celery's name
    """Celery's parser of one field: ``crontab_parser(60).parse("*/15")``.

    ``max_`` is how many numbers the field has, ``min_`` the first of them. Names are those of
    weekdays for a field of seven and those of months for a field of twelve that begins with 1.
    """

    ParseException = ParseException

    def __init__(self, max_: int = 60, min_: int = 0) -> None:
        self.max_, self.min_ = max_, min_
        names = {7: DAY_OF_WEEK.names, 12: MONTH_OF_YEAR.names if min_ == 1 else ()}
        self._field = Field("field", min_, min_ + max_ - 1, names.get(max_, ()))

    def parse(self, spec: FieldSpec) -> frozenset[int]:
        """Return the numbers that ``spec`` means. Raises ParseException."""
        return self._field.read(spec)
