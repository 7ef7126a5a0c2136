# SPDX-License-Identifier: Apache-2.0
"""The opening of a session connection: both sides prove that they hold the session key.

HMAC-SHA256 over both fresh numbers, in another order and with another label for each side, so that
no proof can be sent back or used again.
"""

from __future__ import annotations

import hashlib
import hmac

from sbx.protocol.fields import b64, encode_message, parse
from sbx.protocol.frames import GENERATION, FrameType, ProtocolError

NONCE_BYTES = 32
_CLIENT, _SERVER = b"sbx session client", b"sbx session server"
_PROOF_BYTES = 32


class ClientHandshake:
    """The host's side; `nonce` must be fresh random bytes."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._key = key
        self._nonce = nonce
        self._theirs = b""

    def answer(self, hello: bytes) -> bytes:
        """The AUTH frame in answer to the payload of HELLO.

        Raises:
            ProtocolError: it does not fit.
        """
        fields = parse(hello)
        fields.integer("generation", 1, 1 << 30)
        self._theirs = fields.data("nonce", NONCE_BYTES)
        if len(self._theirs) != NONCE_BYTES:
            raise ProtocolError("`nonce`: too short")
        proof = self._prove(_CLIENT + self._theirs + self._nonce)
        body: dict[str, object] = {
            "generation": GENERATION,
            "nonce": b64(self._nonce),
            "proof": b64(proof),
        }
        return encode_message(FrameType.AUTH, body)

    def is_genuine(self, welcome: bytes) -> bool:
        """Whether the payload of WELCOME proves that the guest holds the key.

        Raises:
            ProtocolError: it does not fit.
        """
        proof = parse(welcome).data("proof", _PROOF_BYTES)
        expected = self._prove(_SERVER + self._nonce + self._theirs)
        return hmac.compare_digest(proof, expected)

    def _prove(self, data: bytes) -> bytes:
        return hmac.digest(self._key, data, hashlib.sha256)
