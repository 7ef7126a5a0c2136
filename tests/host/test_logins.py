# SPDX-License-Identifier: Apache-2.0
"""Logins of agents with real sockets and TLS: tokens stay here, and the sandbox gets stand-ins."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlencode

import pytest

from sbx.credential.logins import LOGINS, Login
from sbx.credential.tokens import Tokens, parse_tokens
from sbx.credential.values import Value
from sbx.proxy.events import Outcome
from sbx.proxy.intercept.grants import Interception
from sbx.proxy.intercept.tokens import Renewing
from sbx.secret.entries import Kind, Source, read_entries
from sbx.secret.logins import SHOWN
from sbx.secret.source import CredentialSource
from sbx.secret.store import new_entry, read_value, save
from sbx.store.paths import Paths
from tests.kit.token_server import TokenServer, challenge_of
from tests.unit.proxy.api import Held, World
from tests.unit.proxy.proxies import LOOPBACK, Proxies, server
from tests.unit.secret.test_entries import paths

RULES = ("allow site.test", LOOPBACK)
STAND_IN, REFRESH = "sk-ant-oat01-proxy-managed", "sk-ant-ort01-proxy-managed"
KEY_PATH = "/api/oauth/claude_cli/create_api_key"


@dataclass
class Setting:
    """The proxies, the server behind them, and what is stored."""

    world: World
    proxies: Proxies
    tokens: TokenServer
    where: Paths
    source: CredentialSource
    port: int
    requests: list[tuple[str, str, str]]  # what the server saw: method, path, authorization

    async def ask(
        self, path: str, body: dict[str, str] | None = None, *, form: bool = False, bearer: str = ""
    ) -> tuple[int, bytes]:
        """What a program inside gets."""
        _, reader, writer = await self.proxies.connect("site.test", self.port)
        await writer.start_tls(self.world.guest(), server_hostname="site.test")
        data = b""
        if body is not None:
            data = (urlencode(body) if form else json.dumps(body)).encode()
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        writer.write(
            f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\n"
            f"Host: site.test:{self.port}\r\n"
            f"Authorization: Bearer {bearer}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(data)}\r\nConnection: close\r\n\r\n".encode()
            + data
        )
        found = await reader.read()
        writer.close()
        head, _, rest = found.partition(b"\r\n\r\n")
        return int(head.split()[1]), rest

    async def log_in(self) -> tuple[int, bytes]:
        code = self.tokens.authorize(challenge_of("verifier-of-the-guest"))
        return await self.ask(
            "/v1/oauth/token",
            {
                "grant_type": "authorization_code", "code": code, "client_id": "an-id",
                "code_verifier": "verifier-of-the-guest",
            },
        )  # fmt: skip

    async def renew(self) -> tuple[int, bytes]:
        return await self.ask(
            "/v1/oauth/token",
            {"grant_type": "refresh_token", "refresh_token": REFRESH, "client_id": "an-id"},
        )

    def secrets(self) -> list[bytes]:
        return [token.encode() for token in (*self.tokens.access, *self.tokens.refresh)]

    def stored(self) -> Tokens:
        (entry,) = read_entries(self.where)
        return parse_tokens(read_value(self.where, entry).reveal())


@asynccontextmanager
async def setting(folder: Path) -> AsyncGenerator[Setting]:
    tokens, requests = TokenServer(), list[tuple[str, str, str]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, path, _ = head.split(" ", 2)
            fields = {
                name.lower(): value.strip()
                for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
            }
            body = await reader.readexactly(int(fields.get("content-length", "0")))
            requests.append((method, path, fields.get("authorization", "")))
            if path.rstrip("/") == "/v1/oauth/token":
                status, answer = tokens.answer(fields["content-type"], body)
            else:
                status, answer = 200, fields.get("authorization", "none").encode()
            writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(answer)))
            writer.write(answer)
            await writer.drain()

    world, where = World(folder, Held()), paths(folder)
    async with server(serve, world.serving("site.test")) as port:
        login = _login(port)
        source = CredentialSource(where, "box", logins=(login,))
        source.refresh()
        trust = world.interception.trust
        interception = Interception(
            source, world.interception.leaves, lambda: trust, logins=source.logins
        )
        async with Proxies(*RULES, interception=interception).running() as proxies:
            source.logins.renewer = Renewing(proxies.context, interception)
            yield Setting(world, proxies, tokens, where, source, port, requests)


def _login(port: int) -> Login:
    (place,) = LOGINS[0].places
    return replace(
        LOGINS[0],
        token_hosts=("site.test",),
        places=(replace(place, hosts=("site.test",), port=port),),
        port=port,
    )


Body = Callable[[Setting], Coroutine[None, None, None]]


@pytest.fixture(name="run")
def _run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Body], None]:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    async def main(body: Body) -> None:
        async with setting(tmp_path) as found:
            await body(found)

    return lambda body: asyncio.run(main(body))


def test_a_login_gives_the_sandbox_stand_ins_and_keeps_the_tokens(
    run: Callable[[Body], None],
) -> None:
    async def body(s: Setting) -> None:
        status, answer = await s.log_in()
        assert status == 200, answer
        found = json.loads(answer)
        assert (found["access_token"], found["refresh_token"]) == (STAND_IN, REFRESH)
        assert found["account"] == {"email_address": "me@example.com", "hint": f"x{STAND_IN}y"}
        assert found["expires_in"] == 3600
        assert not any(secret in answer for secret in s.secrets())
        assert s.stored().access == Value(s.tokens.access[0])
        (entry,) = read_entries(s.where)
        assert (entry.source, entry.sandbox, entry.mask) == (Source.OAUTH, None, SHOWN)
        s.source.refresh()
        assert s.source.environment() == {}
        status, echo = await s.ask("/v1/messages", bearer=STAND_IN)
        assert status == 200
        assert f"\r\nBearer {STAND_IN}\r\n".encode() in echo
        assert s.requests[-1] == ("GET", "/v1/messages", f"Bearer {s.tokens.access[0]}")
        events = [e for e in s.proxies.events if e.path]
        assert [e.credentials for e in events] == [("anthropic",), ("anthropic",)]
        assert "stand-ins" in events[0].detail

    run(body)


def test_renewal_is_done_on_the_host(run: Callable[[Body], None]) -> None:
    async def body(s: Setting) -> None:
        await s.log_in()
        s.source.refresh()
        status, answer = await s.renew()
        assert status == 200, answer
        found = json.loads(answer)
        assert (found["access_token"], found["refresh_token"]) == (STAND_IN, REFRESH)
        assert 0 < found["expires_in"] <= 3600
        assert s.tokens.asked[-1] == {
            "grant_type": "refresh_token", "refresh_token": s.tokens.refresh[0],
            "client_id": "an-id",
        }  # fmt: skip
        assert s.stored().refresh == Value(s.tokens.refresh[-1])
        asked = len(s.tokens.asked)
        await s.renew()  # a guest that asks all the time does not make us ask
        assert len(s.tokens.asked) == asked
        assert not any(secret in answer for secret in s.secrets())

    run(body)


def test_a_token_that_ends_soon_is_renewed_before_it_is_used(
    run: Callable[[Body], None],
) -> None:
    async def body(s: Setting) -> None:
        s.tokens.life_s = 30
        await s.log_in()
        s.tokens.life_s = 3600
        s.source.refresh()
        answers = await asyncio.gather(*(s.ask("/v1/messages") for _ in range(5)))
        assert {status for status, _ in answers} == {200}
        assert len(s.tokens.access) == 2
        assert {a for _, path, a in s.requests if path == "/v1/messages"} == {
            f"Bearer {s.tokens.access[1]}"
        }

    run(body)


def test_another_supervisors_renewal_counts(run: Callable[[Body], None]) -> None:
    async def body(s: Setting) -> None:
        await s.log_in()
        s.source.refresh()
        await s.ask("/v1/messages")  # it has the tokens of now in memory
        other = CredentialSource(s.where, "other", logins=(_login(s.port),))
        other.refresh()
        other.logins.renewer = s.source.logins.renewer
        new = await other.logins.renew("anthropic", forced=True)
        status, _ = await s.renew()  # the old one was refused inside
        assert status == 200
        assert len(s.tokens.access) == 2
        await s.ask("/v1/messages")
        assert s.requests[-1][2] == f"Bearer {new.access.reveal()}"

    run(body)


def test_a_login_that_has_ended_is_told(run: Callable[[Body], None]) -> None:
    async def body(s: Setting) -> None:
        await s.log_in()
        s.source.refresh()
        s.tokens.refresh.append("another")
        status, answer = await s.renew()
        assert status == 400
        assert json.loads(answer)["error"] == "invalid_grant"
        assert not any(secret in answer for secret in s.secrets())

    run(body)


def test_without_a_login_stand_ins_are_worth_nothing(run: Callable[[Body], None]) -> None:
    async def body(s: Setting) -> None:
        status, answer = await s.renew()
        assert (status, json.loads(answer)["error"]) == (400, "invalid_grant")
        assert s.tokens.asked == []

    run(body)


def test_a_refusal_comes_through_and_quotes_no_token(run: Callable[[Body], None]) -> None:
    async def body(s: Setting) -> None:
        await s.log_in()
        s.source.refresh()
        status, answer = await s.ask(
            "/v1/oauth/token", {"grant_type": "refresh_token", "refresh_token": "wrong"}, form=True
        )
        assert (status, json.loads(answer)["error_description"]) == (400, "wrong")
        real = s.tokens.refresh[-1]
        s.tokens.refresh.append("another")
        status, answer = await s.ask(
            "/v1/oauth/token", {"grant_type": "refresh_token", "refresh_token": real}
        )
        assert status == 400
        assert real.encode() not in answer

    run(body)


def test_a_second_login_is_for_its_sandbox_alone(run: Callable[[Body], None]) -> None:
    async def body(s: Setting) -> None:
        await s.log_in()
        s.source.refresh()
        await s.log_in()
        scopes = {entry.sandbox for entry in read_entries(s.where)}
        assert scopes == {None, "box"}
        s.source.refresh()
        await s.ask("/v1/messages")
        assert s.requests[-1][2] == f"Bearer {s.tokens.access[1]}"

    run(body)


def test_a_key_beats_a_login(run: Callable[[Body], None]) -> None:
    async def body(s: Setting) -> None:
        await s.log_in()
        save(s.where, new_entry(Kind.SERVICE, "anthropic"), Value("sk-key"), overwrite=False)
        s.source.refresh()
        (binding,) = s.source.bindings
        assert binding.variables == ("ANTHROPIC_API_KEY",)
        assert await s.source.value(binding) == Value("sk-key")

    run(body)


@pytest.mark.parametrize(
    "path",
    ["//v1/oauth/token", "/v1/./oauth/token", "/x/../v1/oauth/token", "/v1%2foauth/token",
     "/v1/oauth/token;x"],
)  # fmt: skip
def test_other_spellings_of_the_endpoint_get_nothing(
    run: Callable[[Body], None], path: str
) -> None:
    async def body(s: Setting) -> None:
        status, _ = await s.ask(path, {"grant_type": "authorization_code"})
        assert status == 400
        assert s.requests == []

    run(body)


@pytest.mark.parametrize("path", [KEY_PATH, KEY_PATH.upper(), KEY_PATH + "/", "/api/./x"])
def test_a_login_makes_no_keys(run: Callable[[Body], None], path: str) -> None:
    async def body(s: Setting) -> None:
        await s.log_in()
        s.source.refresh()
        seen = len(s.requests)
        status, answer = await s.ask(path, {}, bearer=STAND_IN)
        assert status in (400, 403), answer
        assert len(s.requests) == seen

    run(body)


@pytest.mark.parametrize("kind", ["gzip", "no-json", "no-tokens", "twice"])
def test_an_answer_that_cannot_be_read_is_withheld(
    run: Callable[[Body], None], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    answers = {
        "gzip": b"\x1f\x8b\x08secret",
        "no-json": b"access_token=secret",
        "no-tokens": b'{"token": "secret"}',
        "twice": b'{"access_token": "secret", "access_token": "other"}',
    }

    def give(_kind: str, _body: bytes) -> tuple[int, bytes]:
        return 200, answers[kind]

    async def body(s: Setting) -> None:
        monkeypatch.setattr(s.tokens, "answer", give)
        status, answer = await s.log_in()
        assert status == 502
        assert b"secret" not in answer
        assert read_entries(s.where) == ()
        assert (await s.proxies.ended()).outcome is Outcome.FAILED

    run(body)


def test_stored_tokens_have_a_time(run: Callable[[Body], None]) -> None:
    async def body(s: Setting) -> None:
        await s.log_in()
        assert 3500 < s.stored().expires_at - time.time() <= 3600
        assert s.stored().scopes == ("user:inference", "user:profile")

    run(body)
