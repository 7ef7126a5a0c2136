# SPDX-License-Identifier: Apache-2.0
"""What a SOCKS5 client says, and what it makes of the answers."""

from __future__ import annotations

import pytest

from sbx.policy.routes import parse_proxy
from sbx.proxy.socks import SocksError, connect
from tests.unit.policy.factories import to

GRANTED = [b"\5\0\0\1", bytes(6)]


def talk(where: str, answers: list[bytes], proxy: str = "socks5h://proxy.test") -> list[bytes]:
    """All that the client says; it must be content with these answers, and need all of them."""
    endpoint = to(where)
    conversation = connect(parse_proxy(proxy), endpoint.host, endpoint.port)
    say, count = next(conversation)
    said, left = [say], list(answers)
    try:
        while True:
            answer = left.pop(0)
            assert len(answer) == count
            say, count = conversation.send(answer)
            said.append(say)
    except StopIteration:
        assert left == []
    return [each for each in said if each]


@pytest.mark.parametrize(
    ("where", "place"),
    [
        ("site.test:443", b"\3\x09site.test\x01\xbb"),
        ("192.0.2.1:80", b"\1\xc0\0\2\1\0\x50"),
        ("[2001:db8::1]:80", b"\4\x20\1\x0d\xb8" + bytes(11) + b"\1\0\x50"),
    ],
)
def test_a_request(where: str, place: bytes) -> None:
    assert talk(where, [b"\5\0", *GRANTED]) == [b"\5\1\0", b"\5\1\0" + place]


@pytest.mark.parametrize(
    "bound", [[b"\5\0\0\1", bytes(6)], [b"\5\0\0\4", bytes(18)], [b"\5\0\0\3", b"\2", bytes(4)]]
)
def test_the_answer_is_read_to_its_end_and_no_further(bound: list[bytes]) -> None:
    assert len(talk("site.test:443", [b"\5\0", *bound])) == 2


def test_user_and_password() -> None:
    said = talk("site.test:443", [b"\5\2", b"\1\0", *GRANTED], "socks5h://me:secret@proxy.test")
    assert said[:2] == [b"\5\2\0\2", b"\1\2me\6secret"]
    said = talk("site.test:443", [b"\5\0", *GRANTED], "socks5h://me:secret@proxy.test")
    assert b"secret" not in b"".join(said), "the proxy did not want it"


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([b"HT"], "does not speak"),
        ([b"\5\xff"], "wants a user"),
        ([b"\5\2"], "wants a user"),
        ([b"\5\0", b"\5\2\0\1"], "not allowed"),
        ([b"\5\0", b"\5\5\0\1"], "refused"),
        ([b"\5\0", b"\5\x63\0\1"], "failure 99"),
        ([b"\5\0", b"\5\0\0\7"], "does not speak"),
    ],
)
def test_refusals(answers: list[bytes], words: str) -> None:
    with pytest.raises(SocksError, match=words):
        talk("site.test:443", answers)


def test_a_wrong_password() -> None:
    with pytest.raises(SocksError, match="does not accept"):
        talk("site.test:443", [b"\5\2", b"\1\1"], "socks5h://me:no@proxy.test")
