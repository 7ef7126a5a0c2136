# SPDX-License-Identifier: Apache-2.0
"""The web server: HTTP/1.1, HTTP/2 and WebSocket on every address, plain and over TLS.

What a path does is in `ROUTES`; any other path is a file below the folder `files`. Nothing here
waits for a time: what is slow waits at a gate that the test opens.
"""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

from hypercorn.asyncio.run import worker_serve  # pyright: ignore[reportUnknownVariableType]
from hypercorn.config import Config, Sockets
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope, WebsocketScope
from hypercorn.utils import wrap_app  # pyright: ignore[reportUnknownVariableType]

from tests.internet.exchange import Exchange, host_of, seen_of
from tests.internet.facts import HTTP_PORTS, HTTPS_PORTS, Kind
from tests.internet.git import serve_git
from tests.internet.log import Gates, Log
from tests.internet.model.serve import HOSTS, Script
from tests.kit.token_server import TokenServer

_BLOCK = bytes(range(256)) * 256


class Web:
    """The ASGI application."""

    def __init__(self, log: Log, gates: Gates, folder: Path) -> None:
        self._log = log
        self.gates = gates
        self.script = Script()  # of the models
        self.files = folder / "files"
        self.repositories = folder / "git"
        self.tokens = TokenServer()

    async def __call__(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        match scope["type"]:
            case "http":
                exchange = Exchange(scope, receive, send)
                await self._log.add(exchange.seen)
                if (serve := HOSTS.get(host_of(exchange.seen))) is not None and self.script.key:
                    await serve(self.script, exchange)
                else:
                    first = exchange.path.split("/")[1]
                    await ROUTES.get(first, _file)(self, exchange)
                await self._log.changed()
            case "websocket":
                await self._websocket(scope, receive, send)
            case _:
                pass  # hypercorn takes this for an application without a lifespan

    async def _websocket(
        self, scope: WebsocketScope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Send every message back; a maker of models refuses."""
        seen = seen_of(scope, Kind.WEBSOCKET, "GET")
        await self._log.add(seen)
        if self.script.key and host_of(seen) in HOSTS:
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": None})  # 403
            return
        while True:
            event = await receive()
            if event["type"] == "websocket.connect":
                await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
            elif event["type"] == "websocket.receive":
                data, text = event["bytes"], event["text"]
                seen.body += data or (text or "").encode()
                await self._log.changed()
                await send({"type": "websocket.send", "bytes": data, "text": text})
            else:
                return


async def _echo(_: Web, exchange: Exchange) -> None:
    """What arrived, as JSON: what a careless server does with a credential."""
    body = await exchange.body()
    seen = exchange.seen
    text = json.dumps({"what": seen.what, "headers": seen.headers, "body": body.decode("latin-1")})
    echoed = [(f"x-echo-{name}", value) for name, value in seen.headers if name[0] != ":"]
    await exchange.answer(text.encode(), headers=[("content-type", "application/json"), *echoed])


async def _mirror(_: Web, exchange: Exchange) -> None:
    """Each piece of the body as soon as it comes."""
    await exchange.start()
    async for chunk in exchange.chunks():
        await exchange.write(chunk)
    await exchange.write(b"", more=False)


async def _bytes(_: Web, exchange: Exchange) -> None:
    """`/bytes/N`: so many bytes."""
    left = int(exchange.path.split("/")[2])
    await exchange.start(headers=[("content-length", str(left))])
    while left > 0:
        await exchange.write(_BLOCK[:left])
        left -= len(_BLOCK)
    await exchange.write(b"", more=False)


async def _endless(_: Web, exchange: Exchange) -> None:
    """Until the client leaves."""
    await exchange.body()
    await exchange.start()
    gone = asyncio.create_task(exchange.gone(), name="endless")
    while not gone.done():
        await exchange.write(_BLOCK)
        await asyncio.sleep(0)  # others are served as well


async def _slow(web: Web, exchange: Exchange) -> None:
    """`/slow/KEY`: nothing before the gate opens."""
    await web.gates.wait(exchange.path.split("/")[2])
    await exchange.answer(b"at last\n")


async def _drip(web: Web, exchange: Exchange) -> None:
    """`/drip/KEY?count=N`: `part I` at once, and the next whenever the gate opens."""
    await _parts(web, exchange, "text/plain", "part {}\n")


async def _events(web: Web, exchange: Exchange) -> None:
    """`/events/KEY?count=N`: server-sent events, the next whenever the gate opens."""
    await _parts(web, exchange, "text/event-stream", "id: {0}\ndata: event {0}\n\n")


async def _parts(web: Web, exchange: Exchange, kind: str, part: str) -> None:
    await exchange.start(headers=[("content-type", kind)])
    for number in range(int(exchange.first("count", "3"))):
        if number:
            await web.gates.wait(exchange.path.split("/")[2])
        await exchange.write(part.format(number).encode())
    await exchange.write(b"", more=False)


async def _redirect(_: Web, exchange: Exchange) -> None:
    """`/redirect?to=URL&status=302`."""
    status = int(exchange.first("status", "302"))
    await exchange.body()
    await exchange.answer(b"", status, [("location", exchange.first("to", "/"))])


async def _say(_: Web, exchange: Exchange) -> None:
    """`/say?status=200&header=name:value&body=text`: any answer."""
    await exchange.body()
    pairs = [each.split(":", 1) for each in exchange.query.get("header", [])]
    headers = [(name.lower(), value) for name, value in pairs]
    status = int(exchange.first("status", "200"))
    await exchange.answer(exchange.first("body", "").encode(), status, headers)


async def _git(web: Web, exchange: Exchange) -> None:
    await serve_git(exchange, web.repositories)


async def _private(web: Web, exchange: Exchange) -> None:
    """`/private/`: the same repositories for those who have the password in the file `password`."""
    pair = f"x-access-token:{(web.files / 'password').read_text()}".encode()
    wanted = "Basic " + base64.b64encode(pair).decode()
    if exchange.seen.header("authorization") != [wanted]:
        await exchange.body()
        await exchange.answer(b"", 401, [("www-authenticate", 'Basic realm="git"')])
        return
    await serve_git(exchange, web.repositories, "/private")


async def _oauth(web: Web, exchange: Exchange) -> None:
    """`/oauth/authorize?challenge=`: a code, as if a user agreed; `/oauth/given`: all tokens."""
    await exchange.body()
    if exchange.path == "/oauth/authorize":
        await exchange.answer(web.tokens.authorize(exchange.first("challenge", "")).encode())
    else:
        await exchange.answer(json.dumps([web.tokens.access, web.tokens.refresh]).encode())


async def _v1(web: Web, exchange: Exchange) -> None:
    """`/v1/oauth/token`: a token endpoint; anything else below `/v1` is an echo."""
    if exchange.path != "/v1/oauth/token":
        await _echo(web, exchange)
        return
    body = await exchange.body()
    kind = exchange.seen.header("content-type")
    status, answer = web.tokens.answer(kind[0] if kind else "", body)
    await exchange.answer(answer, status, [("content-type", "application/json")])


async def _file(web: Web, exchange: Exchange) -> None:
    """A file that the test has put there; `/` says where one is."""
    await exchange.body()
    path = (web.files / exchange.path.strip("/")).resolve()
    if path.is_dir():
        path /= "index.html"
    if not path.is_relative_to(web.files) or not path.is_file():
        await exchange.answer(b"there is no such file\n", 404)
        return
    kinds = {".html": "text/html", ".json": "application/json"}
    kind = kinds.get(path.suffix, "application/octet-stream")
    await exchange.answer(path.read_bytes(), headers=[("content-type", kind)])


ROUTES: dict[str, Callable[[Web, Exchange], Awaitable[None]]] = {
    "bytes": _bytes,
    "drip": _drip,
    "echo": _echo,
    "endless": _endless,
    "events": _events,
    "git": _git,
    "mirror": _mirror,
    "oauth": _oauth,
    "private": _private,
    "redirect": _redirect,
    "say": _say,
    "slow": _slow,
    "v1": _v1,
}


class _Config(Config):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self._context = context
        self.errorlog = None
        self.keep_alive_timeout = 600

    @property
    def ssl_enabled(self) -> bool:
        return True

    def create_ssl_context(self) -> ssl.SSLContext:
        return self._context


async def start_web(web: Web, context: ssl.SSLContext) -> asyncio.Task[None]:
    """Listen on every address, and serve until the task is cancelled."""
    sockets = Sockets(
        secure_sockets=[s for port in HTTPS_PORTS for s in listen_everywhere(port)],
        insecure_sockets=[s for port in HTTP_PORTS for s in listen_everywhere(port)],
        quic_sockets=[],
    )
    config = _Config(context)
    serving = worker_serve(
        wrap_app(web, config.wsgi_max_body_size, "asgi"),
        config,
        sockets=sockets,
        shutdown_trigger=asyncio.Event().wait,
    )
    return asyncio.get_running_loop().create_task(serving, name="web")


def listen_everywhere(port: int) -> list[socket.socket]:
    """Listening sockets for a port on all addresses of both families."""
    return [
        socket.create_server(("0.0.0.0", port), backlog=512),
        socket.create_server(("::", port), family=socket.AF_INET6, backlog=512),
    ]
