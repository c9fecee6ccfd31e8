"""What stands in a page of the documentation: its files, commands and sessions, in order.

Called by ``test_snippets``. Reads text, runs nothing.

* A block of Python below a line such as "`tasks.py`:" is the content of that file.
* Any other ``python`` block is run in the page's own Python session, and so is a ``pycon`` block,
  whose answers are compared.
* A ``console`` block holds commands after ``$ `` and what they print.
* ``<!-- not run: why -->`` above a block leaves it out; ``<!-- stop the workers -->`` ends what
  the page has started so far.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"( *)```(\w*)$")
_CAPTION = re.compile(r"`([\w./-]+\.\w+|Dockerfile)`.*:$")
_NOT_RUN = re.compile(r"<!-- not run: (.+) -->$")
STOP = "<!-- stop the workers -->"


class Block(NamedTuple):
    """One fenced block, or the word to stop what runs (language ``stop``)."""

    language: str
    text: str
    line: int
    caption: str | None = None
    not_run: str | None = None


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page, in order."""
    return list(_blocks(text.splitlines()))


def _blocks(lines: list[str]) -> Iterator[Block]:
    above = ""
    numbered = iter(enumerate(lines, 1))
    for number, line in numbered:
        if line.strip() == STOP:
            yield Block("stop", "", number)
        fence = _FENCE.match(line)
        if fence is None:
            above = line.strip() or above
            continue
        inside: list[str] = []
        for _, each in numbered:
            if each.strip() == "```":
                break
            inside.append(each.removeprefix(fence[1]))
        else:
            raise AssertionError(f"the block that begins in line {number} has no end")
        caption, reason = _CAPTION.match(above), _NOT_RUN.match(above)
        yield Block(
            fence[2],
            "\n".join(inside) + "\n",
            number + 1,
            caption[1] if caption else None,
            reason[1] if reason else None,
        )
        above = ""


class Command(NamedTuple):
    """A command, and what it should print; None where the page does not tell."""

    words: str
    printed: str | None


def commands(text: str) -> list[Command]:
    """Return the commands of a console block."""
    found: list[Command] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:], None))
        elif not found:
            raise AssertionError(f"a console block begins with a command after '$ ', not {line!r}")
        elif line.startswith("> "):
            found[-1] = Command(f"{found[-1].words}\n{line[2:]}", None)
        else:
            words, printed = found[-1]
            found[-1] = Command(words, (printed or "") + line + "\n")
    return found
