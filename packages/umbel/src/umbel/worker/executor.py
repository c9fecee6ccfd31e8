"""The body of an executor process: from the fork to the last report.

Called by ``template`` in the child. It opens no connection by itself: what it has to say goes to
the supervisor over its socket; what user code sends or stores goes over connections that the app
opens when they are first needed.
"""

from __future__ import annotations

import os
import random
import socket

from umbel.app import joining, logs
from umbel.model.assignment import Ready
from umbel.worker.announcing import tell_process_init, tell_process_shutdown
from umbel.worker.channel import Channel, SupervisorGone
from umbel.worker.execution import Execution
from umbel.worker.lineage import die_with_parent
from umbel.worker.loading import Loaded
from umbel.worker.plan import WorkerPlan
from umbel.worker.retirement import Retirement
from umbel.worker.slots.aio import CoroutineSlots
from umbel.worker.slots.green import GreenSlots
from umbel.worker.slots.single import SingleSlot
from umbel.worker.slots.threaded import ThreadSlots
from umbel.worker.spool import Spool


def run_executor(loaded: Loaded, descriptor: int, index: int) -> int:
    """Serve assignments until told to stop; return the exit code."""
    die_with_parent()
    os.setpgid(0, 0)  # what its tasks start can be killed with it, and Control-C is not for them
    random.seed()
    plan, app = loaded.plan, loaded.app
    logs.rename_process(loaded.log_plan, f"{_KINDS.get(plan.pool, 'Executor')}-{index}", index)
    if loaded.green is not None:
        loaded.green.after_fork()
    if plan.pool != "prefork":
        # Other slots go on while one waits for a result; a lone slot would wait for itself.
        joining.let_tasks_join()
    channel = _open_channel(descriptor)
    execution = Execution(app, node=plan.node, pid=os.getpid())
    tell_process_init(loaded.face)
    channel.send(Ready(os.getpid()))
    try:
        _slots(loaded, plan, channel, execution).serve()
    except SupervisorGone:
        pass  # nobody settles any more; the claims are rescued when their lease ends
    tell_process_shutdown(0)
    return 0


def _open_channel(descriptor: int) -> Channel:
    sock = socket.socket(fileno=descriptor)
    # The first byte on the line carries the memory of our spool (``pools.seats``).
    _, shared, _, _ = socket.recv_fds(sock, 1, 1)
    if not shared:
        raise SystemExit(0)  # the supervisor is gone already
    spool = Spool(shared[0])
    os.close(shared[0])
    return Channel(sock, spool)


_KINDS = {
    "prefork": "ForkPoolWorker",
    "threads": "ThreadPoolWorker",
    "asyncio": "AsyncPoolWorker",
    "gevent": "GreenPoolWorker",
    "eventlet": "GreenPoolWorker",
}


def _slots(
    loaded: Loaded, plan: WorkerPlan, channel: Channel, execution: Execution
) -> SingleSlot | ThreadSlots | CoroutineSlots | GreenSlots:
    retirement = Retirement(plan.max_tasks_per_child, plan.max_memory_per_child)
    slots = plan.slots
    match plan.pool:
        case "prefork":
            return SingleSlot(channel, execution, retirement)
        case "threads":
            return ThreadSlots(channel, execution, retirement, slots)
        case "asyncio":
            return CoroutineSlots(channel, execution, retirement, slots)
        case _:
            assert loaded.green is not None
            return GreenSlots(channel, execution, retirement, slots, loaded.green)
