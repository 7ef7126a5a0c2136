# SPDX-License-Identifier: Apache-2.0
"""The command line's end of a session that moves files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from sbx.agent.broken import broken
from sbx.agent.session import Session, read_failure, refused
from sbx.agent.trees import AnsweredError, TreeReceiver, TreeReport, TreeSender
from sbx.protocol.files import (
    FileRequest,
    GetRequest,
    PathKind,
    PutRequest,
    StatRequest,
    encode_request,
    parse_facts,
)
from sbx.protocol.frames import TREE_IN, TREE_RESULT_IN, FrameType, ProtocolError


class FileSession(Session):
    """A session for exactly one of the requests below."""

    def stat(self, path: str, *, follow: bool = True) -> PathKind | None:
        """What is at a path of the sandbox; None if nothing is."""
        self._send(encode_request(StatRequest(path=path, follow=follow)))
        kind, payload = self._receive()
        if kind is FrameType.FAILED:
            raise refused(read_failure(payload))
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
                    raise refused(read_failure(payload))
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
            raise refused(read_failure(payload))
        return tree.report

    def _must_open(self, request: FileRequest) -> None:
        failure = self._open(encode_request(request))
        if failure is not None:
            raise refused(failure)
