# SPDX-License-Identifier: Apache-2.0
"""Bindings and grants for tests."""

from __future__ import annotations

from sbx.credential.binding import Binding, Due
from sbx.credential.inject import Grant
from sbx.credential.places import Place, Style
from sbx.credential.values import Value

REAL = "sk-real-canary-0123456789abcdef"
PLACEHOLDER = "sbx-cs-abcdefgh12345678"


def service(*hosts: str, header: str = "x-api-key", form: str = "%s", name: str = "svc") -> Binding:
    """A service whose key stands in a header."""
    return Binding(
        id=name,
        name=name,
        places=(Place(hosts=hosts, header=header, format=form),),
        variables=("SVC_API_KEY",),
    )


def custom(*hosts: str, name: str = "MY_KEY", placeholder: str = PLACEHOLDER) -> Binding:
    """A custom secret."""
    place = Place(hosts=hosts, style=Style.REPLACE)
    return Binding(id=name, name=name, places=(place,), placeholder=placeholder, variables=(name,))


def grant(binding: Binding, value: str = REAL) -> Grant:
    """What a request to the first place of a binding gets."""
    return Grant(due=Due(binding=binding, place=binding.places[0]), value=Value(value))
