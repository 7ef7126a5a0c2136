# SPDX-License-Identifier: Apache-2.0
"""A credential as the way out knows it: where it goes and what stands for it, without its value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sbx.credential.places import Place, Style
from sbx.credential.services import PROXY_MANAGED


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One credential of one sandbox."""

    id: str  # of the stored secret
    name: str  # the service, or the variable of a custom secret
    places: tuple[Place, ...]
    placeholder: str = PROXY_MANAGED
    variables: tuple[str, ...] = ()  # of the sandbox, set to the placeholder
    is_fixed: bool = False  # the placeholder is the same in all sandboxes
    refused_paths: tuple[str, ...] = ()  # that are not asked with it

    @property
    def is_canary(self) -> bool:
        """Whether the placeholder is its own: the fixed word stands for nothing in particular."""
        return self.placeholder != PROXY_MANAGED and not self.is_fixed

    def covers_host(self, host: str, port: int) -> bool:
        """Whether some request to a host could get it."""
        return any(place.covers_host(host, port) for place in self.places)

    def place_for(self, host: str, port: int, method: str, target: str) -> Place | None:
        """The first place that a request fits."""
        return next((p for p in self.places if p.covers(host, port, method, target)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A credential that a request gets, and how."""

    binding: Binding
    place: Place


def due(
    bindings: Iterable[Binding], host: str, port: int, method: str, target: str
) -> tuple[Due, ...]:
    """What a request gets: each header once, by the first that fits, and every custom secret."""
    found: list[Due] = []
    taken: set[str] = set()
    for binding in bindings:
        place = binding.place_for(host, port, method, target)
        if place is None:
            continue
        if place.style is not Style.REPLACE:
            if place.header in taken:
                continue
            taken.add(place.header)
        found.append(Due(binding=binding, place=place))
    return tuple(found)
