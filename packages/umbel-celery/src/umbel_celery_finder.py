"""Answers for ``import celery``. Python runs this at its start, by ``umbel_celery.pth``.

So it must stay tiny: it imports nothing that Python has not imported already, and only puts a
finder before the others, which looks at the names of modules until somebody asks for ``celery``.
``UMBEL_CELERY=0`` leaves everything alone.
"""

import os
import sys

TYPE_CHECKING = False  # `typing` itself would cost milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType


class CeleryFinder:
    """Finds ``celery`` in the package ``umbel_celery``, and says what is absent on purpose."""

    @staticmethod
    def find_spec(
        name: str,
        path: "Sequence[str] | None" = None,  # noqa: ARG004 - the import system's signature
        target: "ModuleType | None" = None,  # noqa: ARG004 - as above
    ) -> "ModuleSpec | None":
        """Return the spec of ``celery``; None for whatever is not ours. For the import system.

        The modules below ``celery`` are found by the ordinary finder, since the package's path is
        the directory of ``umbel_celery``.
        """
        if name == "celery":
            from importlib.util import spec_from_file_location  # noqa: PLC0415 - only when asked

            home = os.path.join(os.path.dirname(os.path.abspath(__file__)), "umbel_celery")
            return spec_from_file_location(
                name,
                os.path.join(home, "__init__.py"),
                submodule_search_locations=[home],
            )
        if name.startswith("celery."):
            from umbel_celery.absent import refuse  # noqa: PLC0415 - only when asked

            refuse(name)
        return None


def install() -> None:
    """Put the finder first, once, unless the environment says no."""
    if os.environ.get("UMBEL_CELERY") != "0" and CeleryFinder not in sys.meta_path:
        sys.meta_path.insert(0, CeleryFinder)


install()
