"""``umbel dev FILE``: a worker that starts anew when a source file changes.

The worker is a process of its own, started as ``umbel worker`` would be; this one only watches and
restarts. A file that does not import is no end: the next change tries again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.util import cache_from_source
from types import FrameType
from typing import Any

import click

from umbel.app.finding import AppNotFound, module_of_file
from umbel.cli.invocation import common_options, invocation
from umbel.cli.watching import Stop, changes

_GRACE = 10.0
"""Seconds a worker may take to finish what runs before it is told to drop it."""


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("file", metavar="FILE")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[WORKER OPTIONS]...")
@common_options
def dev(file: str, options: tuple[str, ...]) -> int:
    """Run a worker for the app in FILE, and start it anew when a source file changes.

    \b
    umbel dev tasks.py
    umbel dev tasks.py -c 4 -P threads

    Options of umbel worker may follow FILE. Nothing needs to be installed or started beside it:
    an app without a broker uses the file umbel.sqlite3 in the current directory.
    """
    served = invocation()
    if file.startswith("-"):
        raise click.UsageError(f"The file comes first: umbel dev tasks.py {file} ...")
    served.prepare()
    try:
        module, root = module_of_file(file)
    except AppNotFound as error:
        raise click.BadParameter(str(error), param_hint="FILE") from None
    say = _Teller(quiet=served.flag("quiet"), color=not served.no_color and sys.stderr.isatty())
    words = [sys.executable, "-m", "umbel", "worker", "-A", file]
    if not _names_level(options):
        words += ["-l", "INFO"]
    words += [*options, *(["-C"] if served.no_color else []), *(["-q"] if say.quiet else [])]
    say(f"watching {os.path.relpath(root)}{os.sep} for changes of {module} and its neighbours")
    return _Runner(words, root, say).run()


def _forget_bytecode(paths: Iterable[str]) -> None:
    """Delete what Python compiled of these files.

    It trusts the compiled file while size and time, in whole seconds, are those of the source: an
    edit of one letter right after the last run would go unnoticed.
    """
    for path in paths:
        with suppress(OSError, NotImplementedError):
            os.remove(cache_from_source(path))


def _names_level(options: tuple[str, ...]) -> bool:
    return any(one.startswith(("-l", "--loglevel")) for one in options)


class _Teller:
    """Says what ``umbel dev`` itself does, apart from the worker's lines."""

    def __init__(self, *, quiet: bool, color: bool) -> None:
        self.quiet = quiet
        self._color = color

    def __call__(self, text: str) -> None:
        if not self.quiet:
            click.secho(f"[dev] {text}", fg="cyan" if self._color else None, err=True)


class _Runner:
    """Keeps one worker process running. Belongs to the main thread."""

    def __init__(self, words: list[str], root: str, say: _Teller) -> None:
        self._words = words
        self._root = root
        self._say = say
        self._stop = Stop()
        self._child: subprocess.Popen[bytes] | None = None

    def run(self) -> int:
        """Run until a signal says stop; return the exit code."""
        before: dict[signal.Signals, Any] = {
            number: signal.signal(number, self._on_signal)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            self._start()
            for batch in changes(self._root, self._stop):
                self._look_after_child()
                if batch:
                    self._tell(batch)
                    self._end()
                    _forget_bytecode(batch)
                    self._start()
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
        self._say("stopped")
        return 0

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._stop.set()

    def _start(self) -> None:
        # A process group of its own: Ctrl-C reaches this process alone, which then ends the worker
        # once, instead of the terminal and this process both telling it.
        self._child = subprocess.Popen(self._words, process_group=0)  # noqa: S603 - our own words

    def _look_after_child(self) -> None:
        if self._child is not None and (status := self._child.poll()) is not None:
            self._child = None
            how = f"with status {status}" if status >= 0 else f"by signal {-status}"
            self._say(f"the worker ended {how}; the next change starts it again")

    def _end(self) -> None:
        """End the worker: first kindly, then, after the grace, so that its tasks go back."""
        child, self._child = self._child, None
        if child is None:
            return
        for number, patience in ((signal.SIGTERM, _GRACE), (signal.SIGQUIT, 5.0)):
            child.send_signal(number)
            try:
                child.wait(patience)
            except subprocess.TimeoutExpired:
                self._say("the worker is still busy; what it runs goes back to the queue")
            else:
                return
        child.kill()
        child.wait()

    def _tell(self, batch: Mapping[str, str]) -> None:
        shown = [f"{os.path.relpath(path)} {what}" for path, what in sorted(batch.items())]
        more = f" and {len(shown) - 3} more" if len(shown) > 3 else ""
        self._say(f"{', '.join(shown[:3])}{more}: starting anew")
