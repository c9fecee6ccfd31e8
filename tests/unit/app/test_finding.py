"""What ``-A`` leads to."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from umbel.app.app import App
from umbel.app.finding import AppNotFound, find_app, module_of_file

APP = "from umbel.app.app import App\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory that is the current one; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def write(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / (name.replace("__in__", "/") + ".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def message(spec: str) -> str:
    with pytest.raises(AppNotFound) as caught:
        find_app(spec)
    return str(caught.value)


@pytest.mark.parametrize(
    "spec", ["fnd_tasks", "fnd_tasks:app", "fnd_tasks.app", "fnd_tasks.py", "./fnd_tasks.py"]
)
def test_every_spelling_leads_to_the_app_called_app(project, spec):
    project(fnd_tasks=APP + "other = App('other')\napp = App('right')\n")
    assert find_app(spec).main == "right"


def test_app_comes_before_celery_and_celery_before_others(project):
    project(fnd_two=APP + "celery = App('celery')\nzzz = App('zzz')\n")
    assert find_app("fnd_two").main == "celery"


def test_a_submodule_celery_is_looked_into(project):
    project(
        fnd_pkg__in____init__="",
        fnd_pkg__in__celery=APP + "app = App('deep')\n",
    )
    for spec in ("fnd_pkg", "fnd_pkg.celery", "fnd_pkg.celery:app", "fnd_pkg.celery.app"):
        assert find_app(spec).main == "deep"


def test_a_module_called_celery_in_a_module_is_no_app(project):
    project(fnd_seed=APP + "import json as celery\ncel = App('test')\n")
    assert find_app("fnd_seed").main == "test"


def test_the_only_app_is_taken_whatever_its_name(project):
    project(fnd_one=APP + "cel = App('only')\nalias = cel\n")
    assert find_app("fnd_one").main == "only"


def test_several_apps_are_listed(project):
    project(fnd_many=APP + "one = App('one')\ntwo = App('two')\n")
    assert "fnd_many:one, fnd_many:two" in message("fnd_many")


def test_a_module_without_app_is_told_with_its_file(project):
    project(fnd_none="x = 1\n")
    text = message("fnd_none")
    assert "has no app" in text
    assert "fnd_none.py" in text


def test_a_missing_module_gets_the_nearest_names(project):
    project(fnd_tasks=APP)
    text = message("fnd_task")
    assert "there is no module 'fnd_task'" in text
    assert "Did you mean fnd_tasks?" in text


def test_a_missing_module_with_nothing_near_gets_advice(project):
    project()
    assert "--workdir" in message("qqqqqqqq_zzz")


def test_a_missing_submodule_is_named(project):
    project(fnd_far__in____init__="", fnd_far__in__celery_app=APP)
    assert "neither a sub-module nor an attribute 'celery_ap'" in message("fnd_far.celery_ap")


def test_a_missing_attribute_gets_the_apps(project):
    project(fnd_attr=APP + "proj = App('x')\n")
    assert "Did you mean proj?" in message("fnd_attr:prj")
    assert "Its apps: proj" in message("fnd_attr:zzz")


def test_an_attribute_that_is_no_app_is_refused(project):
    project(fnd_str="app_name = 'x'\n")
    assert "leads to a str, not to an app" in message("fnd_str:app_name")


def test_a_module_that_raises_is_told_with_the_users_traceback_only(project):
    project(fnd_raises="def boom():\n    raise KeyError('gone')\n\nboom()\n")
    text = message("fnd_raises")
    assert "it raised KeyError" in text
    assert "fnd_raises.py" in text
    assert "line 2, in boom" in text
    assert "importlib" not in text
    assert "finding.py" not in text


def test_an_error_that_umbel_raises_on_purpose_is_told_without_its_own_frames(project):
    project(fnd_twice=APP + "app = App('x', task_time_limit='soon')\napp.settings\n")
    text = message("fnd_twice")
    assert "fnd_twice.py" in text
    assert "task_time_limit" in text
    assert "umbel/app/app.py" not in text


def test_a_missing_import_inside_the_module_is_the_modules_error(project):
    project(fnd_inner="import no_such_module_xyz\n")
    text = message("fnd_inner")
    assert "was found but cannot be imported" in text
    assert "No module named 'no_such_module_xyz'" in text


def test_a_syntax_error_is_shown(project):
    project(fnd_syntax="def broken(:\n")
    assert "SyntaxError" in message("fnd_syntax")


@pytest.mark.parametrize("spec", [":app", "proj:"])
def test_half_a_colon_is_refused(project, spec):
    project()
    assert "module:attribute" in message(spec)


def test_a_file_in_a_package_is_a_module_of_it(project):
    root = project(
        sub__in__fnd_p__in____init__="",
        sub__in__fnd_p__in__inner=APP + "app = App('inner')\n",
    )
    assert module_of_file("sub/fnd_p/inner.py") == ("fnd_p.inner", str(root / "sub"))
    assert find_app("sub/fnd_p/inner.py").main == "inner"


def test_a_missing_file_gets_the_nearest(project):
    project(fnd_tasks=APP)
    assert "Did you mean fnd_tasks.py?" in message("fnd_taks.py")


def test_a_file_hidden_by_a_known_module_says_so(project):
    project(json=APP + "app = App('x')\n")
    text = message("json.py")
    assert "the name 'json' already belongs to" in text


def test_the_current_directory_comes_first(project):
    root = project(fnd_first=APP + "app = App('x')\n")
    assert isinstance(find_app("fnd_first"), App)
    assert sys.path[0] == str(root)
