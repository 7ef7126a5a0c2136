# SPDX-License-Identifier: Apache-2.0
"""The command line's end of a session: one request on an authenticated socket.

Synchronous: the calling program has nothing else to do meanwhile.
"""

from __future__ import annotations

import socket

from sbx.agent.broken import broken
from sbx.agent.pump import Controls, EndKind, ExecEnd, Pump, Resize, Signal, Streams
from sbx.errors import PermanentError, SbxError, TransientError, UserError
from sbx.protocol.frames import CHUNK_BYTES, OPENED_IN, FrameDecoder, FrameType, ProtocolError
from sbx.protocol.session import ExecRequest, Failure, Terminal, encode_open, parse_failure

__all__ = [
    "Controls",
    "EndKind",
    "ExecEnd",
    "ExecRequest",
    "Resize",
    "Session",
    "Signal",
    "Streams",
    "Terminal",
]

_OPEN_TIMEOUT_S = 60.0


class Session:
    """A connected, authenticated socket, for exactly one request."""

    def __init__(self, sock: socket.socket, *, watch: int | None = None) -> None:
        self._sock = sock
        self._watch = watch  # see Pump
        self._decoder = FrameDecoder(OPENED_IN)

    def exec(
        self,
        request: ExecRequest,
        streams: Streams,
        *,
        controls: Controls | None = None,
        detach_keys: bytes = b"",
    ) -> ExecEnd:
        """Run a command and move its bytes until it ends, or until the detach keys are typed.

        Raises:
            TransientError: the guest agent does not answer or refuses for now.
            PermanentError: it breaks the protocol.
        """
        failure = self._open(encode_open(request))
        if failure is None:
            keys = detach_keys if request.terminal is not None else b""
            return Pump(
                self._sock,
                streams,
                decoder=self._decoder,
                controls=controls,
                detach_keys=keys,
                watch=self._watch,
            ).run()
        if failure.code != "exec":
            raise refused(failure)
        return ExecEnd(kind=EndKind.FAILED, status=failure.status, message=failure.message)

    def _open(self, frame: bytes) -> Failure | None:
        """Send a request; None when it was accepted."""
        self._send(frame)
        kind, payload = self._receive()
        if kind is FrameType.STARTED:
            return None
        if kind is not FrameType.FAILED:
            raise broken(ProtocolError(f"unexpected {kind.name}"))
        return read_failure(payload)

    def _send(self, data: bytes) -> None:
        self._sock.settimeout(_OPEN_TIMEOUT_S)
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise TransientError("guest agent is gone", details=str(error)) from error

    def _receive(self) -> tuple[FrameType, bytes]:
        try:
            while (found := self._decoder.next()) is None:
                data = self._sock.recv(4 * CHUNK_BYTES)
                if not data:
                    raise TransientError("guest agent ended the connection")
                self._decoder.feed(data)
        except ProtocolError as error:
            raise broken(error) from error
        except TimeoutError as error:
            raise TransientError("guest agent did not answer in time", hint="Try again") from error
        except OSError as error:
            raise TransientError("guest agent is gone", details=str(error)) from error
        return found


def read_failure(payload: bytes) -> Failure:
    """The payload of a FAILED frame (PermanentError: it is none)."""
    try:
        return parse_failure(payload)
    except ProtocolError as error:
        raise broken(error) from error


def refused(failure: Failure) -> SbxError:
    """What a failure means to whoever asked."""
    match failure.code:
        case "files":
            return UserError(failure.message)
        case "no_sandbox" | "busy":
            return TransientError(failure.message, hint="Try again")
        case _:
            return PermanentError(f"guest agent refused: {failure.message}")
