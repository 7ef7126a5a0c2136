# SPDX-License-Identifier: Apache-2.0
"""The control channel: requests of the supervisor come in, answers and events go out.

The port stays open for the machine's whole life, the other end may come and go (a restored snapshot
has a new one), so what is half received or unsent is forgotten when the host leaves.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable

from .loop import EDGE, READ, WRITE, Loop
from .wire import ANSWER, CONTROL_IN, EVENT, Decoder, Fields, Json, WireError, message, parse

PORT_NAME = "org.opensbx.control"
_READ_BYTES = 32 * 1024
_MAX_QUEUE_BYTES = 4 << 20
_MAX_ID = (1 << 53) - 1

Handler = Callable[[Fields], Awaitable[Json]]


class RequestError(Exception):
    """A request that cannot be carried out; the code is for programs, the text for people."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class ControlChannel:
    """Serves `handlers` (request type -> coroutine) on a descriptor, one request at a time each."""

    def __init__(self, loop: Loop, fd: int, handlers: dict[str, Handler]) -> None:
        self._loop = loop
        self._fd = fd
        self._handlers = handlers
        self._decoder = Decoder(CONTROL_IN)
        self._out = bytearray()
        self.on_host_lost: Callable[[], None] | None = None
        os.set_blocking(fd, False)
        # Edge-triggered: while no host is there the port reports a hang-up without end.
        loop.watch(fd, READ | WRITE | EDGE, lambda _events: self._serve())
        self._serve()

    @property
    def is_flushed(self) -> bool:
        """Whether everything said was handed to the host."""
        return not self._out

    def event(self, body: Json) -> None:
        """Tell the host something; dropped if the host has not read for long."""
        if len(self._out) < _MAX_QUEUE_BYTES:
            self._send(message(EVENT, body))

    def close(self) -> None:
        self._loop.unwatch(self._fd)
        os.close(self._fd)

    def _serve(self) -> None:
        self._flush()
        while True:
            try:
                data = os.read(self._fd, _READ_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self._reset()
                return
            try:
                self._take(data)
            except WireError as error:
                self._reset()
                self.event({"event": "log", "text": f"control channel: {error}"})

    def _take(self, data: bytes) -> None:
        self._decoder.feed(data)
        while (found := self._decoder.next()) is not None:
            fields = parse(found[1])
            number, kind = fields.integer("id", 0, _MAX_ID), fields.text("type", 64)
            self._loop.start(self._answer(number, kind, fields))

    async def _answer(self, number: int, kind: str, fields: Fields) -> None:
        handler = self._handlers.get(kind)
        try:
            if handler is None:
                raise RequestError("unknown_request", f"unknown request: {kind}")
            body: Json = {"id": number, "ok": True, "result": await handler(fields)}
        except RequestError as error:
            body = _failure(number, error.code, str(error))
        except WireError as error:
            body = _failure(number, "protocol", str(error))
        except Exception as error:  # noqa: BLE001 - the host must get an answer to everything
            body = _failure(number, "internal", f"{type(error).__name__}: {error}")
        self._send(message(ANSWER, body))

    def _send(self, data: bytes) -> None:
        self._out += data
        self._flush()

    def _flush(self) -> None:
        while self._out:
            try:
                sent = os.write(self._fd, memoryview(self._out)[:_READ_BYTES])
            except BlockingIOError:
                return
            except OSError:  # no host
                return
            del self._out[:sent]

    def _reset(self) -> None:
        self._decoder = Decoder(CONTROL_IN)
        self._out.clear()
        if self.on_host_lost is not None:
            self.on_host_lost()


def _failure(number: int, code: str, text: str) -> Json:
    return {"id": number, "ok": False, "error": {"code": code, "message": text[:4096]}}


def open_port() -> int:
    """The virtio-serial port of the control channel.

    Raises:
        FileNotFoundError: the machine has none.
    """
    folder = "/sys/class/virtio-ports"
    for name in os.listdir(folder):
        with open(f"{folder}/{name}/name") as file:
            if file.read().strip() == PORT_NAME:
                return os.open(f"/dev/{name}", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    raise FileNotFoundError(f"no virtio-serial port named {PORT_NAME}")
