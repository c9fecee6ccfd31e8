"""Starting the command line from a program: ``app.worker_main`` and ``app.start``.

The one call upstairs: the command line stands above the app, so it is imported by name and only
here, when a program asks for it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from umbel.app.app import App

_PROGRAMS = ("umbel", "celery")
_TAKES_VALUE = frozenset(
    {"-A", "--app", "-b", "--broker", "-n", "--hostname", "-Q", "--queues", "-X", "-I", "--include"}
)
"""Options whose value could happen to be the word ``worker``."""


def worker_words(argv: Sequence[str] | None) -> list[str]:
    """Return the words of a worker command.

    None means the words this program was started with. The name of the program and the word
    ``worker`` may be there, as in Celery's newer versions, or not, as in the older ones.
    """
    words = command_words(argv)
    named = any(
        word == "worker" and (at == 0 or words[at - 1] not in _TAKES_VALUE)
        for at, word in enumerate(words)
    )
    return words if named else ["worker", *words]


def command_words(argv: Sequence[str] | None) -> list[str]:
    """Return the words of a command, without the program's name; None as in ``worker_words``."""
    words = list(sys.argv[1:] if argv is None else argv)
    return words[1:] if words and words[0] in _PROGRAMS else words


def run_commands(app: App, words: Sequence[str]) -> None:
    """Run the command line with this app; leave by SystemExit when it did not end well."""
    main = importlib.import_module("umbel.cli.main").main
    status: int = main(list(words), app=app)
    if status:
        raise SystemExit(status)
