"""The torture (``python -m torture``) in its short form: every promise is kept while things break.

A run of the release has forty times the tasks and faults; see ``torture/README.md``. How fast a
rescue is, is no matter here, for the machine may be busy. The seed of what failed, and where its
logs are, stand in the output.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from torture.__main__ import main

SHORT = ["--tasks", "1200", "--faults", "8", "--rate", "180", "--lease", "3", "--untimed"]
FAULTS = {
    "sqlite": "kill-executor,kill-worker,terminate,quit,freeze-short,clock-jump,disk-full",
    "redis": "kill-executor,kill-supervisor,freeze-long,cut-worker,store-crash,drop-replies",
}


@pytest.mark.slow
@pytest.mark.parametrize("store", ["sqlite", pytest.param("redis", marks=pytest.mark.redis)])
def test_nothing_is_lost_stuck_or_repeated_without_a_reason(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if store == "redis" and shutil.which("redis-server") is None:
        pytest.skip("no redis-server in PATH")
    figures = tmp_path / "figures.json"
    words = ["run", "--store", store, "--only", FAULTS[store], *SHORT]
    status = main([*words, "--json", str(figures), "--keep", str(tmp_path / "torture")])
    said = capsys.readouterr().out
    assert status == 0, said
    kept = json.loads(figures.read_text(encoding="utf-8"))
    # It must have been a torture: runs were cut short and happened again.
    assert kept["faults_made"] >= 6, said
    assert kept["calls"]["confirmed"] >= 1100, said
    assert sum(kept["repeats"].values()) > 0, said
