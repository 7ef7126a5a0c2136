# SPDX-License-Identifier: Apache-2.0
"""One HTTP request of the web server and its answer, a little handier than ASGI's dictionaries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs

from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, WebsocketScope

from tests.internet.facts import MAX_BODY_BYTES, Kind, Seen

Headers = list[tuple[str, str]]


class Exchange:
    """A request that arrived, and the answer that is being given."""

    def __init__(
        self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        self.scope = scope
        self.path = scope["raw_path"].decode("ascii", "replace")
        self.query = parse_qs(scope["query_string"].decode("ascii", "replace"))
        self.seen = seen_of(scope, Kind.HTTP, scope["method"])
        self._receive = receive
        self._send = send

    def first(self, name: str, default: str) -> str:
        """A parameter of the query."""
        return self.query.get(name, [default])[0]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body of the request as it comes; its beginning is noted."""
        while True:
            event = await self._receive()
            if event["type"] != "http.request":
                return
            chunk = event["body"]
            room = MAX_BODY_BYTES - len(self.seen.body)
            self.seen.body += chunk[: max(room, 0)]
            self.seen.body_bytes += len(chunk)
            if chunk:
                yield chunk
            if not event["more_body"]:
                return

    async def gone(self) -> None:
        """Wait until the client has left; the body must have been read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def body(self) -> bytes:
        """The whole body of the request."""
        return b"".join([chunk async for chunk in self.chunks()])

    async def start(self, status: int = 200, headers: Headers | None = None) -> None:
        encoded = [(n.encode(), v.encode("latin-1")) for n, v in headers or []]
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": encoded,
                "trailers": False,
            }
        )

    async def write(self, data: bytes, *, more: bool = True) -> None:
        await self._send({"type": "http.response.body", "body": data, "more_body": more})

    async def answer(self, data: bytes, status: int = 200, headers: Headers | None = None) -> None:
        """A whole answer with its length."""
        length = ("content-length", str(len(data)))
        await self.start(status, [*(headers or []), length])
        await self.write(data, more=False)


def seen_of(scope: HTTPScope | WebsocketScope, kind: Kind, method: str) -> Seen:
    """The entry of the log for a request."""
    headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]]
    host = next((v for n, v in headers if n in ("host", ":authority")), "")
    query = scope["query_string"].decode("ascii", "replace")
    path = scope["raw_path"].decode("ascii", "replace")
    server = scope["server"] or ("", 0)
    return Seen(
        kind=kind,
        at=f"{server[0]}:{server[1]}",
        what=f"{method} {scope['scheme']}://{host}{path}{'?' + query if query else ''}",
        version=scope["http_version"],
        headers=headers,
    )


def host_of(seen: Seen) -> str:
    """The name that was asked for, without a port."""
    names = seen.header("host") or seen.header(":authority")
    return names[0].partition(":")[0] if names else ""
