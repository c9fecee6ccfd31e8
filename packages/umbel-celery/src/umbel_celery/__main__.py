"""``celery`` and ``python -m celery``: Umbel's command line, with Celery's defaults."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from umbel.cli.main import main as umbel_main


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return the exit code."""
    return umbel_main(argv, profile="celery", prog="celery")


if __name__ == "__main__":
    sys.exit(main())
