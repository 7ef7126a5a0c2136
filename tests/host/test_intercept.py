# SPDX-License-Identifier: Apache-2.0
"""Intercepted connections with real sockets, real TLS and a real client: keys go out, not in."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from sbx.credential.binding import Binding
from sbx.credential.places import Place, Style
from sbx.policy.rules import Rule
from sbx.proxy.events import Outcome
from tests.unit.policy.factories import rule
from tests.unit.proxy.api import KEY, Api, Held, World
from tests.unit.proxy.proxies import LOOPBACK, Proxies

PLACEHOLDER = "sbx-cs-abcdefgh12345678"
RULES = ("allow site.test", "allow other.test", LOOPBACK)


@dataclass
class Setting:
    """What a test has: the proxies, the server behind them, and its port."""

    world: World
    proxies: Proxies
    api: Api
    port: int

    async def open(
        self, name: str = "site.test", *protocols: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        _, reader, writer = await self.proxies.connect(name, self.port)
        await writer.start_tls(self.world.guest(*protocols), server_hostname=name)
        return reader, writer

    async def ask(self, request: str, body: bytes = b"") -> bytes:
        """The whole answer to one request on a connection that closes after it."""
        reader, writer = await self.open()
        head = request.replace("\n", "\r\n") + "\r\n\r\n"
        writer.write(head.encode() + body)
        found = await reader.read()
        writer.close()
        return found

    async def curl(self, *args: str, path: str = "/echo") -> tuple[int, bytes]:
        """What curl inside would do: its status and what it prints."""
        child = await asyncio.create_subprocess_exec(
            "curl", "--silent", "--show-error", "--max-time", "20",
            "--proxy", f"http://127.0.0.1:{self.proxies.explicit_port}",
            "--cacert", str(self.world.ca_file), *args, f"https://site.test:{self.port}{path}",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        out, _ = await child.communicate()
        return child.returncode or 0, out


def _service(port: int) -> Binding:
    place = Place(hosts=("site.test",), port=port, header="x-api-key", format="%s")
    return Binding(id="svc", name="svc", places=(place,), variables=("SVC_API_KEY",))


def _custom(port: int) -> Binding:
    place = Place(hosts=("site.test",), port=port, style=Style.REPLACE)
    return Binding(id="mine", name="MY_KEY", places=(place,), placeholder=PLACEHOLDER)


@asynccontextmanager
async def setting(
    folder: Path, *make: Callable[[int], Binding], rules: tuple[Rule | str, ...] = RULES,
    name: str = "site.test",
) -> AsyncGenerator[Setting]:  # fmt: skip
    """A server and proxies before it, with these credentials bound to its port."""
    world, api = World(folder, Held()), Api()
    async with api.running(world.serving(name)) as port:
        bindings = [each(port) for each in make or (_service,)]
        held = Held(*bindings)
        world.held.bindings, world.held.values = held.bindings, held.values
        async with Proxies(*rules, interception=world.interception).running() as proxies:
            yield Setting(world, proxies, api, port)


Body = Callable[[Setting], Coroutine[None, None, None]]


def run(folder: Path, body: Body, *make: Callable[[int], Binding]) -> None:
    """Run a test in a setting."""

    async def main() -> None:
        async with setting(folder, *make) as found:
            await body(found)

    asyncio.run(main())


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_curl_with_the_placeholder_reaches_the_server_with_the_key(
    tmp_path: Path, version: str
) -> None:
    async def body(s: Setting) -> None:
        status, out = await s.curl(version, "-H", "x-api-key: proxy-managed")
        assert status == 0, out
        (request,) = s.api.seen
        assert request.all("x-api-key") == [KEY]
        assert KEY.encode() not in out
        assert ["x-api-key", "proxy-managed"] in json.loads(out)["fields"]
        event = await s.proxies.ended()
        assert event.outcome is Outcome.PASSED
        assert event.credentials == ("svc",)
        assert event.detail == "the answer held the credential, which was taken out"
        assert (event.method, event.path) == ("GET", "/echo")

    run(tmp_path, body)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("framing", [(), ("-H", "Transfer-Encoding: chunked")])
def test_uploads_arrive(tmp_path: Path, version: str, framing: tuple[str, ...]) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"0123456789abcdef" * 40_000)

    async def body(s: Setting) -> None:
        extra = framing if version == "--http1.1" else ()
        status, out = await s.curl(version, *extra, "--data-binary", f"@{data}")
        assert status == 0, out[:200]
        assert s.api.seen[0].body == data.read_bytes()

    run(tmp_path, body)


def test_own_credentials_beside_ours_are_left_out(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        head = (
            "GET / HTTP/1.1\nHost: site.test:{port}\nX-Api-Key: attacker\nx-api-key: attacker\n"
            "Authorization: Bearer attacker\nX-Goog-Api-Key: attacker\nConnection: close"
        )
        answer = await s.ask(head.format(port=s.port))
        assert answer.startswith(b"HTTP/1.1 200 ")
        (request,) = s.api.seen
        assert request.all("x-api-key") == [KEY]
        assert "attacker" not in str(request.fields)

    run(tmp_path, body)


def test_a_stream_is_passed_on_at_once(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        reader, writer = await s.open()
        writer.write(f"GET /stream HTTP/1.1\r\nHost: site.test:{s.port}\r\n\r\n".encode())
        await reader.readuntil(b"data: first\n\n")
        s.api.go_on.set()
        assert b"data: last\n\n" in await reader.readuntil(b"0\r\n\r\n")
        writer.close()

    run(tmp_path, body)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("path", ["/split", "/gzip", "/redirect"])
def test_the_key_never_comes_back(tmp_path: Path, version: str, path: str) -> None:
    async def body(s: Setting) -> None:
        status, out = await s.curl(version, "--include", path=path)
        assert status == 0, out
        assert KEY.encode() not in out
        assert b"proxy-managed" in out
        assert b"proxy-managedproxy" not in out

    run(tmp_path, body)


def test_what_cannot_be_looked_through_is_withheld(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        status, out = await s.curl("--http1.1", "--include", path="/brotli")
        assert status == 0
        assert out.splitlines()[-1].startswith(b"the server compressed its answer")
        assert b" 502 " in out

    run(tmp_path, body)


def test_a_redirect_is_not_followed_with_the_key(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        async with s.api.running(s.world.serving("other.test")) as other:
            status, out = await s.curl(
                "--http1.1", "--location", "--connect-to", f"other.test:443:other.test:{other}",
                "--cacert", str(s.world.folder / "both.pem"), path="/redirect",
            )  # fmt: skip
        assert KEY.encode() not in out
        assert [r.all("x-api-key") for r in s.api.seen][1:] in ([], [["proxy-managed"]], [[]])
        assert status in (0, 60)

    (tmp_path / "both.pem").write_bytes(b"")

    async def prepared(s: Setting) -> None:
        both = s.world.inner.pem() + s.world.outer.pem()
        (tmp_path / "both.pem").write_bytes(both)
        await body(s)

    run(tmp_path, prepared)


def test_a_web_socket_passes_and_the_key_does_not(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        reader, writer = await s.open()
        writer.write(
            f"GET /socket HTTP/1.1\r\nHost: site.test:{s.port}\r\nConnection: Upgrade\r\n"
            "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        greeting = await reader.readuntil(b"|")
        assert greeting == b"hello " + b"proxy-managed".ljust(len(KEY), b"*") + b"|"
        writer.write(b"\x00\xffping")
        assert await reader.readexactly(6) == b"\x00\xffping"
        assert s.api.seen[0].all("sec-websocket-extensions") == []
        writer.close()

    run(tmp_path, body)


def test_a_placeholder_is_exchanged_in_headers_of_its_host(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        _, out = await s.curl("-H", f"private-token: {PLACEHOLDER}", "-u", f"me:{PLACEHOLDER}")
        assert s.api.seen[0].all("private-token") == [KEY]
        assert KEY.encode() not in out
        assert PLACEHOLDER.encode() in out

    run(tmp_path, body, _custom)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
@pytest.mark.parametrize("where", ["query", "path", "header-elsewhere"])
def test_a_placeholder_astray_is_blocked_and_told(tmp_path: Path, version: str, where: str) -> None:
    async def body(s: Setting) -> None:
        args: tuple[str, ...] = ()
        if where == "header-elsewhere":
            other = Place(hosts=("elsewhere.test",), style=Style.REPLACE)
            stray = Binding(id="o", name="OTHER", places=(other,), placeholder="sbx-cs-other-12345")
            s.world.held.bindings = [*s.world.held.bindings, stray]
            args, path, name = ("-H", "x-key: sbx-cs-other-12345"), "/echo", "OTHER"
        else:
            name = "MY_KEY"
            path = f"/?k={PLACEHOLDER}" if where == "query" else f"/{PLACEHOLDER}"
        _, out = await s.curl(version, *args, path=path)
        assert b"was on its way to site.test" in out
        assert s.api.seen == []
        event = await s.proxies.ended()
        assert (event.outcome, event.credentials) == (Outcome.BLOCKED, (name,))
        assert event.decision is not None
        assert event.decision.kind == "canary"

    run(tmp_path, body, _custom)


def test_a_placeholder_in_plain_http_is_blocked(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        answer = await s.proxies.ask(
            b"GET http://other.test/ HTTP/1.1\r\nHost: other.test\r\n"
            b"X: " + PLACEHOLDER.encode() + b"\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert s.proxies.asked == []
        assert (await s.proxies.ended()).credentials == ("MY_KEY",)

    run(tmp_path, body, _custom)


def test_a_placeholder_in_a_body_is_told_and_not_exchanged(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        await s.curl("--data", f"k={PLACEHOLDER}")
        assert s.api.seen[0].body == f"k={PLACEHOLDER}".encode()
        assert "the body held the placeholder of secret MY_KEY" in (await s.proxies.ended()).detail

    run(tmp_path, body, _custom)


def test_without_its_value_nothing_is_sent(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        s.world.held.values = {}
        _, out = await s.curl("--include")
        assert b"502" in out
        assert b"the keychain is locked" in out
        assert s.api.seen == []

    run(tmp_path, body)


def test_a_server_that_is_not_to_be_trusted_gets_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with setting(tmp_path, name="evil.test") as s:
            _, out = await s.curl("--include")
            assert b"the certificate of site.test" in out
            assert s.api.seen == []

    asyncio.run(main())


def test_another_port_of_the_host_passes_unread(tmp_path: Path) -> None:
    async def main() -> None:
        async with setting(tmp_path, lambda port: _service(port + 1)) as s:
            (tmp_path / "outer.pem").write_bytes(s.world.outer.pem())
            status, out = await s.curl("--cacert", str(tmp_path / "outer.pem"))
            assert status == 0, out
            assert s.api.seen[0].all("x-api-key") == []

    asyncio.run(main())


def test_the_host_of_each_request_is_that_of_the_connection(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        for version in ("--http1.1", "--http2"):
            _, out = await s.curl(version, "--include", "-H", f"Host: other.test:{s.port}")
            assert b"403" in out
        assert s.api.seen == []

    run(tmp_path, body)


def test_requests_share_a_connection_but_credentials_do_not(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        reader, writer = await s.open()
        for path in ("/v1/a", "/v1/b", "/v2/c", "/v1/d"):
            writer.write(f"GET {path} HTTP/1.1\r\nHost: site.test:{s.port}\r\n\r\n".encode())
            await reader.readuntil(b"0\r\n\r\n")
        writer.close()
        found = {r.target: (r.connection, bool(r.all("x-api-key"))) for r in s.api.seen}
        assert found["/v1/a"] == found["/v1/b"] == found["/v1/d"]
        assert found["/v1/a"][1]
        assert not found["/v2/c"][1]
        assert found["/v2/c"][0] != found["/v1/a"][0]

    def scoped(port: int) -> Binding:
        place = Place(
            hosts=("site.test",), port=port, header="x-api-key", format="%s", path="/v1/**"
        )
        return Binding(id="svc", name="svc", places=(place,))

    run(tmp_path, body, scoped)


def test_rules_about_requests_hold_inside_tls(tmp_path: Path) -> None:
    async def main() -> None:
        rules = (*RULES, rule("deny site.test", path="/secret/**"))
        async with setting(tmp_path, rules=rules) as s:
            _, out = await s.curl("--include", path="/secret/x")
            assert b"403" in out
            status, _ = await s.curl(path="/other")
            assert status == 0
        assert [r.target for r in s.api.seen] == ["/other"]

    asyncio.run(main())


def test_a_tightened_policy_cuts_an_answer(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        reader, writer = await s.open()
        writer.write(f"GET /stream HTTP/1.1\r\nHost: site.test:{s.port}\r\n\r\n".encode())
        await reader.readuntil(b"data: first\n\n")
        assert s.proxies.change("allow other.test") == 1
        with pytest.raises((OSError, asyncio.IncompleteReadError)):
            await reader.readuntil(b"data: last\n\n")
        assert (await s.proxies.ended()).outcome is Outcome.CUT
        writer.close()

    run(tmp_path, body)


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\nHost: site.test\nHost: other.test",
        "POST / HTTP/1.1\nHost: site.test\nContent-Length: 1\nTransfer-Encoding: chunked",
        "POST / HTTP/1.1\nHost: site.test\nTransfer-Encoding: gzip, chunked",
        "GET / HTTP/1.1\nHost : site.test",
        "GET / HTTP/1.1\nHost: site.test\n X: y",
        "GET https://site.test/ HTTP/1.1\nHost: site.test",
        "CONNECT other.test:443 HTTP/1.1\nHost: other.test:443",
        "GET / HTTP/1.1\nHost: site.test\nConnection: x-api-key",
    ],
)
def test_what_two_parsers_could_read_differently_is_refused(tmp_path: Path, head: str) -> None:
    async def body(s: Setting) -> None:
        answer = await s.ask(head.replace("site.test\n", f"site.test:{s.port}\n"))
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert s.api.seen == []

    run(tmp_path, body)


@pytest.mark.parametrize("path", ["/short", "/two-lengths"])
@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_broken_answer_is_seen_to_be_broken(tmp_path: Path, path: str, version: str) -> None:
    async def body(s: Setting) -> None:
        status, out = await s.curl(version, "--fail", path=path)
        assert status != 0, out

    run(tmp_path, body)


@pytest.mark.parametrize("version", ["--http1.1", "--http2"])
def test_a_large_answer_arrives_whole(tmp_path: Path, version: str) -> None:
    async def body(s: Setting) -> None:
        size = 65536 * 64
        status, out = await s.curl(
            version, "--output", "/dev/null", "--write-out", "%{size_download}", path=f"/big?{size}"
        )
        assert (status, out) == (0, str(size).encode())

    run(tmp_path, body)


def test_a_program_that_does_not_trust_us_is_told_apart(tmp_path: Path) -> None:
    async def body(s: Setting) -> None:
        _, _, writer = await s.proxies.connect("site.test", s.port)
        with pytest.raises(ssl.SSLCertVerificationError):
            await writer.start_tls(ssl.create_default_context(), server_hostname="site.test")
        writer.close()
        event = await s.proxies.ended()
        assert event.outcome is Outcome.FAILED
        assert "does not accept our certificate" in event.detail

    run(tmp_path, body)
