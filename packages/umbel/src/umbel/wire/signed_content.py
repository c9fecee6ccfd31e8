"""Celery's serializer ``auth``: content with a signature, checked against X.509 certificates.

The body names its signer (issuer and serial number of a certificate) and carries an RSA-PSS
signature over the inner content, which another serializer wrote. Nothing is opened before the
signature has been checked. It signs; it hides nothing, and it covers the body only, never the
headers: who can copy a signed body can send it again, also under the name of another task.

``app.securing`` makes it and adds it to the serializers. Needs the package cryptography.
"""

from __future__ import annotations

import binascii
import glob
from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from umbel.errors import ContentDisallowed, DecodeError, ImproperlyConfigured
from umbel.ports import Serializer

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
except ImportError as missing:
    raise ImproperlyConfigured(
        "signing messages needs the package cryptography: pip install 'umbel[auth]'"
    ) from missing

SEPARATOR = b"\x00\x01"
PARTS = 5
CONTENT_TYPE = "application/data"


class SigningKey:
    """A private key with which content is signed. Immutable; any thread."""

    def __init__(self, pem: bytes, password: bytes | None, digest: str) -> None:
        """Raises ImproperlyConfigured for what is no private RSA key."""
        self._digest = _digest(digest)
        try:
            key = serialization.load_pem_private_key(pem, password)
        except (ValueError, TypeError) as error:
            raise ImproperlyConfigured(
                f"security_key is no private key that can be read: {error}. It is a PEM file of an "
                "RSA key; where it has a password, that is security_key_password."
            ) from error
        if not isinstance(key, rsa.RSAPrivateKey):
            raise ImproperlyConfigured(
                f"security_key is a {type(key).__name__}; Celery's auth signs with RSA keys."
            )
        self._key = key

    def sign(self, data: bytes) -> bytes:
        """Return the signature."""
        return self._key.sign(data, _padding(self._digest), self._digest)


class Certificate:
    """A certificate whose key signatures are checked with. Immutable; any thread."""

    def __init__(self, pem: bytes, source: str) -> None:
        """Raises ImproperlyConfigured for what is no certificate with an RSA key."""
        try:
            self._certificate = x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            raise ImproperlyConfigured(f"{source} is no PEM certificate: {error}") from error
        key = self._certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise ImproperlyConfigured(f"{source} has no RSA key, which Celery's auth signs with")
        self._key = key
        issuer = " ".join(str(one.value) for one in self._certificate.issuer)
        self.id = f"{issuer} {self._certificate.serial_number}"
        """How signed content names it."""

    def expired(self, now: datetime) -> bool:
        """Tell whether it is valid no more at this moment (aware)."""
        return now >= self._certificate.not_valid_after_utc

    def check(self, data: bytes, signature: bytes, digest: str) -> bool:
        """Tell whether the signature is that of its key over the data."""
        found = _digest(digest)
        try:
            self._key.verify(signature, data, _padding(found), found)
        except InvalidSignature:
            return False
        return True


class AuthSerializer(Serializer):
    """Signs what another serializer writes, and reads only what somebody trusted has signed."""

    name = "auth"
    content_type = CONTENT_TYPE
    content_encoding = "utf-8"

    def __init__(
        self,
        key: SigningKey,
        certificate: Certificate,
        trusted: Mapping[str, Certificate],
        *,
        digest: str,
        writes: Serializer,
        reads: Mapping[str, Serializer],
    ) -> None:
        """``writes``: what the content is written with; ``reads``: by content type, what may be."""
        self._key = key
        self._certificate = certificate
        self._trusted = trusted
        self._digest = digest
        self._writes = writes
        self._reads = reads

    def dumps(self, value: Any) -> bytes:
        body = self._writes.dumps(value)
        parts = (
            b64encode(self._certificate.id.encode()),
            b64encode(self._key.sign(body)),
            self._writes.content_type.encode(),
            self._writes.content_encoding.encode(),
            body,
        )
        return b64encode(SEPARATOR.join(parts))

    def loads(self, data: bytes) -> Any:
        signer, signature, content_type, body = _taken_apart(data)
        certificate = self._trusted.get(signer)
        if certificate is None:
            raise ContentDisallowed(
                f"the content is signed by {signer!r}, whose certificate is not in "
                "security_cert_store: put it there if you trust it"
            )
        if certificate.expired(datetime.now(UTC)):
            raise ContentDisallowed(f"the certificate of {signer!r} has expired: renew it")
        if not certificate.check(body, signature, self._digest):
            raise ContentDisallowed(
                f"the signature of {signer!r} does not fit the content: it was changed on the way, "
                "or security_digest is another one there"
            )
        reader = self._reads.get(content_type)
        if reader is None:
            raise ContentDisallowed(
                f"the signed content is of type {content_type!r}; read here is "
                f"{', '.join(sorted(self._reads))}"
            )
        return reader.loads(body)


def _taken_apart(data: bytes) -> tuple[str, bytes, str, bytes]:
    try:
        parts = b64decode(data, validate=True).split(SEPARATOR, PARTS - 1)
        signer, signature, content_type, _, body = parts
        return b64decode(signer).decode(), b64decode(signature), content_type.decode(), body
    except (binascii.Error, ValueError) as error:
        raise DecodeError(f"the content is not signed as Celery's auth does it: {error}") from error


def _digest(name: str) -> hashes.HashAlgorithm:
    found = getattr(hashes, name.upper(), None)
    if not (isinstance(found, type) and issubclass(found, hashes.HashAlgorithm)):
        raise ImproperlyConfigured(f"security_digest is {name!r}; take sha256, sha384 or sha512")
    return found()


def _padding(digest: hashes.HashAlgorithm) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.MAX_LENGTH)


def read_trusted(pattern: str) -> Mapping[str, Certificate]:
    """Return the certificates in these files by their ids. Raises ImproperlyConfigured."""
    found: dict[str, Certificate] = {}
    for name in sorted(glob.glob(pattern)):
        certificate = Certificate(read_pem(name, "security_cert_store"), name)
        found[certificate.id] = certificate
    if not found:
        raise ImproperlyConfigured(
            f"security_cert_store is {pattern!r}, and no file there is: nobody would be trusted"
        )
    return found


def read_pem(path: str, setting: str) -> bytes:
    """Return the content of a file. Raises ImproperlyConfigured, naming the setting."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ImproperlyConfigured(
            f"{setting} names {path}, which cannot be read: {error.strerror or error}"
        ) from error
