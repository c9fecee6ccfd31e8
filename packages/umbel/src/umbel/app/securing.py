"""``app.setup_security``: sign every message, and read only what somebody trusted has signed.

Celery's way, for fleets that have it: the serializer ``auth`` with X.509 certificates. It counts
for the whole process, as there: the serializers are one table. Called by the user's program, before
it sends and before its worker starts.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from umbel.errors import ImproperlyConfigured
from umbel.wire.serializers import SERIALIZERS

if TYPE_CHECKING:
    from umbel.app.app import App

AUTH = "auth"


def setup_security(
    app: App,
    allowed_serializers: Iterable[str] | None = None,
    key: str | None = None,
    key_password: bytes | str | None = None,
    cert: str | None = None,
    store: str | None = None,
    digest: str | None = None,
    serializer: str = "json",
) -> None:
    """Add the serializer ``auth`` to this process.

    What is not given is what the settings ``security_…`` say. ``serializer`` writes the content
    that is signed; ``allowed_serializers`` are those that may have written what is read, beside it.
    Raises ImproperlyConfigured when the settings do not say ``task_serializer="auth"`` and
    ``accept_content=["auth"]``, when a file is missing or wrong, or without cryptography.
    """
    settings = app.settings
    if settings.task_serializer != AUTH or list(settings.accept_content) != [AUTH]:
        raise ImproperlyConfigured(
            "setup_security() wants task_serializer='auth' and accept_content=['auth'] (they are "
            f"{settings.task_serializer!r} and {list(settings.accept_content)!r}): else messages "
            "would be sent unsigned, or be read unsigned."
        )
    given = {
        "security_key": key or settings.security_key,
        "security_certificate": cert or settings.security_certificate,
        "security_cert_store": store or settings.security_cert_store,
    }
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise ImproperlyConfigured(
            f"setup_security() needs {', '.join(missing)}: a private key, its certificate, and a "
            "pattern of the certificates that are trusted (its own among them)."
        )
    _register(
        {name: str(value) for name, value in given.items()},
        key_password if key_password is not None else settings.security_key_password,
        digest or settings.security_digest,
        serializer,
        [name for name in allowed_serializers or () if name != AUTH],
    )


def _register(
    files: dict[str, str],
    password: bytes | str | None,
    digest: str,
    serializer: str,
    allowed: list[str],
) -> None:
    # Needs cryptography, and 30 ms: for those who sign.
    from umbel.wire import signed_content as signed  # noqa: PLC0415

    writes = SERIALIZERS.get(serializer)
    readers = [writes, *map(SERIALIZERS.get, allowed)]
    pem = {name: signed.read_pem(path, name) for name, path in list(files.items())[:2]}
    secret = password.encode() if isinstance(password, str) else password
    SERIALIZERS.register(
        signed.AuthSerializer(
            signed.SigningKey(pem["security_key"], secret, digest),
            signed.Certificate(pem["security_certificate"], files["security_certificate"]),
            signed.read_trusted(files["security_cert_store"]),
            digest=digest,
            writes=writes,
            reads={one.content_type: one for one in readers},
        )
    )
