# SPDX-License-Identifier: Apache-2.0
"""References: each text means one thing or is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.errors import UserError
from sbx.kit.reference import (
    BuiltIn,
    GitKit,
    LocalKit,
    OciKit,
    is_pinned,
    looks_like_kit,
    parse_reference,
)  # fmt: skip

HERE = Path("/here")
COMMIT = "a" * 40
DIGEST = f"sha256:{'b' * 64}"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("claude", BuiltIn("claude")),
        ("./k", LocalKit(HERE / "k")),
        ("../k", LocalKit(HERE / "../k")),
        ("/k", LocalKit(Path("/k"))),
        (".", LocalKit(HERE)),
        ("k.zip", LocalKit(HERE / "k.zip")),
        ("k.tar.gz", LocalKit(HERE / "k.tar.gz")),
        ("sbx/copilot-kit", OciKit("docker.io", "sbx/copilot-kit", "latest", "")),
        ("docker.io/a/b:1", OciKit("docker.io", "a/b", "1", "")),
        ("index.docker.io/a/b:1", OciKit("docker.io", "a/b", "1", "")),
        ("localhost:5000/a:1", OciKit("localhost:5000", "a", "1", "")),
        (f"ghcr.io/a/b@{DIGEST}", OciKit("ghcr.io", "a/b", "latest", DIGEST)),
        (f"git+https://h.com/a.git#ref={COMMIT}&dir=k", GitKit("https://h.com/a.git", COMMIT, "k")),
        ("git+ssh://git@h.com/a#ref=v1", GitKit("ssh://git@h.com/a", "v1", "")),
        ("git+https://h.com:8443/a", GitKit("https://h.com:8443/a", "", "")),
    ],
)
def test_what_a_text_means(text: str, meaning: object) -> None:
    assert parse_reference(text, cwd=HERE) == meaning


@pytest.mark.parametrize(
    "text",
    [
        "nothing", "", "A/b", "a/b@sha256:1", "a/b@md5:x", "a//b", "ghcr.io/../b", "a/b c",
        "git+http://h.com/a", "git+file:///a", "git+ext::sh -c x", "git+https://h.com",
        "git+https://u:p@h.com/a", "git+https://h.com/a?x=y", "git+https://h.com/a#ref=--upload-pack=x",
        "git+https://h.com/a#ref=a..b", "git+https://h.com/a#dir=../x", "git+https://h.com/a#x=y",
        "git+ssh://-oProxyCommand=x/a", "git+https://h.com/a b",
    ],
)  # fmt: skip
def test_what_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_reference(text, cwd=HERE)


@pytest.mark.parametrize(
    ("text", "pinned"),
    [
        ("claude", True), ("./k", False), ("a/b:1", False), (f"a/b@{DIGEST}", True),
        (f"git+https://h.com/a#ref={COMMIT}", True), ("git+https://h.com/a#ref=main", False),
    ],
)  # fmt: skip
def test_what_is_pinned(text: str, pinned: bool) -> None:
    assert is_pinned(parse_reference(text, cwd=HERE)) is pinned


def test_a_pinned_reference_means_the_same() -> None:
    git = parse_reference("git+https://h.com/a#ref=main&dir=k", cwd=HERE)
    assert isinstance(git, GitKit)
    again = parse_reference(git.pinned(COMMIT), cwd=HERE)
    assert again == GitKit("https://h.com/a", COMMIT, "k")
    oci = parse_reference("a/b:1", cwd=HERE)
    assert isinstance(oci, OciKit)
    assert parse_reference(oci.pinned(DIGEST), cwd=HERE) == OciKit(
        "docker.io", "a/b", "latest", DIGEST
    )


def test_a_name_of_a_built_in_agent_in_text_that_is_none() -> None:
    with pytest.raises(UserError, match="kit not found") as caught:
        parse_reference("clod", cwd=HERE)
    assert "claude, codex" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("text", "kit"),
    [
        ("./k", True),
        ("k.zip", True),
        ("git+https://a/b", True),
        ("a.io/b:1", True),
        ("shel", False),
    ],
)
def test_the_word_in_the_place_of_an_agent(text: str, kit: bool) -> None:
    assert looks_like_kit(text) is kit
