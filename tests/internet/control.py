# SPDX-License-Identifier: Apache-2.0
"""What a test may ask of the test internet: one JSON object for each line, over a Unix socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import cast

from tests.internet.certificates import Authority
from tests.internet.facts import Kind, Step
from tests.internet.log import Gates, Log
from tests.internet.model.script import Move
from tests.internet.model.serve import Script
from tests.internet.names import Table
from tests.internet.packets import Sniffer
from tests.internet.raw import Raw

LIMIT_BYTES = 64 * 1024 * 1024


class Control:
    """Answers requests; a failure is an answer too."""

    def __init__(
        self,
        *,
        authority: Authority,
        table: Table,
        log: Log,
        gates: Gates,
        raw: Raw,
        sniffer: Sniffer,
        script: Script,
    ) -> None:
        self._authority = authority
        self._table = table
        self._log = log
        self._gates = gates
        self._raw = raw
        self._sniffer = sniffer
        self._script = script

    async def start(self, path: Path) -> None:
        await asyncio.start_unix_server(self._serve, path, limit=LIMIT_BYTES)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                try:
                    answer: object = {"ok": await self._do(json.loads(line))}
                except Exception as error:  # noqa: BLE001 - the test is told
                    answer = {"error": repr(error)}
                writer.write(json.dumps(answer).encode() + b"\n")
                await writer.drain()
        writer.close()

    async def _do(self, request: dict[str, object]) -> object:
        kind = Kind(cast("str", request["kind"])) if request.get("kind") else None
        match request["do"]:
            case "name":
                steps = cast("list[list[str]]", request["steps"])
                self._table.set(cast("str", request["name"]), steps)
            case "seen":
                found = self._log.matching(kind, cast("str", request["text"]))
                return [each.to_json() for each in found]
            case "wait":
                text, count = cast("str", request["text"]), cast("int", request["count"])
                return [each.to_json() for each in await self._log.wait(kind, text, count)]
            case "forget":
                self._log.entries.clear()
                self._sniffer.kinds.clear()
            case "script":
                given = cast("list[list[str]]", request["script"])
                script = [Step.from_json(each) for each in given]
                port, tls = cast("int", request["port"]), cast("bool", request["tls"])
                await self._raw.script(port, script, tls=tls)
            case "release":
                self._gates.release(cast("str", request["key"]))
            case "certificate":
                return str(self._authority.for_name(cast("str", request["name"])))
            case "model":
                moves = cast("list[dict[str, str]]", request["moves"])
                self._script.key = cast("str", request["key"])
                self._script.moves = [Move.from_json(each) for each in moves]
            case "packets":
                return sorted(self._sniffer.kinds)
            case unknown:
                raise ValueError(f"unknown request {unknown}")
        return None
