# SPDX-License-Identifier: Apache-2.0
"""By which proxy sbx itself goes out: the setting, and what a request then does."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Iterator

import pytest

from sbx.cli.app import App
from sbx.cli.own_way import own_proxy
from sbx.errors import UserError
from sbx.store.settings import Settings
from sbx.system.fetch import open_url
from sbx.system.outgoing import go_out_by

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Server:
    """Answers everything with `ok`, and remembers the first lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._sock.accept()
            except OSError:
                return
            with peer, peer.makefile("rb") as file:
                self.lines.append(file.readline().decode().strip())
                while file.readline().strip():
                    pass
                peer.sendall(ANSWER)

    def close(self) -> None:
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        self._thread.join()


@pytest.fixture(name="server")
def _server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()
    go_out_by(lambda _host, _port: None)


def ask(url: str) -> bytes:
    with open_url(urllib.request.Request(url), timeout_s=5) as answer:  # noqa: S310 - loopback
        return bytes(answer.read())


def test_a_request_goes_by_the_proxy(server: Server) -> None:
    go_out_by(lambda _host, _port: f"http://127.0.0.1:{server.port}")
    assert ask("http://registry.test/v2/") == b"ok"
    assert server.lines == ["GET http://registry.test/v2/ HTTP/1.1"]


def test_a_request_goes_straight(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    go_out_by(lambda _host, _port: "")
    assert ask(f"http://127.0.0.1:{server.port}/v2/") == b"ok"
    assert server.lines == ["GET /v2/ HTTP/1.1"]


def test_a_request_follows_the_variables(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.port}")
    assert ask("http://registry.test/v2/") == b"ok"
    assert server.lines == ["GET http://registry.test/v2/ HTTP/1.1"]


def app_with(**values: str) -> App:
    app = App()
    named = {name.replace("__", "."): value for name, value in values.items()}
    app.__dict__["settings"] = Settings(dict(named), {})
    return app


@pytest.mark.parametrize(
    ("values", "proxy"),
    [
        ({}, None),
        ({"proxy__daemon": "http://own.test:1"}, "http://own.test:1"),
        ({"proxy": "all.test:2"}, "http://all.test:2"),
        ({"proxy": "http://all.test:2", "proxy__daemon": "direct"}, ""),
        ({"proxy": "http://all.test:2", "no_proxy__daemon": "registry.test"}, ""),
        ({"proxy": "http://all.test:2", "no_proxy": "*"}, ""),
    ],
)
def test_the_settings(values: dict[str, str], proxy: str | None) -> None:
    assert own_proxy(app_with(**values), "registry.test", 443) == proxy


@pytest.mark.parametrize("way", ["socks5://p.test:1", "https://p.test:1", "file:///p.pac"])
def test_other_ways_are_refused(way: str) -> None:
    with pytest.raises(UserError, match="only by http:// proxies"):
        own_proxy(app_with(proxy=way), "registry.test", 443)
