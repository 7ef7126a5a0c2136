# SPDX-License-Identifier: Apache-2.0
"""A request of the guest and the way its answer goes back, whatever version of HTTP it speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sbx.credential.scrub import Scrubber
from sbx.proxy.client import Meter
from sbx.proxy.intercept.servers import Server
from sbx.proxy.limits import Limits

Fields = Sequence[tuple[bytes, bytes]]  # names in lower case


class Source(Protocol):
    """The body of a request."""

    @property
    def ended(self) -> bool:
        """Whether all of it was read."""
        ...

    def take(self) -> bytes:
        """What is there already, without waiting; it may be nothing.

        Raises:
            BadBodyError: it is malformed.
        """
        ...

    async def read(self) -> bytes:
        """The next piece; none at the end.

        Raises:
            BadBodyError: it is malformed or cut off.
        """
        ...


class Sink(Protocol):
    """Where the answer goes. Each call returns when there is room for more."""

    async def informational(self, status: int, fields: Fields) -> None: ...

    async def head(self, status: int, fields: Fields, *, length: int | None, empty: bool) -> None:
        """The head; `length` of the body if it is known, `empty` if there is none."""
        ...

    async def data(self, data: bytes) -> None: ...

    async def flush(self) -> None:
        """Nothing follows at once: what waits is sent."""
        ...

    async def end(self, data: bytes = b"") -> None:
        """The end of the answer, and what stands before it."""
        ...

    async def relay(self, server: Server, scrubber: Scrubber, limits: Limits, meter: Meter) -> None:
        """Pass another protocol both ways until one side ends."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A request as the guest sent it, its connection's own fields left out."""

    method: str
    target: str  # path and query
    fields: tuple[tuple[bytes, bytes], ...]  # without Host and what frames the message
    length: int | None  # of the body, as it was said
    body: Source
    upgrade: str | None = None
    expects: bool = False  # the guest waits for a 100 before it sends the body
    notes: list[str] = field(default_factory=list[str])  # for the event

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]
