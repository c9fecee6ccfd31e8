"""Umbel in a Django project.

An app made while ``DJANGO_SETTINGS_MODULE`` is set is given to ``fixup`` by itself: Django is set
up before tasks are imported, and connections are looked after around tasks. In INSTALLED_APPS,
``umbel.integrations.django`` adds the command ``manage.py umbel``; ``tasks_backend`` serves
Django's own tasks framework.
"""
