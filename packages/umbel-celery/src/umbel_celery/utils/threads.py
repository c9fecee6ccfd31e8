"""``celery.utils.threads``: a thread that runs until it is stopped, and a stack a thread."""

from __future__ import annotations

import threading
from threading import get_ident
from threading import local as Local  # noqa: N812 - Celery's name
from typing import Any


class bgThread(threading.Thread):  # noqa: N801 - Celery's name
    """A daemon thread that calls ``body`` again and again until ``stop``."""

    def __init__(self, name: str | None = None, **_: Any) -> None:
        super().__init__(name=name or type(self).__name__, daemon=True)
        self._shutdown = threading.Event()

    def body(self) -> None:
        """Do one round. Subclasses override it."""
        raise NotImplementedError(f"{type(self).__name__} needs a method body().")

    def run(self) -> None:
        """Call ``body`` until ``stop``."""
        while not self._shutdown.is_set():
            self.body()

    def stop(self) -> None:
        """End after the round that is under way, and wait for it."""
        self._shutdown.set()
        if self.is_alive() and threading.current_thread() is not self:
            self.join()


class LocalStack:
    """A stack that every thread has its own of."""

    def __init__(self) -> None:
        self._local = threading.local()

    @property
    def stack(self) -> list[Any]:
        """This thread's stack, the top last."""
        found: list[Any] = self._local.__dict__.setdefault("stack", [])
        return found

    def push(self, obj: Any) -> list[Any]:
        """Put something on top."""
        self.stack.append(obj)
        return self.stack

    def pop(self) -> Any:
        """Take the top away and return it; None where the stack is empty."""
        return self.stack.pop() if self.stack else None

    @property
    def top(self) -> Any:
        """The top, or None."""
        return self.stack[-1] if self.stack else None

    def __len__(self) -> int:
        return len(self.stack)


__all__ = ["Local", "LocalStack", "bgThread", "get_ident"]
