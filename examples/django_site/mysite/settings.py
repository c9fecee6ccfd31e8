from pathlib import Path

HERE = Path(__file__).resolve().parent.parent

SECRET_KEY = "an example's"  # noqa: S105
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": HERE / "site.sqlite3"}}
INSTALLED_APPS = ["umbel.integrations.django", "django_tasks", "shop"]

UMBEL_BROKER_URL = UMBEL_RESULT_BACKEND = f"sqlite:///{HERE}/umbel.sqlite3"
TASKS = {
    "default": {
        "BACKEND": "umbel.integrations.django.tasks_backend.UmbelBackend",
        "QUEUES": ["celery"],
    }
}
