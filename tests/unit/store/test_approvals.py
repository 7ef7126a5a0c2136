# SPDX-License-Identifier: Apache-2.0
"""Questions to the user: asked once, bounded, gone with their sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.policy.hosts import Protocol
from sbx.store.approvals import MAX_PENDING, answered, ask, forget_questions, pending
from sbx.store.paths import Paths
from tests.kit.fake_supervisor import paths_below


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    return paths_below(tmp_path)


def test_a_question_is_put_once(where: Paths) -> None:
    assert pending(where) == []
    first = ask(where, "one", "a.com", 443)
    assert first is not None
    assert ask(where, "one", "a.com", 443) is None
    assert pending(where) == [first]
    for other in (("one", "a.com", 80), ("one", "a.com", None), ("two", "a.com", 443)):
        assert ask(where, *other) is not None
    assert ask(where, "one", "a.com", 443, Protocol.UDP) is not None
    assert len({one.id for one in pending(where)}) == 5


def test_an_answer_takes_it_back_and_it_can_be_asked_again(where: Paths) -> None:
    one = ask(where, "one", "a.com", 443)
    assert one is not None
    answered(where, one)
    answered(where, one)
    assert pending(where) == []
    assert ask(where, "one", "a.com", 443) is not None


@pytest.mark.parametrize(
    ("host", "port", "resource"),
    [
        ("a.com", 443, "a.com:443"),
        ("a.com", None, "a.com"),
        ("2001:db8::1", 22, "[2001:db8::1]:22"),
    ],
)
def test_the_pattern_that_would_allow_it(
    where: Paths, host: str, port: int | None, resource: str
) -> None:
    one = ask(where, "one", host, port)
    assert one is not None
    assert one.resource == resource


def test_there_is_a_bound(where: Paths) -> None:
    for number in range(MAX_PENDING + 10):
        ask(where, "one", f"h{number}.com", 443)
    assert len(pending(where)) == MAX_PENDING
    assert ask(where, "two", "a.com", 443) is not None


def test_they_go_with_the_sandbox(where: Paths) -> None:
    ask(where, "one", "a.com", 443)
    ask(where, "two", "a.com", 443)
    forget_questions(where, "one")
    forget_questions(where, "nosuch")
    assert [one.sandbox for one in pending(where)] == ["two"]


def test_what_cannot_be_read_is_none(where: Paths) -> None:
    one = ask(where, "one", "a.com", 443)
    assert one is not None
    path = where.state / "approvals/one" / f"{one.id}.json"
    (path.parent / "other.json").write_bytes(path.read_bytes())
    path.write_text("{")
    assert pending(where) == []
