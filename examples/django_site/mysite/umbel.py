import os

from umbel import Umbel

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")

app = Umbel("mysite")
app.config_from_object("django.conf:settings", namespace="UMBEL")
app.autodiscover_tasks()
