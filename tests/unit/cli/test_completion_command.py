"""Completion: what the shells are told, and what they are answered."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from umbel.cli.main import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell], prog="umbel") == 0
    told = capsys.readouterr().out
    assert f"_UMBEL_COMPLETE={shell}_complete" in told
    assert "umbel" in told


def test_a_shell_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"], prog="umbel") == 2
    assert "is none of bash, zsh, fish" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "found"), [("umbel wor", "worker"), ("umbel worker --log", "--log-format")]
)
def test_words_are_completed(line: str, found: str) -> None:
    program = "from umbel.cli.main import main; main(prog='umbel')"
    env = os.environ | {
        "_UMBEL_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    told = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=False
    )
    assert f"plain,{found}" in told.stdout, told.stderr
