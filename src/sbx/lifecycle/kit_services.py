# SPDX-License-Identifier: Apache-2.0
"""Services that kits declare and nobody else knows: where their secrets would be put in.

A service of docs/credentials.md is bound to its own hosts, whatever a kit says. For others the kit
says which hosts get the secret, so the user decides (`--kit-secret`, or a question).
"""

from __future__ import annotations

from sbx.credential.places import parse_header, parse_host_pattern
from sbx.credential.services import BY_NAME
from sbx.kit.compose import Composition
from sbx.kit.credentials import Credential, Inject, Scheme
from sbx.sandbox.recipe import KitPlace, KitService


def services_of(whole: Composition) -> tuple[KitService, ...]:
    """The services of kits that are not built in, and have somewhere to go.

    Raises:
        UserError: a host or header is none that a credential can be bound to.
    """
    found = (_service(one) for one in whole.credentials if one.service not in BY_NAME)
    return tuple(service for service in found if service.places)


def _service(declared: Credential) -> KitService:
    key = declared.api_key
    return KitService(
        name=declared.service,
        variable=key.name if key is not None and key.proxy_managed is not False else None,
        places=tuple(_place(inject) for inject in key.inject) if key is not None else (),
    )


def _place(inject: Inject) -> KitPlace:
    basic = inject.format is None and inject.scheme is Scheme.BASIC
    return KitPlace(
        host=parse_host_pattern(inject.domain),
        header=parse_header(inject.header_name),
        format=None if basic else inject.value_format,
        username=inject.username or "",
    )
