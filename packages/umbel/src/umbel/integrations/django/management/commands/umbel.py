"""``manage.py umbel``: Umbel's command line, with the project's app.

``manage.py umbel worker -l info`` is ``umbel -A PROJECT worker -l info`` in the project's settings.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from umbel.app.app import App
from umbel.app.current import current_or_none
from umbel.cli.main import main


class Command(BaseCommand):
    """Runs one command line of Umbel's."""

    help = "Run a command of Umbel's (worker, beat, status, ...) with this project's app."
    requires_system_checks = ()

    def run_from_argv(self, argv: list[str]) -> None:
        """Take every word after ``umbel`` as it is: Umbel's options are not Django's."""
        sys.exit(main(argv[2:], app=_app_of_project(), prog=f"{argv[0]} {argv[1]}"))

    def add_arguments(self, parser: CommandParser) -> None:
        """For ``call_command("umbel", "status")``."""
        parser.add_argument("words", nargs="*")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the words; CommandError where the exit code is not 0."""
        words = [*args, *options.get("words", ())]
        code = main(words, app=_app_of_project(), prog="manage.py umbel")
        if code:
            raise CommandError(f"umbel {' '.join(words)} ended with {code}", returncode=code)


def _app_of_project() -> App:
    """Return the current app; the project's package, or its module celery or umbel, makes it."""
    project = os.environ.get("DJANGO_SETTINGS_MODULE", "").partition(".")[0]
    for module in (project, f"{project}.umbel", f"{project}.celery"):
        if (app := current_or_none()) is not None:
            return app
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    if (app := current_or_none()) is not None:
        return app
    raise CommandError(
        f"This project has no app: make one in {project}/umbel.py (app = Umbel({project!r})), and"
        f" import it in {project}/__init__.py."
    )
