# SPDX-License-Identifier: Apache-2.0
"""The catalogue of services."""

from __future__ import annotations

import pytest

from sbx.credential.placeholders import check_variable
from sbx.credential.places import Style, parse_header, parse_host_pattern
from sbx.credential.services import BY_NAME, SERVICES, check_service_name
from sbx.errors import UserError


def test_the_catalogue_is_sound() -> None:
    assert len(BY_NAME) == len(SERVICES)
    for service in SERVICES:
        assert check_service_name(service.name) == service.name
        assert service.source
        assert [check_variable(v) for v in service.variables]
        for place in service.places:
            assert [parse_host_pattern(h) for h in place.hosts] == list(place.hosts)
            assert parse_header(place.header) == place.header
            assert place.style is Style.BASIC or place.format.count("%s") == 1
            assert (place.style is Style.BASIC) == bool(place.username)


def test_no_host_is_in_two_services() -> None:
    hosts = [h for service in SERVICES for place in service.places for h in place.hosts]
    assert len(hosts) == len(set(hosts))


@pytest.mark.parametrize("name", ["", "a b", "../x", "-a", "a" * 65, "a\nb"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(UserError):
        check_service_name(name)
