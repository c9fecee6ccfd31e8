"""``python -m torture run``: break things, count, and say which promises were broken."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torture import report
from torture import soak as soaking
from torture.audit import audit
from torture.load import KINDS
from torture.planning import FAULTS, Setup
from torture.running import run
from torture.stores import STORES


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 when every promise was kept, 1 when one was broken, 2 when it could not be run."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.do(options))
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    setup = Setup(
        peer=options.peer,
        store=options.store,
        ack=options.ack,
        pool=options.pool,
        workers=options.workers,
        concurrency=options.concurrency,
        tasks=options.tasks,
        faults=options.faults,
        seed=options.seed,
        lease=options.lease,
        rate=options.rate,
        patience=options.patience,
        kinds=tuple(options.kinds),
        only=tuple(options.only),
        log_level=options.log_level,
        timed=not options.untimed,
    )
    home = Path(options.keep or tempfile.mkdtemp(prefix="torture-"))
    home.mkdir(parents=True, exist_ok=True)
    record = run(setup, home.absolute(), _tell)
    return _close(report.summary(record, audit(record)), report.table, options, home)


def _soak(options: argparse.Namespace) -> int:
    setup = Setup(
        store=options.store,
        pool=options.pool,
        workers=options.workers,
        concurrency=options.concurrency,
        tasks=options.tasks - options.tasks % soaking.BATCH,
        lease=soaking.LEASE,
        log_level="critical",
    )
    home = Path(options.keep or tempfile.mkdtemp(prefix="torture-"))
    home.mkdir(parents=True, exist_ok=True)
    fail_every = round(1 / options.fail) if options.fail else 0
    seen = soaking.soak(
        setup, home.absolute(), reconnects=options.reconnects, fail_every=fail_every, tell=_tell
    )
    return _close(soaking.summary(seen), soaking.table, options, home)


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _close(
    kept: dict[str, Any],
    table: Callable[[dict[str, Any]], str],
    options: argparse.Namespace,
    home: Path,
) -> int:
    print(table(kept))
    report.write(kept, home / "report.json")
    if options.json:
        report.write(kept, options.json)
    if kept["broken"]:
        print(f"logs and journal are in {home}", file=sys.stderr)
    elif not options.keep:
        shutil.rmtree(home, ignore_errors=True)
    return 1 if kept["broken"] else 0


def _list(_options: argparse.Namespace) -> int:
    for name, kind in FAULTS.items():
        print(f"{name:18} {kind.about}")
    return 0


def _show(options: argparse.Namespace) -> int:
    for file in options.files:
        kept = json.loads(file.read_text(encoding="utf-8"))
        print((report.table if "setup" in kept else soaking.table)(kept), end="\n\n")
    return 0


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
    usual = Setup()
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="torture once, and say what was lost, repeated, stuck")
    runs.set_defaults(do=_run)
    runs.add_argument("--store", choices=sorted(STORES), default=usual.store)
    runs.add_argument("--peer", choices=("umbel", "celery"), default=usual.peer)
    runs.add_argument(
        "--ack",
        choices=("late", "late-reject", "early"),
        default=usual.ack,
        help="when messages are acknowledged; late-reject is Celery with reject on worker lost",
    )
    runs.add_argument("--tasks", type=int, default=usual.tasks)
    runs.add_argument("--faults", type=int, default=usual.faults)
    runs.add_argument("--seed", type=int, default=usual.seed)
    runs.add_argument("--lease", type=float, default=usual.lease, help="seconds")
    runs.add_argument("--rate", type=float, default=usual.rate, help="calls a second")
    runs.add_argument("--workers", type=int, default=usual.workers)
    runs.add_argument("--concurrency", type=int, default=usual.concurrency, help="of each worker")
    runs.add_argument("--pool", default=usual.pool)
    runs.add_argument("--patience", type=float, default=usual.patience, help="seconds of no news")
    runs.add_argument("--kinds", type=_names(list(KINDS)), default=list(KINDS), help="of calls")
    runs.add_argument("--only", type=_names(list(FAULTS)), default=[], help="these faults")
    runs.add_argument("--untimed", action="store_true", help="slow rescues break no promise")
    runs.add_argument("--log-level", default=usual.log_level, help="of the workers")
    _add_places(runs)
    soaks = commands.add_parser(
        "soak", help="send millions of tasks, and see whether anything grows"
    )
    soaks.set_defaults(do=_soak)
    soaks.add_argument("--store", choices=sorted(STORES), default="redis")
    soaks.add_argument("--tasks", type=int, default=2_000_000)
    soaks.add_argument("--reconnects", type=int, default=200, help="how often connections are cut")
    soaks.add_argument("--fail", type=float, default=0.05, help="share of the tasks that fail")
    soaks.add_argument("--workers", type=int, default=1)
    soaks.add_argument("--concurrency", type=int, default=2, help="of each worker")
    soaks.add_argument("--pool", default=usual.pool)
    _add_places(soaks)
    listing = commands.add_parser("faults", help="name the faults there are")
    listing.set_defaults(do=_list)
    shows = commands.add_parser("show", help="print the tables of earlier runs")
    shows.set_defaults(do=_show)
    shows.add_argument("files", type=Path, nargs="+")
    return parser


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--keep", help="directory for logs and journal; kept")


if __name__ == "__main__":
    sys.exit(main())
