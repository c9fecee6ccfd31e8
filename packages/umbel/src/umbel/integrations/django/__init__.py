"""Umbel in a Django project.

An app made while ``DJANGO_SETTINGS_MODULE`` is set is given to ``fixup`` by itself: Django is set
up before tasks are imported, connections are looked after around tasks, and tasks have
``delay_on_commit``. In INSTALLED_APPS, ``umbel.integrations.django`` adds the command
``manage.py umbel``; ``tasks_backend`` serves Django's own tasks framework.
"""
