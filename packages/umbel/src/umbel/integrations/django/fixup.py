"""What an app does for Django: set it up in time, and look after its connections.

``app.fixups`` calls ``install`` for every app that is made in a Django project. Receivers act for
tasks of their own app only, so several apps in one process do not do things twice.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from umbel.app import signals

if TYPE_CHECKING:
    from umbel.app.app import App
    from umbel.app.task import Task


class DjangoFixup:
    """Of one app, which keeps it. Any thread may run tasks."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._inherited: list[Any] = []

    def install(self) -> None:
        """Begin to listen."""
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())  # manage.py does so, and nobody runs it here
        signals.import_modules.connect(self.on_import_modules, sender=self._app)
        signals.worker_process_init.connect(self.on_process_init)
        signals.task_prerun.connect(self.on_task_begins)
        signals.task_postrun.connect(self.on_task_ended)

    def on_import_modules(self, **_: Any) -> None:
        """Set Django up, before modules are imported that have models. Raises what it raises."""
        import django  # noqa: PLC0415 - settings are read then, and not when the app is made
        from django.apps import apps  # noqa: PLC0415 - as above

        if not apps.ready:
            django.setup()

    def on_process_init(self, **_: Any) -> None:
        """Let go of connections that came with the fork, without a word to the server.

        Closing them here would end them for the process that they belong to as well, so they are
        kept, and never used.
        """
        from django.db import connections  # noqa: PLC0415 - as above

        for connection in connections.all(initialized_only=True):
            if connection.connection is not None:
                self._inherited.append(connection.connection)
                connection.connection = None
            pools = getattr(connection, "_connection_pools", None)
            if pools:
                self._inherited.extend(pools.values())
                pools.clear()

    def on_task_begins(self, task: Task[..., Any], **_: Any) -> None:
        """As Django does when a request begins."""
        if self._concerns(task):
            from django.db import close_old_connections, reset_queries  # noqa: PLC0415 - as above

            reset_queries()
            close_old_connections()

    def on_task_ended(self, task: Task[..., Any], **_: Any) -> None:
        """As Django does when a request has ended."""
        if self._concerns(task):
            from django.core.cache import close_caches  # noqa: PLC0415 - as above
            from django.db import close_old_connections  # noqa: PLC0415 - as above

            close_old_connections()
            close_caches()

    def _concerns(self, task: Task[..., Any]) -> bool:
        return task.app is self._app and not task.request.is_eager


def install(app: App) -> DjangoFixup:
    """Look after Django for this app; return what does, for the app to keep."""
    fixup = DjangoFixup(app)
    fixup.install()
    return fixup
