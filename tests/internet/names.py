# SPDX-License-Identifier: Apache-2.0
"""The name servers: a table of names, each with the answers that it gives one after the other."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from ipaddress import ip_address
from typing import cast

import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from tests.internet.facts import NAMES, WEB, Kind, Seen
from tests.internet.log import Log

_TTL_S = 0  # nobody may keep an answer: rebinding is tested with it


class Table:
    """Which addresses a name has, at each look-up."""

    def __init__(self) -> None:
        self._steps: dict[str, list[Sequence[str]]] = {
            name: [addresses] for name, addresses in NAMES.items()
        }

    def set(self, name: str, steps: Sequence[Sequence[str]]) -> None:
        """Give each set of addresses once, and the last one for ever; an empty one is NXDOMAIN."""
        self._steps[name.lower()] = list(steps)

    def ask(self, name: str, version: int) -> list[str] | None:
        """The addresses of one version, or None if the name does not exist.

        A step of a name is used up by a question for IPv4, which comes with each look-up.
        """
        steps = self._steps.get(name)
        if steps is None:
            addresses: Sequence[str] = [WEB] if name.endswith(".test") else []
        else:
            addresses = steps[0]
            if version == 4 and len(steps) > 1:
                del steps[0]
        if not addresses:
            return None
        return [each for each in addresses if ip_address(each).version == version]


class NameServer(asyncio.DatagramProtocol):
    """Answers over UDP and TCP at one address, and notes the questions."""

    def __init__(self, address: str, table: Table, log: Log) -> None:
        self._at = f"{address}:53"
        self._address = address
        self._table = table
        self._log = log
        self._noting: set[asyncio.Task[None]] = set()
        self._transport: asyncio.DatagramTransport | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=(self._address, 53))
        await asyncio.start_server(self._stream, self._address, 53)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if self._transport is not None and (answer := self._answer(data)) is not None:
            self._transport.sendto(answer, addr)

    async def _stream(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                (size,) = struct.unpack("!H", await reader.readexactly(2))
                answer = self._answer(await reader.readexactly(size)) or b""
                writer.write(struct.pack("!H", len(answer)) + answer)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    def _answer(self, data: bytes) -> bytes | None:
        try:
            question = dns.message.from_wire(data)
            [asked] = question.question
        except (dns.exception.DNSException, ValueError):
            self._note("malformed")
            return None
        name = asked.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(asked.rdtype)
        self._note(f"{kind} {name}")
        answer = dns.message.make_response(question)
        answer.flags |= dns.flags.RA
        found = self._table.ask(name, 6 if asked.rdtype == dns.rdatatype.AAAA else 4)
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        elif found and kind in ("A", "AAAA"):
            answer.answer.append(dns.rrset.from_text(asked.name, _TTL_S, "IN", kind, *found))
        return answer.to_wire()

    def _note(self, what: str) -> None:
        entry = Seen(kind=Kind.DNS, at=self._at, what=what)
        task = asyncio.get_running_loop().create_task(self._log.add(entry))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)
