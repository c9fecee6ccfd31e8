"""The reference page is what the settings say now."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from umbel.config.settings import NAMES

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "settings.md"


def test_the_page_is_up_to_date() -> None:
    script = ROOT / "tools" / "write_settings_reference.py"
    ran = subprocess.run(
        [sys.executable, str(script), "--check"], check=False, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr


def test_every_setting_has_one_line() -> None:
    lines = PAGE.read_text().splitlines()
    rows = [line.split("`")[1] for line in lines if line.startswith("| `") and line.count("|") > 5]
    assert sorted(rows) == sorted(NAMES)


def test_new_is_what_celery_does_not_have() -> None:
    recorded = json.loads(Path(__file__).with_name("celery_settings.json").read_text())
    marked = {line.split("`")[1] for line in PAGE.read_text().splitlines() if "` **new** |" in line}
    assert marked.isdisjoint(recorded["defaults"])
    assert {"profile", "worker_lease"} <= marked
