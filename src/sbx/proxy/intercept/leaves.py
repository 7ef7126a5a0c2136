# SPDX-License-Identifier: Apache-2.0
"""Leaf certificates: one for each name that is intercepted, short-lived, and kept."""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sbx.proxy.intercept.authority import Authority, make_leaf
from sbx.system.files import owned_fd

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

_LIFE = timedelta(days=2)
_MAX = 512
ALPN = ("h2", "http/1.1")


@dataclass(frozen=True, slots=True)
class _Leaf:
    context: ssl.SSLContext
    renew_at: datetime


class Leaves:
    """TLS contexts of servers by name, signed by the installation's authority."""

    def __init__(self, authority: Callable[[], Authority]) -> None:
        self._open = authority
        self._signing: tuple[Authority, EllipticCurvePrivateKey] | None = None
        self._kept: OrderedDict[str, _Leaf] = OrderedDict()

    def context(self, name: str) -> ssl.SSLContext:
        """What a server of that name would have."""
        now = datetime.now(UTC)
        leaf = self._kept.get(name)
        if leaf is None or leaf.renew_at < now:
            leaf = self._kept[name] = _Leaf(self._make(name, now), now + _LIFE / 2)
            while len(self._kept) > _MAX:
                self._kept.popitem(last=False)
        self._kept.move_to_end(name)
        return leaf.context

    def _signers(self) -> tuple[Authority, EllipticCurvePrivateKey]:
        """The authority, and the key of all leaves, which is in memory only."""
        if self._signing is None:
            from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - heavy

            self._signing = self._open(), ec.generate_private_key(ec.SECP256R1())
        return self._signing

    def _make(self, name: str, now: datetime) -> ssl.SSLContext:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - heavy

        authority, key = self._signers()
        certificate = make_leaf(authority, key, name, now=now, life=_LIFE)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ) + certificate.public_bytes(serialization.Encoding.PEM)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
        context.set_alpn_protocols(list(ALPN))
        # The `ssl` module reads files only; this one has no name and is gone at once.
        with owned_fd(os.memfd_create("leaf", os.MFD_CLOEXEC)) as fd:
            os.write(fd, pem)
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        return context


def client_context() -> ssl.SSLContext:
    """For servers: their certificates are checked against the system's authorities, always."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
