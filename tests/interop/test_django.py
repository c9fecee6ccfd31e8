"""The example site: tasks after a commit, connections, ``manage.py umbel``, Django's own tasks."""

from __future__ import annotations

import shutil

import pytest

from tests.interop.package_desk import ROOT, PackageDesk, needs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

LOOK = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "mysite.settings"
import django
django.setup()
from django.db import connection, transaction
from umbel.testing import running_worker
from mysite import app
from shop.models import Order
from shop.tasks import confirm, fail, total

app.import_modules()
try:
    with transaction.atomic():
        order = Order.objects.create(quantity=100)
        confirm.delay_on_commit(order.pk)
        raise RuntimeError
except RuntimeError:
    pass
(stats,) = app.broker.stats(["celery"])
before = stats.ready
summed, failed = total.enqueue(), fail.using(priority=50).enqueue("because")
assert summed.status == "READY", summed
with running_worker(app):
    app.AsyncResult(summed.id).get(timeout=20)
    app.AsyncResult(failed.id).get(timeout=20, propagate=False)
summed.refresh()
failed.refresh()
assert (summed.status, summed.return_value) == ("SUCCESSFUL", 3), summed
assert summed.started_at <= summed.finished_at and summed.worker_ids
assert failed.status == "FAILED"
assert failed.errors[0].exception_class is ValueError
assert "because, try 1" in failed.errors[0].traceback
try:
    total.get_result("no such id")
except Exception as error:
    assert "Nothing is known of a task no such id" in str(error)
else:
    raise AssertionError("a result that is not there was found")
try:
    confirm.delay_on_commit(1, 2, 3)
except TypeError as error:
    assert "was not sent: too many positional arguments" in str(error)
print(before, list(Order.objects.values_list("quantity", "confirmed")))
"""


def test_the_example_site(celery_python, tmp_path):
    packages = ("django", "django-tasks")
    python = needs(celery_python, *packages)
    shutil.copytree(ROOT / "examples" / "django_site", tmp_path, dirs_exist_ok=True)
    desk = PackageDesk(python, tmp_path, *packages)
    desk.run("manage.py", "migrate", "-v0")
    assert "order 1; the total is asked for as" in desk.run("manage.py", "order", "3")
    worker = desk.start("manage.py", "umbel", "worker", "-l", "info", "-P", "solo")
    assert worker.stdout is not None
    printed: list[str] = []
    for line in worker.stdout:
        printed.append(line)
        if sum("succeeded in" in each for each in printed) == 2:
            break
    worker.terminate()
    rest, _ = worker.communicate(timeout=30)
    assert worker.returncode == 0, "".join(printed) + rest
    assert "shop.tasks.confirm" in "".join(printed)
    told = desk.run("-c", LOOK).splitlines()[-1]
    assert told == "0 [(3, True)]"
