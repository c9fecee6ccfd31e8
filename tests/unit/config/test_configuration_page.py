"""The sessions in the how-to are what happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "configuration.md"

# In a process of its own: every app on the page becomes the current one.
RUN = """
import doctest, pathlib, re, sys
text = re.sub(r"^```.*$", "", pathlib.Path(sys.argv[1]).read_text(), flags=re.MULTILINE)
session = doctest.DocTestParser().get_doctest(text, {}, "page", sys.argv[1], 0)
assert len(session.examples) > 20
sys.exit(doctest.DocTestRunner().run(session).failed)
"""


def test_every_session_on_the_page_is_true() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", RUN, str(PAGE)], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
