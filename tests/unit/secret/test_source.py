# SPDX-License-Identifier: Apache-2.0
"""The credentials of one sandbox."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from sbx.credential.values import Value
from sbx.errors import NotFoundError, PermanentError, TransientError
from sbx.secret.entries import SECRETS, Kind, Source, read_entries
from sbx.secret.source import CredentialSource
from sbx.secret.store import new_entry, remove, save
from sbx.store.paths import Paths
from tests.unit.credential.factories import service
from tests.unit.secret.test_entries import paths


@pytest.fixture(name="where")
def _where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return paths(tmp_path)


def _set(where: Paths, name: str, value: str, sandbox: str | None = None) -> None:
    save(where, new_entry(Kind.SERVICE, name, sandbox=sandbox), Value(value), overwrite=True)


def test_changes_arrive(where: Paths) -> None:
    async def main() -> None:
        source = CredentialSource(where, "box")
        source.refresh()
        assert not source.bindings
        assert source.environment() == {}
        _set(where, "openai", "sk-first")
        assert source.refresh()
        assert not source.refresh()
        (binding,) = source.bindings
        assert await source.value(binding) == Value("sk-first")
        assert source.environment() == {"OPENAI_API_KEY": "proxy-managed"}
        _set(where, "openai", "sk-second")
        assert source.refresh()
        assert await source.value(source.bindings[0]) == Value("sk-second")
        with pytest.raises(NotFoundError):
            await source.value(binding)
        remove(where, read_entries(where))
        assert source.refresh()
        assert not source.bindings

    asyncio.run(main())


def test_the_sandboxs_own_beats_the_one_for_all(where: Paths) -> None:
    async def main() -> None:
        _set(where, "openai", "sk-own", "box")
        _set(where, "openai", "sk-all")
        _set(where, "xai", "sk-other", "other")
        for name, expected in (("box", "sk-own"), ("third", "sk-all")):
            source = CredentialSource(where, name)
            source.refresh()
            (binding,) = source.bindings
            assert await source.value(binding) == Value(expected)

    asyncio.run(main())


def test_a_damaged_list_gives_nothing_out_and_unbinds_nothing(where: Paths) -> None:
    async def main() -> None:
        _set(where, "openai", "sk-first")
        source = CredentialSource(where, "box")
        source.refresh()
        (binding,) = source.bindings
        (where.config / SECRETS).write_text("{")
        assert not source.refresh()
        assert source.bindings == (binding,)
        with pytest.raises(PermanentError):
            await source.value(binding)

    asyncio.run(main())


def test_a_reference_is_fetched_once_for_all_who_wait(where: Paths, tmp_path: Path) -> None:
    async def main() -> None:
        log = tmp_path / "log"
        entry = replace(
            new_entry(Kind.SERVICE, "openai"),
            source=Source.COMMAND,
            reference=f"echo x >>{log}; echo sk-fetched",
            refresh_s=3600.0,
        )
        save(where, entry, None, overwrite=False)
        source = CredentialSource(where, "box")
        source.refresh()
        values = await asyncio.gather(*(source.value(source.bindings[0]) for _ in range(5)))
        assert set(values) == {Value("sk-fetched")}
        assert await source.value(source.bindings[0]) == Value("sk-fetched")
        assert log.read_text() == "x\n"

    asyncio.run(main())


def test_a_reference_that_fails_is_an_error_for_all_who_wait(where: Paths) -> None:
    async def main() -> None:
        entry = replace(
            new_entry(Kind.SERVICE, "openai"), source=Source.COMMAND, reference="exit 1"
        )
        save(where, entry, None, overwrite=False)
        source = CredentialSource(where, "box")
        source.refresh()
        found = await asyncio.gather(
            *(source.value(source.bindings[0]) for _ in range(3)), return_exceptions=True
        )
        assert all(isinstance(each, TransientError) for each in found)

    asyncio.run(main())


def test_a_kits_service_has_the_kits_places(where: Paths) -> None:
    _set(where, "acme", "sk-acme")
    source = CredentialSource(where, "box", [service("api.acme.test", name="acme")])
    source.refresh()
    (binding,) = source.bindings
    assert binding.covers_host("api.acme.test", 443)
    assert binding.id != "acme"
    plain = CredentialSource(where, "box")
    plain.refresh()
    assert plain.bindings == ()
