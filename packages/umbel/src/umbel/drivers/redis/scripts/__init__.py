"""The Lua scripts, one operation per file, and how they are sent.

A file whose header says ``uses: a b`` is sent with the files ``a.lua`` and ``b.lua``, which hold
functions, before it. Called by the modules of this driver; nothing else knows that scripts exist.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

try:
    # hashlib would load OpenSSL into every worker: 1 MiB and 2 ms, for 13 digests.
    from _sha1 import sha1  # type: ignore[import-not-found]  # of CPython, without a stub
except ImportError:  # pragma: no cover - other Pythons
    from hashlib import sha1

from umbel.drivers.redis.connection import Argument, Connection, Refusal, pack

_FOLDER = Path(__file__).parent
_USES = re.compile(r"^-- uses:(.*)$", re.MULTILINE)
_COMMENT = re.compile(r"^\s*--.*\n", re.MULTILINE)


class Script:
    """One operation that Redis carries out in one step. Immutable; any thread may use it."""

    def __init__(self, name: str) -> None:
        text = (_FOLDER / f"{name}.lua").read_text("ascii")
        uses = _USES.search(text)
        parts = [
            (_FOLDER / f"{part}.lua").read_text("ascii")
            for part in (uses[1].split() if uses else ())
        ]
        self.name = name
        self._source = _COMMENT.sub("", "".join([*parts, text]))
        self._digest = sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def packed(self, keys: list[bytes], arguments: list[Argument]) -> bytes:
        """Return the command, encoded, for a script that Redis knows already."""
        return pack(("EVALSHA", self._digest, len(keys), *keys, *arguments))

    def run(
        self, connection: Connection, keys: list[bytes], arguments: list[Argument], deadline: float
    ) -> Any:
        """Carry the script out and return its reply. Raises as ``Connection.call``."""
        reply = connection.exchange(self.packed(keys, arguments), 1, deadline)[0]
        if isinstance(reply, Refusal):
            return self.answer(connection, reply, keys, arguments, deadline)
        return reply

    def answer(
        self,
        connection: Connection,
        refusal: Exception,
        keys: list[bytes],
        arguments: list[Argument],
        deadline: float,
    ) -> Any:
        """Deal with a refusal: send the source if Redis lacks it, else raise.

        NOSCRIPT means that nothing was done, so sending again is safe.
        """
        if not str(refusal).startswith("NOSCRIPT"):
            raise connection.refused(refusal)
        return connection.call(("EVAL", self._source, len(keys), *keys, *arguments), deadline)


EXCHANGE = Script("exchange")
ARM = Script("arm")
EXTEND = Script("extend")
RELEASE = Script("release")
REST = Script("rest")
STORE = Script("store")
STATS = Script("stats")
JOIN = Script("join")
PURGE = Script("purge")
REVOKE = Script("revoke")
REVOKED = Script("revoked")
RESTORE = Script("restore")
UNLOCK = Script("unlock")
BIND_EXPIRING = Script("bind_expiring")
SHELF_PAGE = Script("shelf_page")
SHELF_FETCH = Script("shelf_fetch")
SHELF_WITHDRAW = Script("shelf_withdraw")
SHELF_ASIDE = Script("shelf_aside")
SCHEDULE = Script("schedule")
