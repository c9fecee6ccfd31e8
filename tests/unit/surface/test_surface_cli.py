"""Celery's command line, tiers A to C: each command and option is read here, or refused by name.

A row is what a person would type; the commands are not run.
"""

from __future__ import annotations

import shlex

import click
import pytest

from umbel.cli.main import main, umbel

READ = """
worker -A proj -l INFO -f w.log -c 4 -P threads -Q a,b -X c -n w@%h -I more -E -B
worker --without-heartbeat --without-gossip --without-mingle --heartbeat-interval 5
worker --prefetch-multiplier 2 --disable-prefetch --time-limit 60 --soft-time-limit 50
worker --max-tasks-per-child 10 --max-memory-per-child 100000 --autoscale 10,3 --purge --discard
worker -O fair --statedb w.db --schedule-filename s --pidfile w.pid --uid 1 --gid 1 --umask 022
worker -D --executable python3 --task-events --pool-start-method fork --hostname x
beat -l INFO -f b.log --max-interval 5 -s file --pidfile b.pid --uid 1 --gid 1 --umask 022 --detach
status -t 1 -d w1 -j
inspect ping -t 1 -d w1 -j
control shutdown -t 1 -d w1 -j
call proj.add -a [1] -k {"y":2} --eta 2030-01-01 --countdown 5 --expires 60 --serializer json
call proj.add --queue q --exchange e --routing-key k
result some-id -t proj.add --traceback
purge -f -Q a,b -X c
events -d
events --dump
events -c my.Camera -F 2.0
shell -T --python
shell -I
shell -B
report
multi start 3 -c 3 -c:1 10 -Q:2,3 data
help worker
"""

REFUSED = {
    "amqp": "rabbitmqctl",
    "graph": "no bootsteps",
    "list": "umbel status",
    "logtool": "the tools you have",
    "upgrade": "read as they are",
    "flower": "a program of its own",
    "worker -A p --scheduler x": "umbel schedule add",
}
"""What is told instead."""


def rows() -> list[str]:
    return [line for line in READ.splitlines() if line]


@pytest.mark.parametrize("row", rows())
def test_a_row_is_read(row: str) -> None:
    name, *words = shlex.split(row.replace('"', '\\"'))
    command = umbel.get_command(click.Context(umbel), name)
    assert command is not None
    with command.make_context(name, words, parent=click.Context(umbel)) as context:
        assert context.command is command


@pytest.mark.parametrize("row", sorted(REFUSED))
def test_a_refused_row_says_what_to_do(row: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(row.split(), prog="umbel") == 2
    assert REFUSED[row] in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-A", "-b", "--result-backend", "--config", "--workdir"])
def test_global_options_stand_before_and_after(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for row in (f"{option} . report --help", f"report {option} . --help"):
        assert main(row.split(), prog="umbel") == 0
    assert capsys.readouterr().out.count("Print versions, platform") == 2


@pytest.mark.parametrize(
    "name",
    ["status", "inspect", "control", "result", "explain", "schedule list", "quarantine list"],
)
def test_what_prints_can_print_json(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([*name.split(), "--help"], prog="umbel")
    assert "--json" in capsys.readouterr().out
