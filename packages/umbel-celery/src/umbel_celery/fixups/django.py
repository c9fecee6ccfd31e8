"""``celery.fixups.django``: what an app does for Django, by itself."""

from __future__ import annotations

from umbel.integrations.django.fixup import DjangoFixup
from umbel.integrations.django.fixup import install as fixup

__all__ = ["DjangoFixup", "fixup"]
