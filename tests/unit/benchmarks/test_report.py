"""The table of the benchmarks: who is compared with whom."""

from __future__ import annotations

import pytest
from benchmarks.catalogue import AT_LEAST_ONCE, BASELINE, BY_NAME, LIMIT, PEERS, SUBJECTS, Shape
from benchmarks.record import Failure, Machine, Record
from benchmarks.report import best_rival, markdown, table
from benchmarks.scenarios import SCENARIOS

DRAIN = {
    "umbel": [{"tasks/s": 9000.0}, {"tasks/s": 10000.0}, {"tasks/s": 20000.0}],
    "celery": [{"tasks/s": 500.0}],
    "huey": [{"tasks/s": 4000.0}],
    "dramatiq": [{"tasks/s": 2500.0, "worker CPU us": 217.0}],
    "limit": [{"tasks/s": 40000.0}],
    "huey-sqlite": [{"tasks/s": 3000.0}],
}


def cells(lines: list[str], peer: str) -> list[str]:
    [line] = [line for line in lines if line.startswith(f"| {peer} |")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_shows_median_spread_and_ratios() -> None:
    found = cells(table(SCENARIOS["drain-2"], DRAIN), "umbel")
    assert found == [
        "umbel",
        AT_LEAST_ONCE,
        "10,000 (9,000-20,000)",
        "20.00",
        "4.00 (dramatiq)",
        "0.25",
        "-",
    ]


def test_a_rival_gets_no_rival() -> None:
    found = cells(table(SCENARIOS["drain-2"], DRAIN), "dramatiq")
    assert found[3:] == ["5.00", "-", "0.06", "217"]


def test_rows_are_ordered_best_first() -> None:
    order = [line.split("|")[1].strip() for line in table(SCENARIOS["drain-2"], DRAIN)[2:]]
    assert order == ["limit", "umbel", "huey", "huey-sqlite", "dramatiq", "celery"]


def test_where_less_is_better_the_ratio_and_the_order_turn() -> None:
    measured = {"umbel": [{"p50 us": 500.0}], "celery": [{"p50 us": 2000.0}]}
    lines = table(SCENARIOS["latency"], measured)
    assert cells(lines, "umbel")[3] == "4.00"
    assert lines[2].startswith("| umbel |")


def test_the_best_rival_must_promise_as_much_where_delivery_counts() -> None:
    medians = {"umbel": 9.0, "huey": 5.0, "dramatiq": 3.0, "limit": 20.0, "huey-sqlite": 7.0}
    assert best_rival(SCENARIOS["drain-2"], medians, "umbel") == "dramatiq"
    assert best_rival(SCENARIOS["enqueue"], medians, "umbel") == "huey"


def test_the_best_rival_is_on_the_same_kind_of_store() -> None:
    medians = {"umbel-sqlite": 2.0, "umbel": 9.0, "huey": 5.0, "huey-sqlite": 1.0}
    assert best_rival(SCENARIOS["enqueue"], medians, "umbel-sqlite") == "huey-sqlite"
    assert best_rival(SCENARIOS["drain-2"], medians, "umbel-sqlite") is None


def test_without_celery_and_limit_the_ratios_are_left_out() -> None:
    found = cells(table(SCENARIOS["drain-2"], {"umbel": [{"tasks/s": 1.0}]}), "umbel")
    assert found == ["umbel", AT_LEAST_ONCE, "1.0", "-", "-", "-"]


def test_what_was_not_measured_is_said() -> None:
    record = Record(
        date="2026-01-02T03-04",
        machine=Machine(cores=2, python="3.11.7", system="Linux x86_64", redis="7.0.15"),
        repeat=3,
        seconds=2.0,
        figures={"drain-2": DRAIN},
        failures=[Failure("drain-1", "rq", "RuntimeError: the worker ended\nTraceback\nOSError")],
    )
    text = markdown(record)
    assert "2 cores, Linux x86_64, Python 3.11.7, Redis 7.0.15" in text
    assert "## drain, 2 processes, 1 slot each, results stored (`drain-2`)" in text
    assert "* drain-1, rq: RuntimeError: the worker ended ... OSError" in text


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_every_shape_of_a_peer_has_an_expected_rate(peer: object) -> None:
    known = BY_NAME[peer.name]  # type: ignore[attr-defined]
    for shape in known.commands:
        assert known.rate[shape] > 0


def test_names_that_the_report_knows_exist() -> None:
    assert {BASELINE, LIMIT, *SUBJECTS} <= set(BY_NAME)
    assert [shape.processes for shape in (Shape.ONE, Shape.TWO, Shape.MANY)] == [1, 2, 1]
