# SPDX-License-Identifier: Apache-2.0
"""A versioned file: what comes back, and what is not understood."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from sbx.errors import PermanentError
from sbx.store.documents import read_document, write_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Something that is stored."""

    words: tuple[str, ...]


def _damaged(path: Path, why: str) -> PermanentError:
    return PermanentError(f"{path.name}: {why}")


def read(path: Path) -> Form | None:
    return read_document(path, Form, version=2, limit_bytes=100, damaged=_damaged)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    assert read(path) is None
    write_document(path, Form(words=("a", "ü")), version=2)
    assert read(path) == Form(words=("a", "ü"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "Expecting"),
        ("[]", "version None, this program knows 2"),
        ('{"version": 3, "words": []}', "version 3, this program knows 2"),
        ('{"version": 2, "words": [], "more": 1}', "more"),
        ('{"version": 2, "words": 1}', "words"),
        (" " * 200, "file"),
    ],
)
def test_what_is_not_understood_says_why(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "file"
    path.write_text(text)
    with pytest.raises(PermanentError, match=why):
        read(path)
