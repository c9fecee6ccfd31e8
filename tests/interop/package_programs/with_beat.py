"""django-celery-beat: its README's example; then, with the word ``look``, what became of it."""

import os
import sys

import django
from django.core.management import call_command

os.environ["DJANGO_SETTINGS_MODULE"] = "site_with_beat.settings"
django.setup()

from celery.contrib.testing.worker import start_worker  # noqa: E402 - after setup, as in a site
from django_celery_beat.models import IntervalSchedule, PeriodicTask  # noqa: E402
from site_with_beat.celery import app  # noqa: E402

if "look" not in sys.argv:
    call_command("migrate", verbosity=0)
    schedule, created = IntervalSchedule.objects.get_or_create(
        every=1, period=IntervalSchedule.SECONDS
    )
    PeriodicTask.objects.create(
        interval=schedule,
        name="Importing contacts",
        task="site_with_beat.tasks.import_contacts",
    )
    app.import_modules()
    result = app.tasks["site_with_beat.tasks.import_contacts"].delay()
    with start_worker(app, perform_ping_check=False):
        assert result.get(timeout=20) == "imported"
    print("ok")
else:
    task = PeriodicTask.objects.get(name="Importing contacts")
    (stats,) = app.broker.stats(["celery"])
    print(task.total_run_count, task.last_run_at is not None, stats.ready)
