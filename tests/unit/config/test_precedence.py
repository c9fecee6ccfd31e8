"""Which layer wins: an algebra, so it is tested with generated layers."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from umbel.config.conf import Conf
from umbel.config.settings import defaults

NAMES = ("broker_url", "result_backend", "broker_read_url")
URLS = st.from_regex(r"redis://[a-z]{1,8}", fullmatch=True)
LAYER = st.dictionaries(st.sampled_from(NAMES), URLS)
LAYERS = ("command line", "UMBEL_", "CELERY_", "changes", "source", "second", "first")


@contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def conf_of(layers: Mapping[str, Mapping[str, str]], profile: str) -> Conf:
    """Set each layer, in an order that has nothing to do with its strength."""
    conf = Conf(profile=profile, changes=layers["changes"])
    conf.set_from_command_line(layers["command line"])
    conf.add_defaults(layers["first"])
    conf.set_source(layers["source"])
    conf.add_defaults(lambda: layers["second"])
    variables = {f"UMBEL_{name.upper()}": url for name, url in layers["UMBEL_"].items()}
    variables |= {f"CELERY_{name.upper()}": url for name, url in layers["CELERY_"].items()}
    with environment(variables):
        conf.finalize()
    return conf


@given(
    st.fixed_dictionaries({layer: LAYER for layer in LAYERS}), st.sampled_from(["umbel", "celery"])
)
def test_the_strongest_layer_that_says_something_wins(
    layers: dict[str, dict[str, str]], profile: str
) -> None:
    conf = conf_of(layers, profile)
    for name in NAMES:
        said = [layers[layer][name] for layer in LAYERS if name in layers[layer]]
        if said:
            assert conf[name] == getattr(conf.settings, name) == said[0]
            assert conf.value_set_for(name) == said[0]
        else:
            assert conf.value_set_for(name) is None
            assert conf.origin_of(name) == f"default of the profile {profile}"
    if not any("broker_read_url" in layers[layer] for layer in LAYERS):
        assert conf.broker_read_url is defaults(profile).broker_read_url


@given(LAYER, LAYER, LAYER)
def test_taking_back_is_the_inverse_of_setting(
    source: dict[str, str], first: dict[str, str], second: dict[str, str]
) -> None:
    conf = Conf(source=source, changes=first)
    before = conf.settings
    conf.update(second)
    for name in second:
        del conf[name]
    conf.update({name: url for name, url in first.items() if name in second})
    assert conf.settings == before


@given(st.lists(st.tuples(st.sampled_from(NAMES), URLS)))
def test_the_last_write_wins_whatever_its_spelling(writes: list[tuple[str, str]]) -> None:
    conf = Conf(profile="celery", namespace="CELERY")
    old = {"broker_url": "BROKER_URL", "result_backend": "CELERY_RESULT_BACKEND"}
    last: dict[str, str] = {}
    for number, (name, url) in enumerate(writes):
        spellings = (name, old.get(name, name), f"CELERY_{name.upper()}")
        conf[spellings[number % 3]] = url
        last[name] = url
    assert conf.changes == last


def test_an_empty_variable_is_as_good_as_none() -> None:
    with environment({"CELERY_BROKER_URL": "", "UMBEL_BROKER_URL": ""}):
        assert Conf(changes={"broker_url": "redis://code"}).settings.broker_url == "redis://code"


def test_the_profile_is_a_setting_like_any_other() -> None:
    assert Conf(profile="celery", changes={"profile": "umbel"}).settings.task_acks_late
    assert Conf(profile="celery", source={"profile": "umbel"}).settings.task_acks_late
    with environment({"UMBEL_PROFILE": "celery"}):
        conf = Conf(profile="umbel", changes={"profile": "umbel"})
        assert conf.settings.profile == "celery"
        assert not conf.settings.task_acks_late
