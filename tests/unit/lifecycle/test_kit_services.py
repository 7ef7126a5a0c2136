# SPDX-License-Identifier: Apache-2.0
"""Services that kits declare: only those that nobody else knows, and only where they may go."""

from __future__ import annotations

import json

import pytest

from sbx.errors import UserError
from sbx.kit.args import NO_ARGS
from sbx.kit.compose import Composition, compose
from sbx.lifecycle.kit_services import services_of
from sbx.lifecycle.provision import recipe_of
from sbx.sandbox.recipe import KitPlace, KitService, Recipe
from sbx.system import codec
from tests.unit.kit.kits import MIXIN, SANDBOX, kit

ALLOW = "permissions: {network: {allow: [api.acme.test, '**.acme.test', api.anthropic.com]}}\n"
ACME = KitService(
    name="acme",
    variable="ACME_KEY",
    places=(
        KitPlace(host="api.acme.test", header="x-key", format="%s"),
        KitPlace(host="git.acme.test", header="authorization", format=None, username="me"),
        KitPlace(host="www.acme.test", header="authorization", format="Bearer %s"),
    ),
)


def whole(credentials: str) -> Composition:
    extra = kit(f"{MIXIN}{ALLOW}credentials:\n{credentials}")
    return compose(kit(SANDBOX), [extra], NO_ARGS)


def acme(domain: str = "API.acme.test", header: str = "X-Key") -> str:
    return (
        "  - service: acme\n"
        "    apiKey:\n"
        "      name: ACME_KEY\n"
        "      proxyManaged: true\n"
        "      inject:\n"
        f"        - {{domain: {domain}, header: {header}}}\n"
        "        - {domain: git.acme.test, scheme: basic, username: me}\n"
        "        - {domain: www.acme.test, scheme: bearer}\n"
    )


def test_where_its_secret_goes() -> None:
    assert services_of(whole(acme())) == (ACME,)


def test_a_kit_cannot_say_where_the_secret_of_a_known_service_goes() -> None:
    place = "{domain: www.acme.test, header: x-api-key}"
    own = f"  - service: anthropic\n    apiKey: {{inject: [{place}]}}\n"
    assert services_of(whole(own)) == ()


def test_a_header_that_steers_the_connection_is_refused() -> None:
    with pytest.raises(UserError, match="not a header for a credential"):
        services_of(whole(acme(header="Transfer-Encoding")))


def test_what_a_sandbox_keeps_of_it_is_read_back() -> None:
    kept = recipe_of(whole(acme()), (ACME,))
    text = json.dumps(codec.to_json(kept))
    assert codec.from_json(Recipe, json.loads(text)) == kept
    assert kept.services == (ACME,)
