"""The steps that are left of a long chain, handed on as the bytes they came in.

Each message of a chain carries all that comes after it. To read and write a thousand steps again at
every step is most of what a long chain costs, so where the body is plain JSON only the next is
read. Made by ``task_message``, written by ``task_v2``; ``workflows.advancing`` takes one off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

import msgspec

from umbel.wire import tagged_json

WORTH_IT = 4096
"""Bytes of a body below which it is read as a whole."""


class LaterSteps(Sequence[Mapping[str, Any]]):
    """Steps in the order of a message: the next one last. They are read when they are asked for."""

    __slots__ = ("_raw", "_read")

    def __init__(self, raw: Sequence[msgspec.Raw]) -> None:
        self._raw = raw
        self._read: list[Any] | None = None

    @property
    def next(self) -> Any:
        """The next step, as JSON has it."""
        return _decode(self._raw[-1])

    def after_next(self) -> LaterSteps | None:
        """Return the steps without the next one, or None where it is the last."""
        return LaterSteps(self._raw[:-1]) if len(self._raw) > 1 else None

    def as_json(self) -> bytes:
        """Return them as a JSON list."""
        return b"[%b]" % b",".join(self._raw)

    def _steps(self) -> list[Any]:
        if self._read is None:
            self._read = [_decode(one) for one in self._raw]
        return self._read

    @overload
    def __getitem__(self, index: int) -> Mapping[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Mapping[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._steps()[index]

    def __len__(self) -> int:
        return len(self._raw)

    def __eq__(self, other: object) -> bool:
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # equal to lists, which have none

    def __repr__(self) -> str:
        return repr(self._steps())


class _Embed(msgspec.Struct):
    chain: list[msgspec.Raw]
    callbacks: Any = None
    errbacks: Any = None
    chord: Any = None


_decode_body = msgspec.json.Decoder(tuple[Any, Any, _Embed]).decode
_decode = msgspec.json.Decoder().decode


def read_long(body: bytes) -> tuple[Any, Any, dict[str, Any]] | None:
    """Return arguments and embed of a JSON body with a long chain, its steps unread.

    None where it is something else, or something that this does not read.
    """
    if len(body) < WORTH_IT or b'"chain":[{' not in body or tagged_json.may_hold_tags(body):
        return None
    try:
        args, kwargs, embed = _decode_body(body)
        steps = LaterSteps(embed.chain)
        steps.next  # noqa: B018 - it must be JSON that this decoder reads
    except (*tagged_json.MSGSPEC_REFUSALS, IndexError):
        return None
    found = {"callbacks": embed.callbacks, "errbacks": embed.errbacks, "chord": embed.chord}
    return args, kwargs, {**found, "chain": steps}
