import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_with_beat.settings")
app = Celery("site_with_beat")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
