"""When an executor has done enough: so many tasks, or so much memory. Used inside executors."""

from __future__ import annotations

import os

import msgspec

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024 if hasattr(os, "sysconf") else 4


class Retirement(msgspec.Struct):
    """Counts tasks and looks at the resident memory, in KiB, after each. One executor's own."""

    max_tasks: int | None
    max_memory: int | None
    done: int = 0

    def after_task(self) -> str | None:
        """Return why the executor should retire now, or None."""
        self.done += 1
        if self.max_tasks is not None and self.done >= self.max_tasks:
            return f"it ran {self.done} tasks (max_tasks_per_child)"
        if self.max_memory is not None:
            used = resident_memory()
            if used > self.max_memory:
                return f"it uses {used} KiB, over {self.max_memory} (max_memory_per_child)"
        return None


def resident_memory() -> int:
    """Return this process's resident memory in KiB."""
    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * _PAGE_KIB
    except OSError:
        return _peak_memory()


def _peak_memory() -> int:
    """The high-water mark, where the system does not tell the present value."""
    import resource  # noqa: PLC0415 - not on every platform, and only where /proc is missing
    import sys  # noqa: PLC0415

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // 1024 if sys.platform == "darwin" else peak
