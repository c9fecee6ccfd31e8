"""What a worker says at its start of settings that do nothing."""

from __future__ import annotations

from umbel import Umbel
from umbel.app import logs
from umbel.worker.loading import make_plan
from umbel.worker.worker_options import WorkerOptions


def plan_of(**settings):
    app = Umbel("desk", broker="memory://", set_as_current=False, **settings)
    app.task(lambda: None, name="limited", rate_limit="10/m")
    log = logs.log_plan(app.settings, node="celery@here", loglevel=None, logfile=None)
    return make_plan(app, WorkerOptions(), pool="solo", node="celery@here", log=log)


def test_one_line_names_all_that_was_set_in_vain():
    plan = plan_of(worker_send_task_events=True, broker_pool_limit=3, task_protocol=1)
    assert plan.warnings == (
        "Set, and without effect in this version of Umbel: broker_pool_limit, "
        "task_protocol, rate_limit of limited",
    )
    assert "task events: ON" in plan.banner


def test_the_time_of_a_soft_shutdown_reaches_the_supervisor():
    assert plan_of(worker_soft_shutdown_timeout=7).soft_shutdown_timeout == 7.0
