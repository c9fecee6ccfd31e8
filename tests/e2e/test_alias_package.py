"""``umbel-celery`` installed: alone, beside the real Celery in either order, switched off."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from tests.e2e.installation import Installation

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

WHO = (
    "import celery, json, sys; from celery import Celery, shared_task;"
    "print(json.dumps([Celery.__module__, celery.__version__, celery.__file__]))"
)


def who_answers(made: Installation, **env: str) -> list[str]:
    told = made.run("python", "-c", WHO, env=env)
    assert told.returncode == 0, told.stderr
    assert told.stderr == ""
    answer: list[str] = json.loads(told.stdout)
    return answer


def is_ours(made: Installation, **env: str) -> bool:
    module, version, file = who_answers(made, **env)
    ours = module.startswith("umbel.")
    assert ("umbel_celery" in file) is ours
    assert version == "5.7.0"
    return ours


@pytest.fixture(scope="module", params=[("celery", "umbel"), ("umbel", "celery")], ids="-".join)
def both(request: pytest.FixtureRequest, make_installation) -> Installation:
    """Our wheels and the real Celery, in either order."""
    made: Installation = make_installation(*request.param)
    return made


def test_the_wheel_holds_the_pth_at_its_root(wheels: list[Path]):
    (wheel,) = [one for one in wheels if one.name.startswith("umbel_celery-")]
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        assert archive.read("umbel_celery.pth") == b"import umbel_celery_finder\n"
        record = next(name for name in names if name.endswith("RECORD"))
        assert b"umbel_celery.pth,sha256=" in archive.read(record)
    assert {"umbel_celery_finder.py", "umbel_celery/__init__.py", "umbel_celery/py.typed"} <= set(
        names
    )


def test_alone_it_answers(installation: Installation):
    assert is_ours(installation)


def test_switched_off_and_alone_there_is_no_celery(installation: Installation):
    told = installation.run("python", "-c", "import celery", env={"UMBEL_CELERY": "0"})
    assert "ModuleNotFoundError: No module named 'celery'" in told.stderr


def test_beside_the_real_one_it_takes_precedence(both: Installation):
    assert is_ours(both)
    assert not is_ours(both, UMBEL_CELERY="0")


def test_the_command_obeys_the_variable(both: Installation):
    for words in (["celery"], ["python", "-m", "celery"]):
        assert "(umbel " in both.run(*words, "--version").stdout
        real = both.run(*words, "--version", env={"UMBEL_CELERY": "0"}).stdout
        assert real.startswith("5.7.0 (")
        assert "umbel" not in real


def test_kombu_and_others_stay_what_they_are(both: Installation):
    program = "import celery, kombu, billiard; print(kombu.__file__)"
    assert "umbel" not in both.run("python", "-c", program).stdout


def test_uninstalling_gives_the_real_one_back(make_installation):
    made: Installation = make_installation("celery", "umbel")
    made.uninstall("umbel-celery")
    assert not is_ours(made)
    assert made.run("python", "-m", "celery", "--version").stdout.startswith("5.7.0 (")


def test_every_module_imports_and_keeps_its_word(installation: Installation):
    program = """
import importlib, pkgutil, sys, celery
names = [one.name for one in pkgutil.walk_packages(celery.__path__, "celery.")]
assert {"celery.result", "celery.app.task", "celery.utils.log", "celery.states"} <= set(names)
for name in names:
    module = importlib.import_module(name)
    assert module.__name__ == name, module
    for word in getattr(module, "__all__", ()):
        getattr(module, word)
"""
    told = installation.run("python", "-W", "error", "-c", program)
    assert (told.returncode, told.stderr) == (0, "")


def test_it_is_umbels_own_classes_under_celerys_names(installation: Installation):
    program = """
import celery, umbel, umbel.errors
from celery.result import AsyncResult
from celery.exceptions import TimeoutError, Retry, CeleryError
from celery.utils.log import get_task_logger
from celery.signals import task_success
import umbel.app.signals
assert issubclass(celery.Celery, umbel.Umbel)
assert AsyncResult is umbel.AsyncResult
assert TimeoutError is umbel.errors.ResultTimeout
assert CeleryError is umbel.errors.UmbelError
assert task_success is umbel.app.signals.task_success
assert celery.signals.task_success is task_success
assert celery.Celery("x").conf.task_acks_late is False
assert celery.states.SUCCESS == "SUCCESS" and "SUCCESS" in celery.states.READY_STATES
assert len(celery.uuid()) == 36
"""
    told = installation.run("python", "-W", "error", "-c", program)
    assert (told.returncode, told.stderr) == (0, "")


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("import celery.bootsteps", "umbel-celery has no celery.bootsteps: it is a part of"),
        ("import celery.worker.consumer.gossip", "start a worker by app.worker_main(argv)"),
        ("from celery.task import periodic_task", "Celery itself removed it: use @app.task"),
        ("from celery.beat import Scheduler", "it is not there yet"),
    ],
)
def test_what_is_absent_says_what_to_use(installation: Installation, statement: str, words: str):
    told = installation.run("python", "-c", statement)
    assert words in told.stderr
    assert "UMBEL_CELERY=0 gives this process the real Celery" in told.stderr


def test_an_unknown_name_is_an_ordinary_error(installation: Installation):
    told = installation.run("python", "-c", "import celery; celery.no_such_thing")
    assert "AttributeError: module 'celery' has no attribute 'no_such_thing'" in told.stderr
    told = installation.run("python", "-c", "import celery.no_such_module")
    assert "ModuleNotFoundError: No module named 'celery.no_such_module'" in told.stderr


def test_starting_python_costs_next_to_nothing(installation: Installation):
    program = (
        "import sys; ours = {'umbel', 'umbel_celery', 'celery', 'importlib.util'};"
        "print(sorted(ours & set(sys.modules)), 'umbel_celery_finder' in sys.modules)"
    )
    assert installation.run("python", "-c", program).stdout == "[] True\n"
