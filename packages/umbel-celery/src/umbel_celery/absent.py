"""Modules of Celery's that are absent on purpose, and what takes their place."""

from __future__ import annotations

_ENGINE = "it is a part of Celery's own engine, which Umbel does not have"
_GONE = "Celery itself removed it"
_NOT_YET = "it is not there yet"

ABSENT: dict[str, str] = {
    "celery.bootsteps": f"{_ENGINE}; watch the worker by the signals of celery.signals",
    "celery.loaders": f"{_ENGINE}; load settings by app.config_from_object",
    "celery.concurrency": f"{_ENGINE}; choose a pool by the worker's option -P",
    "celery.fixups": f"{_ENGINE}",
    "celery.platforms": f"{_ENGINE}; the standard library's os and signal do its work",
    "celery.apps": f"{_ENGINE}; start a worker by app.worker_main(argv)",
    "celery.worker": f"{_ENGINE}; start a worker by app.worker_main(argv)",
    "celery.app.amqp": f"{_ENGINE}; queues are the setting task_queues, routes task_routes",
    "celery.app.annotations": f"{_ENGINE}; use the setting task_annotations",
    "celery.app.routes": f"{_ENGINE}; use the setting task_routes",
    "celery.app.trace": f"{_ENGINE}; wrap runs by a middleware: umbel.ports.Middleware.around_run",
    "celery.backends": f"{_ENGINE}; write a driver: umbel.ports.ResultBackend",
    "celery.beat": _NOT_YET,
    "celery.events": _NOT_YET,
    "celery.app.control": _NOT_YET,
    "celery.app.events": _NOT_YET,
    "celery.security": _NOT_YET,
    "celery.task": f"{_GONE}: use @app.task or celery.shared_task, and celery.schedules.crontab",
    "celery.decorators": f"{_GONE}: use @app.task or celery.shared_task",
    "celery.five": f"{_GONE}: use the standard library",
    "celery.datastructures": f"{_GONE}: use the standard library",
    "celery.utils.timeutils": f"{_GONE}: use datetime",
    "celery.utils.encoding": f"{_GONE}: use kombu.utils.encoding or str.encode",
    "celery.utils.mail": f"{_GONE}: use email and smtplib",
}


def refuse(name: str) -> None:
    """Raise ModuleNotFoundError when ``name`` is absent on purpose, or lies in what is."""
    step = name
    while step != "celery":
        if step in ABSENT:
            raise ModuleNotFoundError(
                f"umbel-celery has no {name}: {ABSENT[step]}. "
                "(UMBEL_CELERY=0 gives this process the real Celery, if it is installed.)",
                name=name,
            )
        step = step.rpartition(".")[0]
