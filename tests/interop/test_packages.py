"""Packages that are built on Celery, their own examples unmodified, Umbel answering for Celery.

Each in an environment of its own, with the real Celery installed beside.
"""

from __future__ import annotations

import signal

import pytest

from tests.interop.package_desk import PROGRAMS, PackageDesk, needs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture
def desk(celery_python, tmp_path):
    """Make the environment of these packages, in the test's own directory."""

    def make(*packages: str) -> PackageDesk:
        return PackageDesk(needs(celery_python, *packages), tmp_path, *packages)

    return make


def test_celery_singleton(desk, server):
    printed = desk("celery-singleton").program("with_singleton.py", server.url())
    assert printed.endswith("ok\n")


def test_the_celery_integration_of_sentry(desk):
    assert desk("sentry-sdk").program("with_sentry.py").endswith("ok\n")


def test_the_celery_instrumentation_of_opentelemetry(desk):
    assert desk("opentelemetry").program("with_opentelemetry.py").endswith("ok\n")


def test_django_celery_beat(desk):
    made = desk("django", "django-celery-beat")
    (made.home / "site_with_beat").symlink_to(PROGRAMS / "site_with_beat")
    assert made.program("with_beat.py").endswith("ok\n")
    beat = made.start("-m", "celery", "-A", "site_with_beat", "beat", "-l", "info", "-C")
    assert beat.stdout is not None
    printed: list[str] = []
    for line in beat.stdout:
        printed.append(line)
        if sum("Sending due task Importing contacts" in each for each in printed) == 2:
            break
    beat.send_signal(signal.SIGTERM)
    rest, _ = beat.communicate(timeout=30)
    assert beat.returncode == 0, "".join(printed) + rest
    count, has_run, ready = made.program("with_beat.py", "look").split()[-3:]
    assert int(count) >= 2
    assert (has_run, int(ready) >= 2) == ("True", True)
