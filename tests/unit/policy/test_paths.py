# SPDX-License-Identifier: Apache-2.0
"""A request path has one plain form or none; globs of paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sbx.errors import UserError
from sbx.policy.paths import MAX_PATH, parse_glob, plain_path


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a/b", "/a/b"),
        ("/a/b/", "/a/b/"),
        ("/a?b=/../c", "/a"),
        ("/a?b=%2f#", "/a"),
        ("/%61%2D%7E", "/a-~"),
        ("/a%20b", "/a b"),
        ("/%C3%A9t%C3%A9", "/été"),
        ("/a..b/...", "/a..b/..."),
        ("/@scope/name", "/@scope/name"),
        ("/a:b@c,d=e!$&'()*+", "/a:b@c,d=e!$&'()*+"),
    ],
)
def test_the_plain_form(target: str, path: str) -> None:
    assert plain_path(target) == path


@pytest.mark.parametrize(
    "target",
    [
        *("", "*", "a", "http://a/b", "//a", "/a//b", "/./a", "/a/.", "/../a", "/a/..", "/a/../b"),
        *("/%2e/a", "/%2E%2e/a", "/a%2fb", "/a%2Fb", "/a;x", "/a;/b", "/a%3bx", "/a\\b", "/a%5cb"),
        *("/%00", "/%0a", "/a b", "/a\tb", "/%7f", "/a#b", "/%23", "/%3f", "/%", "/%4", "/%zz"),
        *(
            "/%252e",
            "/%25",
            "/%u0061",
            "/\u00e9t\u00e9",
            "/%ff",
            "/%c0%af",
            "/%ef%bc%8f",
            "/%e2%84%aa",
        ),
        "/" + "a" * MAX_PATH,
    ],
)
def test_what_two_servers_could_read_differently_has_none(target: str) -> None:
    assert plain_path(target) is None


@given(st.text(alphabet="/.%2ef5cC;a\\ ?#", max_size=20))
def test_a_plain_path_has_nothing_left_to_resolve(target: str) -> None:
    path = plain_path(target)
    if path is not None:
        assert path.startswith("/")
        segments = path.split("/")[1:]
        assert not {".", ".."} & set(segments)
        assert "" not in segments[:-1]
        assert not set("\\;%?#") & set(path)


@pytest.mark.parametrize(
    ("glob", "matches", "others"),
    [
        ("/**", ["/", "/a", "/a/b"], []),
        ("/a", ["/a"], ["/", "/a/", "/ab", "/A", "/a/b"]),
        ("/a/", ["/a/"], ["/a"]),
        ("/a/*", ["/a/b", "/a/"], ["/a", "/a/b/c"]),
        ("/a/**", ["/a", "/a/", "/a/b", "/a/b/c"], ["/ab", "/b/a"]),
        ("/**/b", ["/b", "/a/b", "/a/c/b"], ["/b/a", "/ab"]),
        ("/a/**/b/**/c", ["/a/b/c", "/a/x/b/y/z/c", "/a/b/b/c/c"], ["/a/c/b", "/a/bx/c"]),
        ("/v[12]/x?", ["/v1/xy", "/v2/x1"], ["/v3/xy", "/v1/x", "/v1/x/"]),
        ("/a.b", ["/a.b"], ["/axb"]),
    ],
)
def test_globs(glob: str, matches: list[str], others: list[str]) -> None:
    found = parse_glob(glob)
    every = [*matches, *others]
    assert [path for path in every if found.matches(path, lenient=False)] == matches


@pytest.mark.parametrize(
    ("glob", "path"),
    [("/a", "/A"), ("/a", "/a/"), ("/a/", "/a"), ("/A/**", "/a/B"), ("/**/b", "/x/B/")],
)
def test_a_deny_is_lenient(glob: str, path: str) -> None:
    assert parse_glob(glob).matches(path, lenient=True)


def test_a_glob_of_a_kit_cannot_burn_time() -> None:
    glob = parse_glob("/**/a" * 30 + "/" + "*a" * 30 + "/c")
    assert not glob.matches("/a" * 60 + "/" + "a" * 2000, lenient=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "//",
        "/a//b",
        "/./a",
        "/a/..",
        "/a**",
        "/a/b**/c",
        "/a b",
        "/a%20",
        "/a;b",
        "/a#",
        "/[",
        "/[]",
        "/[z-a]",
        "/a\\b",
        "/\x00",
        "/" + "a" * MAX_PATH,
    ],
)
def test_bad_globs_are_refused(text: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_glob(text)
    assert caught.value.message.isprintable()
