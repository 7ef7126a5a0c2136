# SPDX-License-Identifier: Apache-2.0
"""The grammar of patterns, and the help for those who miss it."""

from __future__ import annotations

import pytest

from sbx.policy.hosts import BadHostError
from sbx.policy.patterns import (
    Form,
    glob_regex,
    parse_kit_entry,
    parse_resource,
    parse_resources,
)


@pytest.mark.parametrize(
    ("text", "form", "shown"),
    [
        ("example.com", Form.NAME, "example.com"),
        ("Example.COM.:443", Form.NAME, "example.com.:443"),
        (" example.com:443 ", Form.NAME, "example.com:443"),
        ("localhost:8080", Form.NAME, "localhost:8080"),
        ("host.docker.internal:8080", Form.NAME, "localhost:8080"),
        ("*.example.com", Form.CHILD, "*.example.com"),
        ("**.example.com:80", Form.TREE, "**.example.com:80"),
        ("**.bücher.example", Form.TREE, "**.xn--bcher-kva.example"),
        ("crl*.example.com", Form.GLOB, "crl*.example.com"),
        ("*.*.example.com", Form.GLOB, "*.*.example.com"),
        ("a?.example.com", Form.GLOB, "a?.example.com"),
        ("a[12].example.com:1", Form.GLOB, "a[12].example.com:1"),
        ("[!1].example.com", Form.GLOB, "[!1].example.com"),
        ("[a-f]x.example.com", Form.GLOB, "[a-f]x.example.com"),
        ("8.8.8.8", Form.NETWORK, "8.8.8.8"),
        ("8.8.8.8:53", Form.NETWORK, "8.8.8.8:53"),
        ("10.0.0.0/8", Form.NETWORK, "10.0.0.0/8"),
        ("10.0.0.0/8:22", Form.NETWORK, "10.0.0.0/8:22"),
        ("FD00::/8", Form.NETWORK, "fd00::/8"),
        ("[fd00::/8]:22", Form.NETWORK, "[fd00::/8]:22"),
        ("[2001:DB8::1]", Form.NETWORK, "[2001:db8::1]"),
        ("[2001:db8::1]:443", Form.NETWORK, "[2001:db8::1]:443"),
        ("[::ffff:10.0.0.1]:443", Form.NETWORK, "10.0.0.1:443"),
        ("**", Form.ANY, "**"),
        ("**:443", Form.ANY, "**:443"),
    ],
)
def test_patterns(text: str, form: Form, shown: str) -> None:
    found = parse_resource(text)
    assert found.form is form
    assert str(found) == shown.replace(".:", ":")
    assert parse_resource(str(found)) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("*", "bare `*`"),
        ("*:443", "bare `*`"),
        ("fd00::1", "stands in brackets"),
        ("::1", "stands in brackets"),
        ("https://example.com/x", "not URLs"),
        ("example.com/x", "has a path"),
        ("", "empty"),
        ("***.example.com", "stands alone or at the start"),
        ("a.**.example.com", "stands alone or at the start"),
        ("a**.example.com", "stands alone or at the start"),
        ("**.", "empty"),
        ("*.", "empty"),
        ("**.8.8.8.8", "no names below"),
        ("*.host.docker.internal", "no names below"),
        ("10.0.0.*", "addresses have no wildcards"),
        ("10.0.0.1?", "no name ends in a number"),
        ("a*.123", "no name ends in a number"),
        ("10.0.0.1/8", "bits behind"),
        ("10.0.0.0/33", "from 0 to 32"),
        ("10.0.0.0/08", "from 0 to 32"),
        ("[fd00::/129]", "from 0 to 128"),
        ("::ffff:10.0.0.0/104", "IPv4"),
        ("127.1", "four decimal numbers"),
        ("a[.example.com", "label"),
        ("a[].example.com", "label"),
        ("a[z-a].example.com", "backwards"),
        ("a*..example.com", "label"),
        ("a b*.com", "character"),
        ("*.exa\x1bmple.com", "character"),
        ("a*." * 90 + "com", "longer"),
        ("example.com:0", "port"),
        ("example.com:http", "port"),
    ],
)
def test_what_is_no_pattern_is_refused_with_help(text: str, says: str) -> None:
    with pytest.raises(BadHostError) as caught:
        parse_resource(text)
    assert says in caught.value.message
    assert caught.value.message.isprintable()


def test_lists() -> None:
    assert [str(r) for r in parse_resources("a.com, b.com:1,,a.com")] == ["a.com", "b.com:1"]
    with pytest.raises(BadHostError, match="no host"):
        parse_resources(" , ")


@pytest.mark.parametrize(
    ("text", "resource", "path"),
    [
        ("example.org", "example.org:443", None),
        ("example.org:80", "example.org:80", None),
        ("example.org/", "example.org:443", None),
        ("example.org/book/", "example.org:443", "/book/**"),
        ("example.org/book/a", "example.org:443", "/book/a"),
        ("example.org/8", "example.org:443", "/8"),
        ("**.example.org", "**.example.org:443", None),
        ("10.0.0.0/8", "10.0.0.0/8", None),
    ],
)
def test_entries_of_kits(text: str, resource: str, path: str | None) -> None:
    found = parse_kit_entry(text)
    assert (str(found[0]), found[1]) == (resource, path)


@pytest.mark.parametrize(
    ("glob", "matches", "others"),
    [
        ("crl*.x.com", ["crl.x.com", "crl3.x.com"], ["acrl.x.com", "crl.a.x.com", "x.com"]),
        ("*a*b*.x.com", ["ab.x.com", "xaxbx.x.com"], ["ba.x.com", "a.b.x.com"]),
        ("a[!1].x.com", ["a2.x.com"], ["a1.x.com", "a.x.com", "a..x.com"]),
        ("a[1-3].x.com", ["a2.x.com"], ["a4.x.com"]),
        ("?.x.com", ["a.x.com"], ["ab.x.com", ".x.com"]),
        ("a*a.x.com", ["aa.x.com", "aba.x.com"], ["a.x.com"]),
    ],
)
def test_globs_stay_in_their_label(glob: str, matches: list[str], others: list[str]) -> None:
    regex = glob_regex(glob)
    assert [name for name in [*matches, *others] if regex.fullmatch(name)] == matches


def test_a_glob_of_a_kit_cannot_burn_time() -> None:
    regex = glob_regex("*a" * 25 + "*c.x.com")
    assert regex.fullmatch("a" * 63 + ".x.com") is None
    # With backtracking it would not end: the time limit of the tier is the proof.
