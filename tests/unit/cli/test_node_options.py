"""The words of ``umbel multi``: nodes, and the options of each."""

from __future__ import annotations

import pytest

from umbel.cli.node_options import Plan, read_plan
from umbel.errors import UsageError

FLAGS = frozenset({"-E", "--beat", "-B"})
OWN = {"--prefix": True, "--suffix": True, "--range-prefix": True, "--hostname": True, "-q": False}


def read(line: str, leading: int = 0) -> Plan:
    return read_plan(line.split(), flags=FLAGS, own=OWN, host="here", leading=leading)


def options(line: str) -> dict[str, str]:
    return {node.name: " ".join(node.options) for node in read(line).nodes}


def test_names_and_numbers() -> None:
    assert list(options("mail video@there")) == ["mail@here", "video@there"]
    assert list(options("3")) == ["celery1@here", "celery2@here", "celery3@here"]
    assert list(options("2 --range-prefix w --suffix @far")) == ["w1@far", "w2@far"]
    assert list(options("a --prefix x- --hostname far")) == ["x-a@far"]


def test_options_for_all_and_for_some() -> None:
    assert options("3 -A proj -c 3 -c:1 10 -Q:2,3 data --pidfile=/run/%n.pid") == {
        "celery1@here": "-A proj -c 10 --pidfile=/run/%n.pid",
        "celery2@here": "-A proj -c 3 --pidfile=/run/%n.pid -Q data",
        "celery3@here": "-A proj -c 3 --pidfile=/run/%n.pid -Q data",
    }


def test_by_name_by_range_and_with_long_options() -> None:
    assert options("a b c -l info --queues:b=mail --time-limit:2-3 5") == {
        "a@here": "-l info",
        "b@here": "-l info --queues=mail --time-limit=5",
        "c@here": "-l info --time-limit=5",
    }


def test_flags_take_no_value() -> None:
    assert options("-E a --beat b") == {"a@here": "-E --beat", "b@here": "-E --beat"}
    assert options("a -c3 -B:a") == {"a@here": "-c 3 -B"}


def test_what_is_of_multi_itself() -> None:
    plan = read("a -q -KILL -- -x y")
    assert (plan.own, plan.signal) == ({"-q": ""}, "KILL")
    assert plan.nodes[0].options == ("-x", "y")


def test_words_before_the_nodes() -> None:
    plan = read("%n.log a b", leading=1)
    assert plan.words == ("%n.log",)
    assert [node.name for node in plan.nodes] == ["a@here", "b@here"]


def test_a_wrong_node_is_named() -> None:
    with pytest.raises(UsageError, match="-c:9 is for node '9', and there are a@here, b@here"):
        read("a b -c:9 3")
    with pytest.raises(UsageError, match="a@here is named twice"):
        read("a a")
