# SPDX-License-Identifier: Apache-2.0
"""The host's resolver, as far as it needs no network."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sbx.proxy.resolver import HostResolver

HOSTS = """
# comment
10.0.0.1\tmirror.corp Mirror # mirror.other
fd00::1 mirror.corp
bad
"""


def resolve(name: str, file: Path) -> list[str]:
    resolver = HostResolver(1, file)

    async def main() -> list[str]:
        return list(await resolver(name))

    try:
        return asyncio.run(main())
    finally:
        resolver.close()


def test_the_hosts_file_counts(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text(HOSTS, encoding="utf-8")
    assert resolve("mirror.corp", file) == ["10.0.0.1", "fd00::1"]
    assert resolve("mirror", file) == ["10.0.0.1"]


@pytest.mark.parametrize("name", ["mirror.other.invalid", "10.0.0.1.invalid"])
def test_a_name_that_nobody_knows_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"."):
        resolve(name, tmp_path / "none")
