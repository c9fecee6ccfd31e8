"""The seed decides what is sent and what is broken, and nothing else does."""

from collections import Counter

import pytest
from torture.faults import MAKERS
from torture.load import KINDS, make_calls
from torture.planning import FAULTS, Setup, make_plan

ALL = frozenset({"server", "clock", "disk", "template"})


def test_the_same_seed_makes_the_same_plan():
    first, again, other = (make_plan(Setup(seed=seed), ALL) for seed in (7, 7, 8))
    assert first == again
    assert first.faults != other.faults
    assert first.calls != other.calls


def test_faults_are_spread_over_the_calls_and_all_kinds_come():
    plan = make_plan(Setup(tasks=10_000, faults=130), ALL)
    assert len(plan.faults) == 130
    moments = [fault.at for fault in plan.faults]
    assert moments == sorted(moments)
    assert moments[0] > 200
    assert moments[-1] < 10_000
    assert {fault.name for fault in plan.faults} == set(FAULTS)


def test_what_cannot_be_made_here_is_left_out_and_said():
    plan = make_plan(Setup(faults=100), frozenset({"template"}))
    assert all(FAULTS[fault.name].needs <= {"template"} for fault in plan.faults)
    assert "disk-full (needs disk)" in plan.left_out


def test_only_what_is_wanted():
    plan = make_plan(Setup(faults=9, only=("terminate",)), ALL)
    assert [fault.name for fault in plan.faults] == ["terminate"] * 9


def test_every_fault_has_its_maker():
    assert MAKERS.keys() == FAULTS.keys()


def test_every_kind_of_call_comes_in_its_share():
    calls = make_calls(1, 20_000, 3.0, tuple(KINDS))
    counts = Counter(call.kind for call in calls)
    for kind, (share, _) in KINDS.items():
        assert counts[kind] == pytest.approx(20_000 * share, rel=0.5), kind


def test_ids_are_new_for_every_task_of_every_seed():
    ids = [
        outcome.task_id
        for seed in (1, 2)
        for call in make_calls(seed, 2000, 3.0, tuple(KINDS))
        for outcome in call.outcomes()
    ]
    assert len(set(ids)) == len(ids)
