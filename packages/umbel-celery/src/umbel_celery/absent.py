"""Modules of Celery's that are absent on purpose, and what takes their place."""

from __future__ import annotations

_ENGINE = "it is a part of Celery's own engine, which Umbel does not have"
_GONE = "Celery itself removed it"
_URL = "a store of results is named by its URL in result_backend, and has no class of Celery's"

ABSENT: dict[str, str] = {
    # --- the engine: its parts have no counterpart that could be subclassed or wired in
    "celery.bootsteps": f"{_ENGINE}; watch the worker by the signals of celery.signals",
    "celery.loaders": f"{_ENGINE}; load settings by app.config_from_object",
    "celery.concurrency": f"{_ENGINE}; choose a pool by the worker's option -P",
    "celery.platforms": f"{_ENGINE}; the standard library's os and signal do its work",
    "celery.apps": f"{_ENGINE}; start a worker by app.worker_main(argv)",
    "celery.worker.consumer": f"{_ENGINE}; start a worker by app.worker_main(argv)",
    "celery.worker.autoscale": f"{_ENGINE}; see the worker's option --autoscale",
    "celery.worker.components": f"{_ENGINE}; start a worker by app.worker_main(argv)",
    "celery.worker.strategy": f"{_ENGINE}; wrap runs by umbel.ports.Middleware.around_run",
    "celery.worker.heartbeat": f"{_ENGINE}; watch workers by app.events",
    "celery.worker.pidbox": f"{_ENGINE}; ask workers by app.control",
    "celery.worker.loops": f"{_ENGINE}; start a worker by app.worker_main(argv)",
    "celery.worker.worker": f"{_ENGINE}; start a worker by app.worker_main(argv)",
    "celery.worker.state": f"{_ENGINE}; ask the workers by app.control.inspect()",
    "celery.app.amqp": f"{_ENGINE}; queues are the setting task_queues, routes task_routes",
    "celery.app.annotations": f"{_ENGINE}; use the setting task_annotations",
    "celery.app.autoretry": f"{_ENGINE}; use the task's option autoretry_for",
    "celery.app.backends": f"{_ENGINE}; ask app.backend",
    "celery.app.builtins": f"{_ENGINE}; its tasks are in app.tasks",
    "celery.app.defaults": f"{_ENGINE}; ask app.conf",
    "celery.app.routes": f"{_ENGINE}; use the setting task_routes",
    "celery.events.cursesmon": "run umbel events",
    "celery.events.dumper": "run umbel events --dump",
    "celery.messaging": f"{_ENGINE}; tasks are sent by delay, apply_async and app.send_task",
    "celery.utils.abstract": f"{_ENGINE}; use collections.abc",
    "celery.utils.annotations": f"{_ENGINE}; use typing.get_type_hints",
    "celery.utils.debug": "use tracemalloc, or psutil",
    "celery.utils.deprecated": "use warnings.deprecated, or warnings.warn",
    "celery.utils.quorum_queues": f"{_ENGINE}; set task_default_queue_type",
    "celery.utils.static": f"{_ENGINE}",
    "celery.utils.term": "use click.style",
    "celery.utils.timer2": f"{_ENGINE}; use threading.Timer, or a schedule",
    # --- stores of results, each a driver here
    "celery.backends.redis": _URL,
    "celery.backends.database": _URL,
    "celery.backends.rpc": _URL,
    "celery.backends.asynchronous": _URL,
    "celery.backends.cache": _URL,
    "celery.backends.mongodb": _URL,
    "celery.backends.filesystem": _URL,
    "celery.backends.s3": _URL,
    "celery.backends.gcs": _URL,
    "celery.backends.dynamodb": _URL,
    "celery.backends.elasticsearch": _URL,
    "celery.backends.cassandra": _URL,
    "celery.backends.couchbase": _URL,
    "celery.backends.couchdb": _URL,
    "celery.backends.arangodb": _URL,
    "celery.backends.consul": _URL,
    "celery.backends.cosmosdbsql": _URL,
    "celery.backends.azureblockblob": _URL,
    # --- tools with another way
    "celery.contrib.rdb": "use breakpoint() with umbel dev, or a worker with -P solo",
    "celery.contrib.migrate": "use umbel quarantine, umbel delayed, and the tools of the broker",
    "celery.contrib.sphinx": "autodoc documents a task's function: its __wrapped__",
    # --- what Celery itself has no more
    "celery.task": f"{_GONE}: use @app.task or celery.shared_task, and celery.schedules.crontab",
    "celery.decorators": f"{_GONE}: use @app.task or celery.shared_task",
    "celery.five": f"{_GONE}: use the standard library",
    "celery.datastructures": f"{_GONE}: use the standard library",
    "celery.utils.timeutils": f"{_GONE}: use celery.utils.time",
    "celery.utils.encoding": f"{_GONE}: use kombu.utils.encoding or str.encode",
    "celery.utils.mail": f"{_GONE}: use email and smtplib",
    "celery.contrib.batches": f"{_GONE}: use the package celery-batches, or a task over a list",
    "celery.contrib.methods": f"{_GONE}: use class-based tasks",
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
