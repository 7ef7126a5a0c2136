# SPDX-License-Identifier: Apache-2.0
"""The URLs in the settings of package tools, as these tools write them."""

from __future__ import annotations

import pytest

from sbx.store import mirror_formats as formats


def test_pip() -> None:
    text = """
[global]
index_url = https://user:word@pip.corp/simple
timeout = 60
[install]
extra-index-url =
    https://one.corp/a
    http://two.corp:8080/b
trusted-host = two.corp
"""
    assert formats.pip_urls(text) == [
        "https://user:word@pip.corp/simple", "https://one.corp/a", "http://two.corp:8080/b",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="no section"):
        formats.pip_urls("index-url = x")


def test_npm() -> None:
    text = """
; comment
registry=https://npm.corp/
@mine:registry = "https://${HOST}/npm/"
//npm.corp/:_authToken=word
always-auth=true
"""
    assert formats.npm_urls(text, {"HOST": "scope.corp"}) == [
        "https://npm.corp/", "https://scope.corp/npm/",
    ]  # fmt: skip


def test_apt_lists() -> None:
    text = """
# deb http://no.corp/ x main
deb [arch=amd64 signed-by=/x.gpg] https://apt.corp/debian trixie main
deb-src http://src.corp/debian trixie main
deb cdrom:[Debian]/ trixie main
"""
    assert formats.apt_list_urls(text) == [
        "https://apt.corp/debian", "http://src.corp/debian", "cdrom:[Debian]/",
    ]  # fmt: skip


def test_apt_paragraphs() -> None:
    text = """Types: deb
URIs: https://a.corp/debian
 https://b.corp/debian
Suites: trixie

# comment
Types: deb
Enabled: no
URIs: https://off.corp/

types: deb
uris: http://c.corp/
"""
    assert formats.apt_deb822_urls(text) == [
        "https://a.corp/debian", "https://b.corp/debian", "http://c.corp/",
    ]  # fmt: skip


def test_cargo() -> None:
    text = """
[registries.mine]
index = "sparse+https://crates.corp/index/"
token = "word"
[source.crates-io]
replace-with = "mirror"
[source.mirror]
registry = "https://mirror.corp/"
[registry]
default = "mine"
"""
    assert formats.cargo_urls(text) == ["sparse+https://crates.corp/index/", "https://mirror.corp/"]
    assert formats.cargo_urls("registries = 3\n[source]\nx = 1") == []
    with pytest.raises(ValueError, match=r"."):
        formats.cargo_urls("[")


@pytest.mark.parametrize(
    ("proxy", "sums", "urls"),
    [
        (
            "https://go.corp|https://two.corp/x,direct",
            "off",
            ["https://go.corp", "https://two.corp/x"],
        ),
        ("off", "", []),
        ("", "sum.corp+033de0ae+key", ["https://sum.corp"]),
        ("direct", "sum.corp+key https://elsewhere.corp/s", ["https://elsewhere.corp/s"]),
    ],
)
def test_go(proxy: str, sums: str, urls: list[str]) -> None:
    assert formats.go_urls({"GOPROXY": proxy, "GOSUMDB": sums}) == urls


def test_the_env_file_of_go() -> None:
    assert formats.go_env("GOPROXY=https://a.corp,direct\n#x=1\nGOFLAGS=-mod=mod\n") == {
        "GOPROXY": "https://a.corp,direct", "GOFLAGS": "-mod=mod",
    }  # fmt: skip
