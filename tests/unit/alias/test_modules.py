"""Every module of the alias imports, and has the names it says it has."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import umbel_celery
from umbel_celery.absent import ABSENT, refuse

MODULES = [one.name for one in pkgutil.walk_packages(umbel_celery.__path__, "umbel_celery.")]


@pytest.mark.parametrize("name", ["umbel_celery", *MODULES])
def test_a_module_has_the_names_it_says(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for word in getattr(module, "__all__", ()):
        assert hasattr(module, word), word


def test_what_is_absent_is_not_there_as_well():
    there = {name.replace("umbel_celery", "celery", 1) for name in MODULES}
    assert there.isdisjoint(ABSENT)


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_what_is_absent_says_why(name):
    with pytest.raises(ModuleNotFoundError, match="umbel-celery has no") as caught:
        refuse(f"{name}.deeper")
    assert caught.value.name == f"{name}.deeper"


def test_what_is_there_or_unknown_is_let_through():
    refuse("celery.result")
    refuse("celery.unknown")
