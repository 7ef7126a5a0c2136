# SPDX-License-Identifier: Apache-2.0
"""The credentials of one sandbox, put together: what is bound, and what its machine is told.

Values stay on this side (docs/credentials.md). The machine gets placeholders, and the certificate
of the installation's authority, since a secret may be set while it runs, and those of the host's.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from sbx.credential.binding import Binding
from sbx.credential.places import Place, Style
from sbx.errors import SbxError
from sbx.proxy.intercept.authority import open_authority, trusted_pem
from sbx.proxy.intercept.grants import Interception
from sbx.proxy.intercept.leaves import Leaves
from sbx.sandbox.recipe import KitPlace, KitService
from sbx.secret.source import CredentialSource
from sbx.store.paths import Paths
from sbx.supervisor.host_trust import host_authorities

log = logging.getLogger(__name__)

_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # guest/trust.py writes it
# Programs with lists of their own; those that are not named here read the system's.
_BUNDLE_VARIABLES = (
    "AWS_CA_BUNDLE",
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """What a machine is told."""

    trust: str  # PEM
    environment: dict[str, str]


class Credentials:
    """Follows the stored secrets for one sandbox."""

    def __init__(self, where: Paths, sandbox: str, services: Sequence[KitService] = ()) -> None:
        self._where = where
        self._source = CredentialSource(where, sandbox, [_binding(one) for one in services])
        self.logins = self._source.logins
        self.interception = Interception(
            self._source, Leaves(lambda: open_authority(where)), logins=self.logins
        )

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """What is bound now."""
        return self._source.bindings

    def refresh(self) -> None:
        """Take over what is stored now; cheap if nothing changed."""
        self._source.refresh()

    async def login_files(self) -> dict[str, str]:
        """The files of all logins; one whose tokens cannot be read has none."""
        found: dict[str, str] = {}
        for login in self.logins.present:
            if login.file:
                try:
                    found[login.file] = login.file_text(await self.logins.tokens(login.service))
                except SbxError as error:
                    log.warning("no login for %s: %s", login.service, error.message)
        return found

    def inside(self) -> Inside:
        """What the machine is told at its start.

        Raises:
            HostError: the authority cannot be stored.
        """
        pem = trusted_pem(self._where)
        return Inside(
            trust=pem.decode().rstrip("\n") + "\n" + host_authorities(),
            environment={
                **dict.fromkeys(_BUNDLE_VARIABLES, _BUNDLE),
                "DENO_TLS_CA_STORE": "system",
                "PROXY_CA_CERT_B64": base64.b64encode(pem).decode(),
                **self._source.environment(),
            },
        )


def _binding(service: KitService) -> Binding:
    """A kit's own service, which the user agreed to."""
    return Binding(
        id="",  # that of the secret, once there is one
        name=service.name,
        places=tuple(map(_place, service.places)),
        variables=(service.variable,) if service.variable else (),
    )


def _place(place: KitPlace) -> Place:
    if place.format is None:
        return Place(
            hosts=(place.host,), header=place.header, style=Style.BASIC, username=place.username
        )
    return Place(hosts=(place.host,), header=place.header, format=place.format)
