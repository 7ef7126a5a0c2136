# SPDX-License-Identifier: Apache-2.0
"""Which URLs a sandbox may clone, and what the clone is called."""

from __future__ import annotations

import pytest

from sbx.errors import UserError
from sbx.workspace.git.from_url import check_url, folder_name, is_url


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://forge.test/a/demo.git", "demo"),
        ("https://forge.test/a/demo/", "demo"),
        ("http://forge.test:8080/demo.git?x=1#y", "demo"),
        ("https://forge.test/a/..git", "repository"),
        ("https://forge.test/a/$(id);x.git", "id-x"),
    ],
)
def test_what_can_be_cloned(url: str, name: str) -> None:
    assert is_url(url)
    assert check_url(url) == url
    assert folder_name(url) == name


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("git@forge.test:a/b.git", "no other way out"),
        ("ssh://forge.test/a", "no other way out"),
        ("file:///etc", "no other way out"),
        ("ext::sh -c id", "no other way out"),
        ("https://user:secret@forge.test/a", "credential"),
        ("https://secret@forge.test/a", "credential"),
        ("https://", "not the URL"),
        ("https://forge.test/", "not the URL"),
        ("https://forge.test/a\nb", "not the URL"),
        ("https://[::1/a", "not the URL"),
        ("https://forge.test:x/a", "not the URL"),
    ],
)
def test_what_cannot(url: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


def test_a_folder_is_none() -> None:
    assert not is_url("./x")
    assert not is_url("/a/b")
