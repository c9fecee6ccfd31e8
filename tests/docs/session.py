"""One Python session of a page, in a process of its own: blocks in, complaints out.

Started by ``test_snippets`` in the page's directory. Each line of standard input is a JSON object
with a block; each line of standard output answers one.
"""

from __future__ import annotations

import doctest
import json
import os
import sys
import traceback
from typing import Any

_format = traceback.format_exception_only


def without_notes(kind: Any, error: BaseException | None = None) -> list[str]:
    """Return the message of an exception as one piece. Pages leave out the worker's traceback."""
    notes = "".join(f"{note}\n" for note in getattr(error, "__notes__", ()))
    return ["".join(_format(kind, error)).removesuffix(notes)]


FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def run_session(text: str, page: str, line: int, names: dict[str, Any]) -> str:
    """Run a block of ``>>>`` examples; return what went wrong, or nothing."""
    test = doctest.DocTestParser().get_doctest(text, names, page, page, line)
    test.globs = names  # one session for the whole page
    complaints: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=complaints.append, clear_globs=False)
    return "".join(complaints)


def run_code(text: str, page: str, line: int, names: dict[str, Any]) -> str:
    """Run a block of plain code; return what went wrong, or nothing."""
    try:
        exec(compile("\n" * (line - 1) + text, page, "exec"), names)
    except Exception:
        return traceback.format_exc()
    return ""


def main() -> None:
    sys.path.insert(0, os.getcwd())
    traceback.format_exception_only = without_notes  # type: ignore[assignment]  # doctest asks it
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    names: dict[str, Any] = {"__name__": "__console__"}
    for asked in sys.stdin:
        block = json.loads(asked)
        run = run_session if block["language"] == "pycon" else run_code
        told = run(block["text"], block["page"], block["line"], names)
        print(json.dumps(told), file=answers, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
