import os

SECRET_KEY = "a test's"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{os.getcwd()}/site.sqlite3"}
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "site_with_beat",
    "django_celery_beat",
]
CELERY_BROKER_URL = CELERY_RESULT_BACKEND = f"sqlite:///{os.getcwd()}/broker.sqlite3"
CELERY_BEAT_SCHEDULER = "django"
