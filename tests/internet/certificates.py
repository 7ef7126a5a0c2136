# SPDX-License-Identifier: Apache-2.0
"""The test CA, and a certificate for whatever server name a client asks for.

The first label of a name chooses how its server behaves: `expired.`, `selfsigned.` and `wrong.`
have certificates that no client may accept, `h1.` speaks HTTP/1.1 only.
"""

from __future__ import annotations

import datetime
import ssl
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)
_NO_NAME = "nameless.test"  # for a client that names no server


def _named(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A certificate authority, made anew each time; its certificate is in `certificate`."""

    def __init__(self, folder: Path) -> None:
        self.certificate = folder / "ca.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named("Test internet CA")
        made = (
            self._builder(self._name, self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_KEY_USAGE_CA, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._certificate = made
        self.certificate.write_bytes(made.public_bytes(Encoding.PEM))

    def server_context(self) -> ssl.SSLContext:
        """For a server that answers to every name."""
        context = self._context(_NO_NAME)

        def choose(
            sock: ssl.SSLSocket | ssl.SSLObject, name: str | None, _: ssl.SSLContext
        ) -> int | None:
            if name is not None:
                sock.context = self._context(name)
            return None

        context.sni_callback = choose
        return context

    def for_name(self, name: str) -> Path:
        """A file with a key and a certificate for a name."""
        return self._leaf(name, name.partition(".")[0])

    @lru_cache(maxsize=1024)  # noqa: B019 - it lives as long as the process
    def _context(self, name: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        label = name.partition(".")[0]
        context.set_alpn_protocols(["http/1.1"] if label == "h1" else ["h2", "http/1.1"])
        context.load_cert_chain(self._leaf(name, label))
        return context

    def _leaf(self, name: str, label: str) -> Path:
        """A file with key and certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(name[:64])
        signer, issuer = (key, subject) if label == "selfsigned" else (self._key, self._name)
        certified = "somebody-else.test" if label == "wrong" else name
        made = (
            self._builder(subject, issuer, key, age_days=30 if label == "expired" else 0)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(certified)]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
                critical=False,
            )
            .sign(signer, hashes.SHA256())
        )
        path = self._folder / f"leaf-{made.serial_number:x}.pem"
        path.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            + made.public_bytes(Encoding.PEM)
        )
        return path

    @staticmethod
    def _builder(
        subject: x509.Name,
        issuer: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        age_days: int = 0,
    ) -> x509.CertificateBuilder:
        """Valid from yesterday for a week, or over for so many days."""
        begin = datetime.datetime.now(datetime.UTC) - _DAY * (1 + age_days)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + _DAY * 8)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
            )
        )


_KEY_USAGE_CA = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
