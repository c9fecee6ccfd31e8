"""``--detach``: the same command once more, in the background.

The process is started anew rather than forked, in a session of its own, with nothing of ours open
but its log and one end of a pipe (``worker.readiness``). The command returns when the app has been
imported there, or with the status and the last lines of what was printed when it has ended before.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from typing import IO

import click

from umbel.app.logs import expand_node_format
from umbel.worker.readiness import READY_VARIABLE

PATIENCE = 60.0
"""Seconds for which a process may import its app before it is left to itself."""
LAST_LINES = 20


def in_background() -> bool:
    """Tell whether this process is the one that was started in the background."""
    return READY_VARIABLE in os.environ


def detach(
    words: Sequence[str],
    *,
    profile: str,
    node: str,
    logfile: str | None,
    executable: str | None = None,
) -> int:
    """Start ``umbel WORDS`` in the background; return 0 once it has begun, else its status.

    What it prints goes to ``logfile`` (``%n`` and its like are filled in from ``node``), else to
    nowhere. Raises click.ClickException when it cannot be started.
    """
    module = "umbel_celery" if profile == "celery" else "umbel"
    command = [executable or sys.executable, "-m", module, *words]
    reader, writer = os.pipe()
    try:
        with _output(logfile, node) as output:
            began_at = output.seek(0, os.SEEK_END)
            process = _start(command, output.fileno(), writer)
            os.close(writer)
            writer = -1
            if _began(reader):
                return 0
            status = _status(process)
            if status is None:
                click.echo(
                    f"The process {process.pid} has not begun after {PATIENCE:.0f} s and is left "
                    "to itself: look at its log.",
                    err=True,
                )
                return 0
            output.seek(began_at)
            printed = output.read().decode("utf-8", "replace").splitlines()
            click.echo("\n".join(printed[-LAST_LINES:]), err=True)
            return status or 1
    finally:
        os.close(reader)
        if writer >= 0:
            os.close(writer)


def _output(logfile: str | None, node: str) -> IO[bytes]:
    if logfile is None:
        return tempfile.TemporaryFile()  # read only where it fails
    path = expand_node_format(logfile, node)
    try:
        return open(path, "a+b")
    except OSError as error:
        raise click.ClickException(
            f"The log file {path} cannot be opened: {error.strerror}. Give -f a path that this "
            "user may write."
        ) from None


def _start(command: Sequence[str], output: int, ready: int) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(  # noqa: S603 - our own command line
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=(ready,),
            env=os.environ | {READY_VARIABLE: str(ready)},
            start_new_session=True,
        )
    except OSError as error:
        raise click.ClickException(
            f"{command[0]} cannot be started: {error.strerror}. --executable names the Python."
        ) from None


def _began(reader: int) -> bool:
    """Wait for the word; False when the process has ended without it, or takes too long."""
    readable, _, _ = select.select([reader], [], [], PATIENCE)
    return bool(readable) and os.read(reader, 16) != b""


def _status(process: subprocess.Popen[bytes]) -> int | None:
    try:
        return process.wait(5.0)
    except subprocess.TimeoutExpired:
        return None
