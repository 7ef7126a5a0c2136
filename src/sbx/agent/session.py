# SPDX-License-Identifier: Apache-2.0
"""The command line's end of a session: one request on an authenticated socket.

Synchronous: the calling program has nothing else to do meanwhile.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from sbx.agent.broken import broken
from sbx.agent.pump import Controls, EndKind, ExecEnd, Pump, Resize, Signal, Streams
from sbx.agent.trees import AnsweredError, TreeReceiver, TreeReport, TreeSender
from sbx.errors import PermanentError, SbxError, TransientError, UserError
from sbx.protocol.frames import (
    CHUNK_BYTES,
    OPENED_IN,
    TREE_IN,
    TREE_RESULT_IN,
    FrameDecoder,
    FrameType,
    ProtocolError,
)
from sbx.protocol.session import (
    ExecRequest,
    Failure,
    GetRequest,
    PathKind,
    PutRequest,
    Request,
    StatRequest,
    Terminal,
    encode_open,
    parse_facts,
    parse_failure,
)

__all__ = [
    "Controls",
    "EndKind",
    "ExecEnd",
    "ExecRequest",
    "PathKind",
    "Resize",
    "Session",
    "Signal",
    "Streams",
    "Terminal",
]

_OPEN_TIMEOUT_S = 60.0


class Session:
    """A connected, authenticated socket, for exactly one of the requests below."""

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
        failure = self._open(request)
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
            raise _refused(failure)
        return ExecEnd(kind=EndKind.FAILED, status=failure.status, message=failure.message)

    def stat(self, path: str, *, follow: bool = True) -> PathKind | None:
        """What is at a path of the sandbox; None if nothing is."""
        self._send(encode_open(StatRequest(path=path, follow=follow)))
        kind, payload = self._receive()
        if kind is FrameType.FAILED:
            raise _refused(_failure(payload))
        try:
            return parse_facts(payload)
        except ProtocolError as error:
            raise broken(error) from error

    def get(self, request: GetRequest, receiver: TreeReceiver) -> TreeReport:
        """Receive what is at a path of the sandbox.

        Raises:
            UserError: the guest cannot read it.
            PermanentError: the guest breaks the protocol.
            OSError: it cannot be written here.
        """
        self._must_open(request)
        self._decoder.limits = TREE_IN
        try:
            while True:
                kind, payload = self._receive()
                if kind is FrameType.FAILED:
                    raise _refused(_failure(payload))
                if not receiver.take(kind, payload):
                    return receiver.report
        except ProtocolError as error:
            raise broken(error) from error
        finally:
            receiver.close()

    def put(
        self, request: PutRequest, sender: Callable[[TreeSender], None], *, follow: bool
    ) -> TreeReport:
        """Send entries into a folder of the sandbox; `sender` says which.

        Raises:
            UserError: the guest cannot write them.
            OSError: they cannot be read here.
        """
        self._must_open(request)
        self._decoder.limits = TREE_RESULT_IN
        tree = TreeSender(self._sock, follow=follow)
        # A guest that answers before the end, or stops listening, says why.
        with contextlib.suppress(AnsweredError, BrokenPipeError, ConnectionResetError):
            sender(tree)
        kind, payload = self._receive()
        if kind is FrameType.FAILED:
            raise _refused(_failure(payload))
        return tree.report

    def _must_open(self, request: Request) -> None:
        failure = self._open(request)
        if failure is not None:
            raise _refused(failure)

    def _open(self, request: Request) -> Failure | None:
        """Send the request; None when it was accepted."""
        self._send(encode_open(request))
        kind, payload = self._receive()
        if kind is FrameType.STARTED:
            return None
        if kind is not FrameType.FAILED:
            raise broken(ProtocolError(f"unexpected {kind.name}"))
        return _failure(payload)

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


def _failure(payload: bytes) -> Failure:
    try:
        return parse_failure(payload)
    except ProtocolError as error:
        raise broken(error) from error


def _refused(failure: Failure) -> SbxError:
    match failure.code:
        case "files":
            return UserError(failure.message)
        case "no_sandbox" | "busy":
            return TransientError(failure.message, hint="Try again")
        case _:
            return PermanentError(f"guest agent refused: {failure.message}")
