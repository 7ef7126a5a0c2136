# SPDX-License-Identifier: Apache-2.0
"""The APIs of model makers, at the names that they have in the world, behind the key of the test.

Who asks without exactly that key, in the header of that service, is told 401 as by the real ones.
What was asked is in the log of the test internet, with all headers.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.internet.exchange import Exchange
from tests.internet.model import anthropic, copilot, gemini, openai
from tests.internet.model.json_body import Body
from tests.internet.model.script import Call, Move, ScriptError, Turn, decide

JSON = [("content-type", "application/json")]
EVENTS = [("content-type", "text/event-stream"), ("cache-control", "no-cache")]


@dataclass(slots=True)
class Script:
    """What the test has told the models to do, and the key that they accept."""

    key: str = ""
    moves: Sequence[Move] = ()


async def serve_anthropic(script: Script, exchange: Exchange) -> None:
    """`api.anthropic.com`."""
    body = await _body(exchange)
    if not await _known(exchange, script.key in _all(exchange, "x-api-key")):
        return
    if exchange.path != "/v1/messages":
        await _json(exchange, {"input_tokens": 10}, 200 if "count_tokens" in exchange.path else 404)
        return
    if (said := await _decided(script, exchange, anthropic.turn_of(body))) is None:
        return
    if body.get("stream"):
        await _stream(exchange, _typed(anthropic.events(body, said)))
    else:
        await _json(exchange, anthropic.answer(body, said))


async def serve_openai(script: Script, exchange: Exchange) -> None:
    """`api.openai.com`."""
    body = await _body(exchange)
    if await _known(exchange, _bearer(script, exchange)):
        await _openai(script, exchange, body)


async def serve_gemini(script: Script, exchange: Exchange) -> None:
    """`generativelanguage.googleapis.com`."""
    body = await _body(exchange)
    if not await _known(exchange, script.key in _all(exchange, "x-goog-api-key")):
        return
    verb = exchange.path.rpartition(":")[2]
    if verb not in ("generateContent", "streamGenerateContent"):
        await _json(exchange, {"totalTokens": 10}, 200 if verb == "countTokens" else 404)
        return
    if (said := await _decided(script, exchange, gemini.turn_of(body))) is None:
        return
    if verb == "streamGenerateContent":
        await _stream(exchange, [(None, gemini.answer(body, said))])
    else:
        await _json(exchange, gemini.answer(body, said))


async def serve_github(script: Script, exchange: Exchange) -> None:
    """`api.github.com`, as far as Copilot asks it."""
    await exchange.body()
    is_user = exchange.path == "/copilot_internal/user"
    if await _known(exchange, _bearer(script, exchange)):
        await _json(exchange, copilot.user() if is_user else {}, 200 if is_user else 404)


async def serve_copilot(script: Script, exchange: Exchange) -> None:
    """Where GitHub's models are: with the paths of OpenAI, and a list of its own."""
    body = await _body(exchange)
    if not await _known(exchange, _bearer(script, exchange)):
        return
    if exchange.path == "/models":
        await _json(exchange, copilot.models())
    else:
        await _openai(script, exchange, body)


async def _openai(script: Script, exchange: Exchange, body: Body) -> None:
    verb = exchange.path.removeprefix("/v1")
    turns = {"/responses": openai.responses_turn, "/chat/completions": openai.chat_turn}
    if verb not in turns:
        await _json(exchange, {"object": "list", "data": []}, 200 if verb == "/models" else 404)
        return
    if (said := await _decided(script, exchange, turns[verb](body))) is None:
        return
    if verb == "/responses":
        if body.get("stream"):
            await _stream(exchange, _typed(openai.responses_events(body, said)))
        else:
            await _json(exchange, openai.responses_answer(body, said))
    elif body.get("stream"):
        await _stream(exchange, ((None, one) for one in openai.chat_events(body, said)), "[DONE]")
    else:
        await _json(exchange, openai.chat_answer(body, said))


HOSTS: Mapping[str, Callable[[Script, Exchange], Awaitable[None]]] = {
    "api.anthropic.com": serve_anthropic,
    "api.openai.com": serve_openai,
    "generativelanguage.googleapis.com": serve_gemini,
    "api.github.com": serve_github,
    copilot.API: serve_copilot,
}


async def _body(exchange: Exchange) -> Body:
    data = await exchange.body()
    return json.loads(data) if data else {}


def _all(exchange: Exchange, name: str) -> list[str]:
    return exchange.seen.header(name)


def _bearer(script: Script, exchange: Exchange) -> bool:
    return f"Bearer {script.key}" in _all(exchange, "authorization")


async def _known(exchange: Exchange, known: bool) -> bool:
    if not known:
        error = {"type": "authentication_error", "message": "invalid key"}
        await _json(exchange, {"type": "error", "error": error}, 401)
    return known


async def _decided(script: Script, exchange: Exchange, turn: Turn) -> Call | str | None:
    """What the model says; a script that does not fit is an error of the server, told in words."""
    try:
        return decide(script.moves, turn)
    except ScriptError as error:
        detail = {"type": "invalid_request_error", "message": f"script: {error}"}
        await _json(exchange, {"type": "error", "error": detail}, 400)
        return None


async def _json(exchange: Exchange, data: object, status: int = 200) -> None:
    await exchange.answer(json.dumps(data).encode(), status, JSON)


def _typed(
    events: Iterable[tuple[str, Mapping[str, object]]],
) -> Iterable[tuple[str, Mapping[str, object]]]:
    """Events that say their kind in the data, and their number, as those of OpenAI do."""
    for number, (kind, data) in enumerate(events):
        yield kind, {"type": kind, "sequence_number": number, **data}


async def _stream(
    exchange: Exchange, events: Iterable[tuple[str | None, object]], last: str | None = None
) -> None:
    """Server-sent events."""
    await exchange.start(headers=EVENTS)
    for kind, data in events:
        name = f"event: {kind}\n" if kind else ""
        await exchange.write(f"{name}data: {json.dumps(data)}\n\n".encode())
    await exchange.write(f"data: {last}\n\n".encode() if last else b"", more=False)
