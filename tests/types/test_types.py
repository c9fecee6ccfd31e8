"""Both type checkers see a task's own signature: in what they accept and in what they refuse."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
RIGHT, WRONG = HERE / "right_calls.py", HERE / "wrong_calls.py"

Place = tuple[str, int]


def run(*words: str) -> str:
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    return done.stdout


def mypy_errors(cache: Path) -> dict[Place, str]:
    out = run(
        sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--no-error-summary",
        "--cache-dir", str(cache), "--no-pretty", str(RIGHT), str(WRONG),
    )  # fmt: skip
    found = re.findall(r"^(\S+?):(\d+): error: (.*)$", out, re.MULTILINE)
    return {(Path(file).name, int(line)): text for file, line, text in found}


def pyright_errors(folder: Path) -> dict[Place, str]:
    for file in (RIGHT, WRONG):  # it looks only below the folder of its configuration
        shutil.copy(file, folder)
    project = {
        "extraPaths": [str(ROOT / "packages" / "umbel" / "src")],
        "pythonVersion": "3.11",
        "typeCheckingMode": "standard",
    }
    config = folder / "pyrightconfig.json"
    config.write_text(json.dumps(project))
    python = ("--pythonpath", sys.executable)
    out = run(sys.executable, "-m", "pyright", "--outputjson", "-p", str(config), *python)
    return {
        (Path(one["file"]).name, one["range"]["start"]["line"] + 1): one["message"]
        for one in json.loads(out[out.index("{") :])["generalDiagnostics"]
        if one["severity"] == "error"
    }


def marked() -> set[Place]:
    lines = WRONG.read_text().splitlines()
    return {(WRONG.name, at) for at, line in enumerate(lines, 1) if line.endswith("# error")}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mypy(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    found = mypy_errors(tmp_path)
    assert set(found) == marked(), found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pyright(tmp_path: Path) -> None:
    pytest.importorskip("pyright")
    found = pyright_errors(tmp_path)
    assert set(found) == marked(), found
