"""``make demo`` ends by itself, with what it promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.installation import Installation

DEMO = Path(__file__).resolve().parents[2] / "tools" / "demo.py"


@pytest.mark.slow
def test_the_demo(installation: Installation, tmp_path: Path):
    told = installation.run("python", str(DEMO), cwd=tmp_path)
    assert told.returncode == 0, told.stdout + told.stderr
    for part in (
        "add.delay(4, 5)",
        "5000/5000",
        "hello from the coroutine, Umbel",
        "ValueError: this one always fails",
        "worked after 2 retries",
        "tasks per second",
        "The worker ended with status 0.",
    ):
        assert part in told.stdout
    assert list(tmp_path.iterdir()) == []
