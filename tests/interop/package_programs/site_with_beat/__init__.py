"""A Django project as Celery's documentation has it, with django-celery-beat."""

from .celery import app as celery_app

__all__ = ("celery_app",)
