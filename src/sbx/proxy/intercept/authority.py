# SPDX-License-Identifier: Apache-2.0
"""The certificate authority of an installation, which sandboxes trust and nobody else.

One file of mode 0600 holds key and certificate. It can only sign certificates of TLS servers with
names, not with addresses, and no further authority. It is made anew well before it ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING

from sbx.errors import HostError
from sbx.store.paths import Paths, make_private
from sbx.system.files import read_bounded, write_atomic
from sbx.system.locks import hold_lock

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, KeyUsage

AUTHORITY = "authority.pem"
_LOCK = "authority.lock"
_LIMIT_BYTES = 64 * 1024
_LIFE = timedelta(days=365)
_RENEWED = timedelta(days=60)  # before its end: longer than any sandbox is expected to run
_UNTIL = b"# valid until "  # the first line of the file
_BEGIN = b"-----BEGIN CERTIFICATE-----"
_SKEW = timedelta(days=1)  # a guest's clock may be behind


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """Key and certificate."""

    key: EllipticCurvePrivateKey
    certificate: Certificate

    def pem(self) -> bytes:
        """The certificate alone, for those who shall trust it."""
        from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - heavy

        return self.certificate.public_bytes(Encoding.PEM)


def open_authority(where: Paths, *, now: datetime | None = None) -> Authority:
    """The authority of an installation; made if there is none, or none that lasts.

    Raises:
        HostError: it cannot be stored.
    """
    now = now or datetime.now(UTC)
    make_private(where)
    path = where.config / AUTHORITY
    with hold_lock(where.config / _LOCK):
        found = _read(path)
        if found is not None and found.certificate.not_valid_after_utc - now > _RENEWED:
            return found
        made = make_authority(now)
        _write(path, made)
        return made


def trusted_pem(where: Paths) -> bytes:
    """The certificate that sandboxes shall trust; heavy imports only if it has to be made.

    Raises:
        HostError: it cannot be stored.
    """
    path = where.config / AUTHORITY
    try:
        if not path.stat().st_mode & 0o077:
            first, _, rest = read_bounded(path, limit_bytes=_LIMIT_BYTES).partition(b"\n")
            until = datetime.fromisoformat(first.removeprefix(_UNTIL).decode())
            begin = rest.find(_BEGIN)
            if first.startswith(_UNTIL) and begin >= 0 and until - datetime.now(UTC) > _RENEWED:
                return rest[begin:]
    except (OSError, HostError, ValueError, TypeError):
        pass
    return open_authority(where).pem()


def make_authority(now: datetime) -> Authority:
    """A new authority."""
    from cryptography import x509  # noqa: PLC0415 - heavy, and needed by few
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - heavy

    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    name = x509.Name(
        [
            x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, "opensbx"),
            x509.NameAttribute(x509.NameOID.COMMON_NAME, f"opensbx sandboxes {serial:x}"[:40]),
        ]
    )
    no_addresses = [x509.IPAddress(ip_network(net)) for net in ("0.0.0.0/0", "::/0")]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + _LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), critical=False)
        .add_extension(x509.NameConstraints(None, no_addresses), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(key=key, certificate=certificate)


def make_leaf(
    authority: Authority, key: EllipticCurvePrivateKey, name: str, *, now: datetime, life: timedelta
) -> Certificate:
    """A certificate of a TLS server for one name."""
    from cryptography import x509  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - heavy

    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))  # a name may be longer than a common name; clients read SAN
        .issuer_name(authority.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(min(now + life, authority.certificate.not_valid_after_utc))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.OID_SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )


def _usage(*, signs: bool) -> KeyUsage:
    from cryptography import x509  # noqa: PLC0415 - heavy

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _read(path: Path) -> Authority | None:
    """What is stored, if it can be used: what can't is made anew."""
    from cryptography import x509  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - heavy
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - heavy

    try:
        if path.stat().st_mode & 0o077:
            return None  # others may have read the key
        data = read_bounded(path, limit_bytes=_LIMIT_BYTES)
        key = serialization.load_pem_private_key(data, password=None)
        certificate = x509.load_pem_x509_certificate(data)
    except (OSError, HostError, ValueError, TypeError):
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        return None
    return Authority(key=key, certificate=certificate)


def _write(path: Path, authority: Authority) -> None:
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - heavy

    key = authority.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    until = _UNTIL + authority.certificate.not_valid_after_utc.isoformat().encode() + b"\n"
    write_atomic(path, until + key + authority.pem())
