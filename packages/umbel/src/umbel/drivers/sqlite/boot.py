"""Which boot of the machine this is: monotonic clocks begin anew at each.

Called where leases are written and compared.
"""

from __future__ import annotations

from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")


def _read() -> str:
    try:
        return _LINUX.read_text(encoding="ascii").strip()
    except OSError:
        # Other systems do not tell without a system call of their own. There a lease from before a
        # restart may hold a message back for as long as the machine had been up.
        return "unknown"


BOOT = _read()
