"""``python -m benchmarks run``: measure, print the table, keep them; ``delayed``: what rests."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import delayed, record, report
from benchmarks.catalogue import BY_NAME, PEERS
from benchmarks.running import run
from benchmarks.scenarios import QUICK, SCENARIOS, Scale


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when everything asked for was measured, 1 otherwise."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(given or ["run"])
    if options.command == "list":
        _list()
        return 0
    if options.command == "show":
        print(report.markdown(record.read(options.file)))
        return 0
    if options.command == "delayed":
        _delayed(options)
        return 0
    peers = [BY_NAME[name] for name in options.peers]
    scale = QUICK if options.quick else _scale(options.seconds)
    found = run(peers, options.scenarios, repeat=options.repeat, scale=scale)
    text = report.markdown(found)
    print(text)
    print(f"written to {record.write(found, text)}", file=sys.stderr)
    return 1 if found.failures else 0


def _delayed(options: argparse.Namespace) -> None:
    found = [
        delayed.measure(
            store, tasks=options.tasks, due=options.due, rate=options.rate, burst=options.burst
        )
        for store in options.stores
    ]
    print(delayed.markdown(found))


def _scale(seconds: float) -> Scale:
    return Scale(seconds=seconds, calls=max(100, int(500 * seconds)))


def _list() -> None:
    for peer in PEERS:
        print(f"{peer.name:14} {peer.delivery:14} {peer.store:7} {peer.why}")
    for key, scenario in SCENARIOS.items():
        print(f"{key:22} {scenario.name}")


def _names(known: Sequence[str]) -> type:
    """Return a parser of comma-separated names that refuses unknown ones."""

    class Names(list[str]):
        def __init__(self, text: str) -> None:
            names = [name for name in text.split(",") if name]
            for name in names:
                if name not in known:
                    raise argparse.ArgumentTypeError(
                        f"{name!r} is unknown; known are {', '.join(known)}"
                    )
            super().__init__(names)

    return Names


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="measure and print the table")
    runs.add_argument("--peers", type=_names(list(BY_NAME)), default=list(BY_NAME))
    runs.add_argument("--scenarios", type=_names(list(SCENARIOS)), default=list(SCENARIOS))
    runs.add_argument("--repeat", type=int, default=5)
    runs.add_argument("--seconds", type=float, default=2.0, help="of each measurement, about")
    runs.add_argument("--quick", action="store_true", help="0.4 s each: to see that it works")
    rests = commands.add_parser("delayed", help="measure a worker beside resting tasks")
    rests.add_argument("--stores", type=_names(["redis", "sqlite"]), default=["redis", "sqlite"])
    rests.add_argument("--tasks", type=int, default=1_000_000, help="that rest, due in a day")
    rests.add_argument("--due", type=int, default=20_000, help="that become due, one by one")
    rests.add_argument("--rate", type=float, default=500.0, help="of these, in a second")
    rests.add_argument("--burst", type=int, default=100_000, help="that become due at one moment")
    commands.add_parser("list", help="name peers and scenarios")
    shows = commands.add_parser("show", help="print the table of an earlier run")
    shows.add_argument("file", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
