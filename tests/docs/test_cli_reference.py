"""The page of the command line is what the commands say now."""

from __future__ import annotations

import subprocess
import sys

from tests.docs.pages import DOCS, ROOT

PAGE = DOCS / "reference" / "cli.md"


def test_the_page_is_up_to_date():
    script = ROOT / "tools" / "write_cli_reference.py"
    ran = subprocess.run(
        [sys.executable, str(script), "--check"],
        check=False,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT / "packages" / "umbel" / "src")},
    )
    assert ran.returncode == 0, ran.stderr


def test_every_option_of_the_worker_is_there():
    text = PAGE.read_text(encoding="utf-8")
    assert all(name in text for name in ("`-Q NAMES`", "`-P POOL`", "`-l LEVEL`", "`-A APP`"))
