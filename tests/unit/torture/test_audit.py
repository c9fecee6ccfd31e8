"""Would the audit notice? Each thing that must not happen is made up here, and must be found."""

from __future__ import annotations

import pytest
from torture.arena import Gone
from torture.audit import audit
from torture.faults import Fault
from torture.journal import Run
from torture.load import Call
from torture.planning import Plan, Setup
from torture.results import Found
from torture.running import Record, Sent


def call(number: int = 0, **changes: object) -> Call:
    fields = {"kind": "plain", "seconds": 0.01, "task_id": f"id-{number}"} | changes
    return Call(number=number, **fields)  # type: ignore[arg-type]


def ran(number: int = 0, step: int = 0, *, at: float = 10.0, **changes: object) -> Run:
    fields = {"worker": "w1", "pid": 11, "ended": at + 0.01} | changes
    return Run((number, step), began=at, **fields)  # type: ignore[arg-type]


def record(*runs: Run, calls: tuple[Call, ...] = (call(),), ack: str = "late") -> Record:
    """A run in which each call was confirmed at 9 and has the right outcome."""
    made = Record(Plan(Setup(tasks=len(calls), ack=ack, lease=3.0), list(calls), [], ()))
    for each in calls:
        made.sent[each.number] = Sent("ok", 8.9, 9.0)
        for outcome in each.outcomes():
            made.found[outcome.task_id] = Found(
                outcome.states[0], outcome.value if not each.fails else {"exc_type": "ValueError"}
            )
    for run in runs:
        made.runs.setdefault(run.key, []).append(run)
    return made


def fault(name: str, began: float, ended: float | None = None, **changes: object) -> Fault:
    fields = {"repeats": True, "workers": ("w1",)} | changes
    return Fault(index=0, name=name, began=began, ended=ended or began, **fields)  # type: ignore[arg-type]


def test_a_good_run_breaks_no_promise():
    calls = (
        call(0),
        call(1, retries=1),
        call(2, fails=True),
        call(3, links=("id-3-1",)),
        call(4, expires=1.0),
        call(5, kind="chord", header=("id-5-1", "id-5-2")),
    )
    seen = [ran(0), ran(1, 0), ran(1, 1), ran(2), ran(3, 0), ran(3, 1), ran(4)]
    seen += [ran(5, 0), ran(5, 1), ran(5, 2)]
    verdict = audit(record(*seen, calls=calls))
    assert verdict.broken == []
    assert verdict.outcomes == 9


def test_a_task_without_outcome_is_lost():
    made = record()
    made.found.clear()
    verdict = audit(made)
    assert verdict.lost == ["id-0 (plain call 0): never ran"]
    assert "1 confirmed tasks were lost" in verdict.broken[0]


def test_a_task_that_ran_and_has_no_outcome_is_lost_too():
    made = record(ran())
    made.found.clear()
    assert audit(made).lost == ["id-0 (plain call 0): it ran, and has no outcome"]


def test_a_task_that_lies_in_the_store_is_stuck():
    made = record()
    made.found.clear()
    made.traces["id-0"] = ["celery"]
    verdict = audit(made)
    assert verdict.lost == []
    assert verdict.stuck == ["id-0 (plain call 0): lies in celery"]
    assert verdict.broken


def test_what_may_not_have_arrived_and_did_not_run_is_not_lost():
    made = record()
    made.found.clear()
    made.sent[0].word = "maybe"
    assert audit(made).broken == []


def test_what_may_not_have_arrived_and_ran_must_have_its_outcome():
    made = record(ran())
    made.found.clear()
    made.sent[0].word = "maybe"
    assert audit(made).lost


def test_what_was_not_sent_must_not_run():
    made = record(ran())
    made.sent[0].word = "never"
    assert "not sent" in audit(made).broken[0]


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (Found("SUCCESS", 5), "the result is 5, not 0"),
        (Found("FAILURE", {"exc_type": "WorkerLostError"}), "where SUCCESS is right"),
        (Found("REVOKED", None), "where SUCCESS is right"),
    ],
)
def test_a_wrong_outcome_is_found(found, says):
    made = record(ran())
    made.found["id-0"] = found
    (wrong,) = audit(made).wrong
    assert says in wrong


def test_an_outcome_without_its_run_is_found():
    (wrong,) = audit(record(ran(1, 0), calls=(call(1, retries=1),))).wrong
    assert "run 1 never ended" in wrong


def test_a_linked_task_that_is_missing_is_lost():
    made = record(ran(), calls=(call(0, links=("id-0-1",)),))
    del made.found["id-0-1"]
    assert audit(made).lost == ["id-0-1 (plain call 0): never ran"]


def test_a_chord_whose_body_never_ran_is_lost():
    made = record(ran(7, 0), ran(7, 1), calls=(call(7, kind="chord", header=("id-7-1", "id-7-2")),))
    del made.found["id-7"]
    assert audit(made).lost == ["id-7 (chord call 7): never ran"]


def test_a_repeat_without_a_fault_is_unexplained():
    verdict = audit(record(ran(at=10.0), ran(at=12.0, worker="w2", pid=22)))
    assert len(verdict.unexplained) == 1
    assert "happened twice without a reason" in verdict.broken[0]


def test_a_repeat_after_the_death_of_its_owner_is_explained():
    made = record(ran(at=10.0, ended=None), ran(at=13.2, worker="w2", pid=22))
    made.faults.append(fault("kill-worker", 10.1, pids=(11,), kills="machine"))
    verdict = audit(made)
    assert verdict.repeats == {"kill-worker": 1}
    assert verdict.rescues["machine"].clear == [pytest.approx(3.1)]
    assert verdict.broken == []


def test_the_death_of_somebody_else_explains_nothing():
    made = record(ran(at=10.0, ended=None), ran(at=13.2, worker="w2", pid=22))
    made.faults.append(fault("kill-worker", 10.1, workers=("w3",), pids=(33,), kills="machine"))
    assert audit(made).unexplained


def test_a_run_that_was_settled_long_before_its_owner_died_must_not_repeat():
    made = record(ran(at=10.0), ran(at=14.0, worker="w2", pid=22))
    made.faults.append(fault("kill-worker", 13.0, pids=(11,), kills="machine"))
    assert audit(made).unexplained


def test_a_fault_that_allows_no_repeat_explains_none():
    made = record(ran(at=10.0), ran(at=10.4, worker="w2", pid=22))
    made.faults.append(fault("cut-worker", 10.0, repeats=False))
    assert audit(made).unexplained


def test_who_was_cut_off_has_more_to_settle_when_it_dies():
    made = record(ran(at=10.0), ran(at=14.0, worker="w2", pid=22))
    made.faults.append(fault("drop-replies", 9.9, 10.3, repeats=False))
    made.faults.append(fault("kill-worker", 12.0, pids=(11,), kills="machine"))
    assert audit(made).repeats == {"kill-worker": 1}


def test_a_zombie_may_begin_what_another_has_run():
    made = record(ran(at=10.0, worker="w2", pid=22), ran(at=14.0))
    made.faults.append(fault("freeze-long", 9.5, 13.9))
    assert audit(made).repeats == {"freeze-long": 1}


def test_at_most_once_forgives_a_loss_and_no_repeat():
    made = record(ack="early")
    made.found.clear()
    assert audit(made).broken == []
    made = record(ran(at=10.0, ended=None), ran(at=13.2, worker="w2", pid=22), ack="early")
    made.faults.append(fault("kill-worker", 10.1, pids=(11,), kills="machine"))
    assert audit(made).broken == ["1 runs happened twice, which must not be"]


def test_at_most_once_may_say_that_the_worker_was_lost():
    made = record(ran(ended=None), ack="early")
    made.found["id-0"] = Found("FAILURE", {"exc_type": "WorkerLostError"})
    verdict = audit(made)
    assert verdict.told_lost == 1
    assert verdict.broken == []


def test_a_slow_rescue_is_found():
    made = record(ran(at=10.0, ended=None), ran(at=12.0, pid=12))
    made.faults.append(fault("kill-executor", 10.1, workers=(), pids=(11,), kills="executor"))
    assert "rescue after a dead executor took 1.90 s" in audit(made).broken[0]


def test_a_task_that_begins_before_its_time_is_found():
    made = record(ran(at=10.0), calls=(call(0, countdown=5.0),))
    assert "3.900 s before its time" in audit(made).premature[0]


def test_a_worker_that_gives_up_is_found():
    made = record(ran())
    made.gone.append(Gone("w1", 1, expected=False, last_words="Oh"))
    assert "w1 (status 1): Oh" in audit(made).broken[0]


def test_a_message_left_behind_is_found():
    made = record(ran())
    made.leftovers["id-0"] = ["celery"]
    assert "id-0 in celery" in audit(made).broken[0]


def test_a_client_that_waits_in_vain_is_found():
    made = record(ran())
    made.waited.update({"right": 3, "ResultTimeout": 1})
    assert "clients that waited" in audit(made).broken[0]
