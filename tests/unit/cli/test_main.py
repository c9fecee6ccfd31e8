"""What every command has in common: help, versions, mistakes and exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from umbel.cli.main import main
from umbel.version import __version__


def run(capsys, *words: str, **more) -> tuple[int, str, str]:
    code = main(list(words), prog="umbel", **more)
    told = capsys.readouterr()
    return code, told.out, told.err


def test_version(capsys):
    assert run(capsys, "--version") == (0, f"umbel {__version__}\n", "")


def test_the_celery_command_tells_the_celery_it_stands_for(capsys):
    code, out, _ = run(capsys, "--version", profile="celery")
    assert (code, out) == (0, f"5.7.0 (umbel {__version__})\n")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(capsys, words):
    code, out, _ = run(capsys, *words)
    assert code == 0
    for name in ("worker", "dev", "call", "result", "purge", "status", "report", "doctor", "help"):
        assert f"\n  {name} " in out


@pytest.mark.parametrize(
    "name", ["worker", "dev", "call", "result", "purge", "status", "report", "doctor"]
)
def test_help_of_every_command(capsys, name):
    code, out, _ = run(capsys, "help", name)
    assert code == 0
    assert f"umbel {name}" in out
    assert "-A, --app" in out
    assert run(capsys, name, "--help")[1] == out


def test_no_command_shows_the_help_and_fails(capsys):
    code, _, err = run(capsys)
    assert code == 2
    assert "Commands" in err


@pytest.mark.parametrize(
    ("wrong", "right"), [("wroker", "worker"), ("statsu", "status"), ("docter", "doctor")]
)
def test_a_wrong_command_gets_the_nearest(capsys, wrong, right):
    code, _, err = run(capsys, wrong)
    assert code == 2
    assert f"There is no command '{wrong}'. Did you mean {right}?" in err
    assert run(capsys, "help", wrong)[0] == 2


@pytest.mark.parametrize("name", ["multi", "flower", "graph"])
def test_commands_of_celerys_that_are_absent_say_so(capsys, name):
    code, _, err = run(capsys, name, "-A", "x")
    assert code == 2
    assert f"There is no command '{name}'. " in err
    assert "Did you mean" not in err


def test_a_wrong_option_gets_the_nearest(capsys):
    code, _, err = run(capsys, "status", "--jsn")
    assert code == 2
    assert "--json" in err


def test_an_app_that_is_not_there_is_status_2_without_traceback(capsys):
    code, _, err = run(capsys, "status", "-A", "no_such_module_xyz")
    assert code == 2
    assert err.startswith("Error: -A no_such_module_xyz: there is no module")
    assert "Traceback" not in err


def test_debug_shows_the_traceback(capsys, monkeypatch):
    assert "Traceback" in run(capsys, "--debug", "status", "-A", "no_such_module_xyz")[2]
    monkeypatch.setenv("UMBEL_DEBUG", "1")
    assert "Traceback" in run(capsys, "status", "-A", "no_such_module_xyz")[2]


def test_a_directory_that_is_not_there(capsys):
    code, _, err = run(capsys, "status", "--workdir", "/no/such")
    assert code == 2
    assert "cannot change to /no/such" in err


def test_a_server_that_does_not_answer_is_status_69(capsys):
    pytest.importorskip("redis")
    code, _, err = run(capsys, "status", "-b", "redis://127.0.0.1:1/0")
    assert code == 69
    assert err.startswith("Error: ")
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1


def test_the_option_beats_the_environment(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("UMBEL_BROKER_URL", "redsi://nowhere")
    monkeypatch.setenv("CELERY_BROKER_URL", "redsi://nowhere")
    code, _, err = run(capsys, "status", "-b", f"sqlite:///{tmp_path}/x.sqlite3")
    assert code == 69
    assert "No worker is alive" in err


def test_a_wrong_url_is_status_1(capsys):
    code, _, err = run(capsys, "status", "-b", "redsi://127.0.0.1")
    assert code == 1
    assert "redis" in err


def test_python_m_umbel():
    told = subprocess.run(
        [sys.executable, "-m", "umbel", "--version"], capture_output=True, text=True, check=True
    )
    assert told.stdout.endswith(f" {__version__}\n")


def test_help_imports_neither_rich_nor_the_app():
    program = (
        "import sys; from umbel.cli.main import main; main(['--help']);"
        "heavy = {'rich', 'redis', 'umbel.app.app', 'umbel.worker.wiring', 'umbel.drivers'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    told = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
