# SPDX-License-Identifier: Apache-2.0
"""Token endpoints: what the guest asks them goes on, and what they give out stays here.

The guest gets stand-ins. When it wants them renewed, the tokens are renewed on this side.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

from sbx.credential.logins import (
    BadTokenAnswerError,
    BadTokenRequestError,
    Login,
    TokenRequest,
    masked_answer,
    own_answer,
    read_answer,
    read_request,
    renewal,
)
from sbx.credential.scrub import Needles, Scrubber
from sbx.credential.tokens import Tokens
from sbx.errors import PermanentError, SbxError, TransientError
from sbx.policy.hosts import Endpoint, HostName
from sbx.policy.paths import plain_path
from sbx.proxy.context import Account, Context
from sbx.proxy.events import Outcome, Via
from sbx.proxy.http.body import BadBodyError
from sbx.proxy.intercept.call import Answer, CallError, call
from sbx.proxy.intercept.grants import Interception, Logins
from sbx.proxy.intercept.messages import Ask, Fields, Sink
from sbx.proxy.intercept.servers import Servers

_MAX_BODY = 64 * 1024
_OVER = (400, 401, 403)  # of an answer to a renewal: the refresh token is not good any more
_KEPT_FIELDS = frozenset({b"content-type", b"date", b"request-id", b"retry-after", b"x-request-id"})


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenAnswer:
    """What the guest gets, and how it is reported."""

    status: int
    body: bytes
    fields: Fields = ((b"content-type", b"application/json"),)
    outcome: Outcome = Outcome.PASSED
    detail: str = ""


def is_token_request(login: Login, ask: Ask) -> bool | None:
    """Whether a request is for tokens; None: some servers would say so, and others not."""
    if ask.method != "POST":
        return False
    path = plain_path(ask.target)
    if path is None:
        return None
    return path.rstrip("/").lower() == login.token_path


async def answer_tokens(
    login: Login,
    ask: Ask,
    sink: Sink,
    ways: tuple[Context, Interception, Servers],
    account: Account,
) -> TokenAnswer:
    """Carry a request to a token endpoint.

    Raises:
        BadBodyError: its body cannot be read.
        TimeoutError: it does not come.
        OSError: the guest's connection broke off.
    """
    context, interception, servers = ways
    logins = interception.logins
    assert logins is not None  # it is where the login comes from
    async with asyncio.timeout(context.limits.head_timeout_s):
        body = await _body(ask, sink)
    try:
        asked = read_request(_first(ask.fields, b"content-type"), body)
    except BadTokenRequestError as error:
        return _error(400, "invalid_request", f"sbx: {error}", Outcome.MALFORMED)
    if asked.asks_with_stand_in(login):
        return await _renewed(login, logins)
    fields = [f for f in ask.fields if f[0] != b"accept-encoding"]
    try:
        answer = await call(
            context, interception, servers, account,
            ask=_ask(ask.method, ask.target, fields, body),
        )  # fmt: skip
    except CallError as error:
        return _error(error.status, "temporarily_unavailable", f"sbx: {error.why}", error.outcome)
    return await _masked(login, logins, asked, answer, str(servers.to.host))


@dataclass(frozen=True, slots=True)
class Renewing:
    """Asks a token endpoint for new tokens, over the way out of the sandbox."""

    context: Context
    interception: Interception

    async def __call__(self, login: Login, tokens: Tokens) -> Tokens:
        """Ask.

        Raises:
            PermanentError: the login has ended.
            TransientError: there is no answer now.
        """
        host = tokens.host if tokens.host in login.token_hosts else login.token_hosts[0]
        to = Endpoint(host=HostName(host), port=login.port)
        account = Account(self.context, Via.EXPLICIT, to)
        account.method, account.path = "POST", login.token_path
        account.credentials = (login.service,)
        servers = Servers(
            to, self.context.upstream, self.interception.trust,
            self.context.limits.connect_timeout_s,
        )  # fmt: skip
        kind, body = renewal(tokens)
        fields = [(b"content-type", kind.encode()), (b"accept", b"application/json")]
        try:
            decision = account.decision = self.context.policy().request(
                to, "POST", login.token_path
            )
            if not decision.allowed:
                account.close(Outcome.BLOCKED, decision=decision)
                raise TransientError(f"the policy does not allow to renew the login at {to}")
            answer = await call(
                self.context, self.interception, servers, account,
                ask=_ask("POST", login.token_path, fields, body),
            )  # fmt: skip
        except CallError as error:
            account.close(error.outcome, detail=error.why)
            raise TransientError(
                f"the login with {login.service} cannot be renewed: {error.why}"
            ) from error
        finally:
            await servers.close()
        account.close(Outcome.PASSED, detail="the tokens of the login were renewed")
        if answer.status in _OVER:
            raise PermanentError(
                f"the login with {login.service} has ended", hint="Log in again in the sandbox"
            )
        try:
            if answer.status != 200:
                raise BadTokenAnswerError(f"its status is {answer.status}")
            return read_answer(answer.body, None, tokens, host=host, now=time.time())
        except BadTokenAnswerError as error:
            raise TransientError(
                f"the answer to the renewal of the login with {login.service} is of no use: {error}"
            ) from None


async def _renewed(login: Login, logins: Logins) -> TokenAnswer:
    """The guest's stand-ins, with the time that the real tokens have."""
    try:
        tokens = await logins.renew(login.service, forced=True)
    except TransientError as error:
        return _error(503, "temporarily_unavailable", f"sbx: {error.message}", Outcome.FAILED)
    except SbxError as error:  # the agent then asks its user to log in
        return _error(400, "invalid_grant", f"sbx: {error.message}", Outcome.FAILED)
    return TokenAnswer(
        status=200,
        body=own_answer(login, tokens, time.time()),
        detail="the tokens stay on the host; the sandbox got stand-ins",
    )


async def _masked(
    login: Login, logins: Logins, asked: TokenRequest, answer: Answer, host: str
) -> TokenAnswer:
    if answer.status != 200:
        return await _refusal(login, logins, answer)
    try:
        tokens = read_answer(answer.body, asked, None, host=host, now=time.time())
        body = masked_answer(login, answer.body, tokens)
        await logins.keep(login, tokens)
    except BadTokenAnswerError as error:
        why = f"sbx: the answer of the token endpoint is withheld: {error}"
        return _error(502, "server_error", why, Outcome.FAILED)
    except SbxError as error:
        why = f"sbx: the tokens cannot be stored: {error.message}"
        return _error(503, "temporarily_unavailable", why, Outcome.FAILED)
    return TokenAnswer(
        status=200,
        body=body,
        fields=_kept(answer),
        detail="a login: its tokens stay on the host; the sandbox got stand-ins",
    )


async def _refusal(login: Login, logins: Logins, answer: Answer) -> TokenAnswer:
    """The server's own words, without what it may quote."""
    if 200 <= answer.status < 300 or any(name == b"content-encoding" for name, _ in answer.fields):
        why = "sbx: the answer of the token endpoint cannot be read"
        return _error(502, "server_error", why, Outcome.FAILED)
    try:
        tokens = await logins.tokens(login.service)
    except SbxError:
        scrubber = Scrubber(Needles(()))
    else:
        pairs = [(tokens.access.reveal().encode(), login.access_stand_in.encode())]
        if tokens.refresh is not None:
            pairs.append((tokens.refresh.reveal().encode(), login.refresh_stand_in.encode()))
        scrubber = Scrubber(Needles(pairs))
    return TokenAnswer(status=answer.status, body=scrubber.text(answer.body), fields=_kept(answer))


def _kept(answer: Answer) -> list[tuple[bytes, bytes]]:
    return [f for f in answer.fields if f[0] in _KEPT_FIELDS]


def _error(status: int, code: str, why: str, outcome: Outcome) -> TokenAnswer:
    body = json.dumps({"error": code, "error_description": why}).encode()
    return TokenAnswer(status=status, body=body, outcome=outcome, detail=why)


def _ask(method: str, target: str, fields: Fields, body: bytes) -> Ask:
    return Ask(
        method=method,
        target=target,
        fields=(*fields, (b"accept-encoding", b"identity")),
        length=len(body),
        body=Whole(body),
    )


class Whole:
    """A body that is there."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def ended(self) -> bool:
        return not self._data

    def take(self) -> bytes:
        data, self._data = self._data, b""
        return data

    async def read(self) -> bytes:
        return self.take()


async def _body(ask: Ask, sink: Sink) -> bytes:
    data = ask.body.take()
    if ask.expects and not ask.body.ended:
        await sink.informational(100, ())
    while not ask.body.ended:
        data += await ask.body.read()
        if len(data) > _MAX_BODY:
            raise BadBodyError("the body of a request for tokens is too long")
    return data


def _first(fields: Fields, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in fields if key == name), "")
