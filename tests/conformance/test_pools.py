"""Every pool passes the suite of its port."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.libraries import needs_library
from umbel.clock import SystemClock
from umbel.testing.conformance.pool_suite import PoolBench, PoolSuite
from umbel.testing.conformance.pool_tasks import app
from umbel.worker.execution import Execution
from umbel.worker.pools.process import ProcessPool
from umbel.worker.pools.solo import SoloPool
from umbel.worker.template_link import TemplateLink

MakeBench = Callable[..., PoolBench]


class ProcessPoolSuite(PoolSuite):
    """Executors forked from a template that pytest did not fork."""

    kind = ""
    slots = 1

    @pytest.fixture
    def make_bench(self, tmp_path: Path) -> Iterator[MakeBench]:
        made: list[tuple[ProcessPool, TemplateLink, subprocess.Popen[bytes]]] = []

        def make(max_tasks_per_child: int = 0) -> PoolBench:
            needs_library(self.kind)
            ours, theirs = socket.socketpair()
            words = [sys.executable, "-m", "tests.conformance.template_host"]
            words += [str(theirs.fileno()), self.kind, str(self.slots), str(max_tasks_per_child)]
            host = subprocess.Popen(
                words, pass_fds=[theirs.fileno()], cwd=Path(__file__).parents[2], env=os.environ
            )
            theirs.close()
            link = TemplateLink(ours, host.pid)
            link.plan()
            pool = ProcessPool(
                link,
                processes=1,
                slots=self.slots,
                in_order=self.kind == "prefork",
                lookahead=0.5,
                lookahead_cap=64,
                start_timeout=10.0,
                clock=SystemClock(),
            )
            pool.start()
            made.append((pool, link, host))
            return PoolBench(
                pool,
                tmp_path,
                slots=self.slots,
                in_order=self.kind == "prefork",
                pids=pool.pids,
            )

        yield make
        for pool, link, host in made:
            pool.stop()
            pool.close()
            link.quit(5.0)
            host.wait(10)


class TestPrefork(ProcessPoolSuite):
    kind = "prefork"


class TestThreads(ProcessPoolSuite):
    kind = "threads"
    slots = 3


class TestAsyncio(ProcessPoolSuite):
    kind = "asyncio"
    slots = 3


class TestGevent(ProcessPoolSuite):
    kind = "gevent"
    slots = 3


class TestEventlet(ProcessPoolSuite):
    kind = "eventlet"
    slots = 3


class TestSolo(PoolSuite):
    @pytest.fixture
    def make_bench(self, tmp_path: Path) -> MakeBench:
        def make() -> PoolBench:
            app.finalize()
            pool = SoloPool(Execution(app, node="suite@here", pid=os.getpid()))
            pool.start()
            return PoolBench(
                pool, tmp_path, slots=1, elsewhere=False, in_order=True, attend=pool.attend
            )

        return make

    def test_executors_that_retire_lose_nothing(self) -> None:
        pytest.skip("it has no executors")
