"""Where one page is tried out: a directory, the commands on the path, a Python session, workers.

Called by ``test_snippets``.
"""

from __future__ import annotations

import doctest
import json
import os
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from tests.docs.pages import ROOT, Block, Command, commands
from tests.e2e.processes import Program

SOURCES = (ROOT / "packages" / "umbel" / "src", ROOT / "packages" / "umbel-celery" / "src")
PATIENCE = 20.0
"""Seconds a command may take; none of them needs more than two on an idle machine."""
_STAYS = re.compile(r"^(?:\w+=\S+ )*(?:(?:umbel|celery) (?:.* )?(?:worker|dev)\b|python run\.py)")
_IS_UP = r"Connected to|\[tasks\]\n(?:  .*\n)*\n"
_SAME = (
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "ID"),
    (re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}: "), "[TIME: "),
    (re.compile(r"succeeded in [\d.e-]+s"), "succeeded in SOMEs"),
    (re.compile(r"answers in [\d.]+ ms"), "answers in SOME ms"),
    (re.compile(r"(?:SQLite|Redis) \d+\.\d+\.\d+"), "STORE VERSION"),
    (re.compile(r"Worker-\d+"), "Worker-N"),
    (re.compile(r"(?<=localhost:)\d+|(?<=127\.0\.0\.1:)\d+"), "PORT"),
)
"""What differs from run to run, on both sides of a comparison."""


class Desk:
    """A page at work. Belongs to one test."""

    def __init__(self, page: str, home: Path, replaced: dict[str, str]) -> None:
        self._page = page
        self._home = home
        self._replaced = replaced
        self._bin = home.parent / f"{home.name}-bin"
        self._make_commands()
        self._running = ExitStack()
        self._session: subprocess.Popen[str] | None = None

    def _make_commands(self) -> None:
        """Put ``umbel``, ``celery`` and ``python`` on the path, as an installation would."""
        self._bin.mkdir()
        for name, words in (("umbel", "-m umbel"), ("celery", "-m celery"), ("python", "")):
            file = self._bin / name
            file.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words} "$@"\n')
            file.chmod(0o755)
        # What umbel-celery's .pth file does in an installation.
        (self._bin / "sitecustomize.py").write_text("import umbel_celery_finder\n")

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("UMBEL_", "CELERY_", "PYTHON", "COV_", "PYTEST"))
        }
        return kept | {
            "PATH": f"{self._bin}{os.pathsep}{kept.get('PATH', '')}",
            "PYTHONPATH": os.pathsep.join(map(str, (self._bin, *SOURCES))),
            "PYTHONUNBUFFERED": "1",
            "PYTHONIOENCODING": "utf-8",
            "COLUMNS": "100",
        }

    # --- one block --------------------------------------------------------------------------------

    def take(self, block: Block) -> None:
        """Do what a block says. Fails with the page's line and what was printed."""
        text = block.text
        for old, new in self._replaced.items():
            text = text.replace(old, new)
        if block.language == "stop":
            self._running.close()
        elif block.caption is not None:
            file = self._home / block.caption
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        elif block.language == "console":
            for command in commands(text):
                self._run(command, block.line)
        elif block.language in ("python", "pycon"):
            self._ask_session(block, text)

    def _ask_session(self, block: Block, text: str) -> None:
        if self._session is None:
            self._session = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("session.py"))],
                cwd=self._home,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                encoding="utf-8",
            )
        asked = {"language": block.language, "text": text, "page": self._page, "line": block.line}
        assert self._session.stdin is not None
        assert self._session.stdout is not None
        self._session.stdin.write(json.dumps(asked) + "\n")
        self._session.stdin.flush()
        answer = self._session.stdout.readline()
        assert answer, f"{self._page}, line {block.line}: the session died of this block"
        complaints = json.loads(answer)
        assert not complaints, complaints

    def _run(self, command: Command, line: int) -> None:
        if _STAYS.match(command.words) and "--help" not in command.words:
            self._start(command)
            return
        ended = subprocess.run(
            ["sh", "-c", command.words],
            cwd=self._home,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        where = f"{self._page}, line {line}: $ {command.words}\n"
        if command.printed is None:
            assert ended.returncode == 0, where + ended.stdout
            return
        assert matches(command.printed, ended.stdout), (
            f"{where}The page says:\n{command.printed}\nIt printed:\n{ended.stdout}"
        )

    def _start(self, command: Command) -> None:
        assigned, rest = re.match(r"((?:\w+=\S+ )*)(.*)", command.words, re.DOTALL).groups()
        words = ["sh", "-c", f"exec env {assigned}{rest}"]
        program = Program(words, cwd=self._home, env=self._environment())
        self._running.enter_context(program)
        program.wait_for(_IS_UP, timeout=PATIENCE)
        if command.printed is None:
            return
        for part in parts(command.printed):
            program.wait_for(_pattern(part), timeout=PATIENCE)

    # --- the end ----------------------------------------------------------------------------------

    def __enter__(self) -> Desk:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.close()
        if self._session is not None:
            assert self._session.stdin is not None
            assert self._session.stdout is not None
            self._session.stdin.close()
            self._session.stdout.close()
            self._session.wait(PATIENCE)


# --- comparing ------------------------------------------------------------------------------------


def _same(text: str) -> str:
    text = text.replace(socket.gethostname(), "myhost")
    for pattern, word in _SAME:
        text = pattern.sub(word, text)
    return text


def matches(told: str, printed: str) -> bool:
    """Tell whether a command printed what a page says; ``...`` stands for anything."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(_same(told), _same(printed), flags)


def parts(told: str) -> list[str]:
    """Return the lines a worker should print, without those that only say ``...``."""
    return [line for line in told.splitlines() if line.strip() not in ("", "...")]


def _pattern(line: str) -> str:
    """Return the expression for one line of a worker's, with what differs left open."""
    text = line.replace("myhost", "\0host\0")
    for pattern, _ in _SAME:
        text = pattern.sub("\0", text)
    pieces = (re.escape(piece) for piece in re.split(r"\0host\0|\0|\.\.\.", text))
    return ".*".join(pieces)
