# SPDX-License-Identifier: Apache-2.0
"""Calls of the command line in this process, with folders of their own and no terminal."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sbx.cli.main import main
from sbx.sandbox.git import GitWorkspace
from sbx.sandbox.spec import AccelChoice, Mount, Resources, SandboxSpec
from sbx.store import records
from sbx.store.paths import Paths, find_paths, make_private


@dataclass(frozen=True, slots=True)
class Called:
    """How a call ended."""

    status: int
    out: str
    err: str

    def json(self) -> object:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


Call = Callable[..., Called]
MakeSandbox = Callable[..., SandboxSpec]


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("STATE", "CONFIG", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    short = tempfile.TemporaryDirectory(prefix="sbx-")  # a socket's path has room for 107 bytes
    monkeypatch.setenv("XDG_RUNTIME_DIR", short.name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    for name in [n for n in os.environ if n.startswith(("SBX_", "DOCKER_SANDBOXES_"))]:
        if name != "SBX_TEST_USER":
            monkeypatch.delenv(name)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    short.cleanup()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(name="where")
def _where(_own_folders: None) -> Paths:
    where = find_paths()
    make_private(where)
    return where


@pytest.fixture(name="sbx")
def _sbx(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    def call(*args: str, stdin: str = "") -> Called:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        status = main(args)
        found = capsys.readouterr()
        return Called(status, found.out, found.err)

    return call


@pytest.fixture(name="make_sandbox")
def _make_sandbox(where: Paths) -> MakeSandbox:
    """Writes the folder of a stopped sandbox."""
    made: list[str] = []

    def make(
        name: str,
        *,
        workspace: Path | None = None,
        stopped_at: datetime | None = None,
        git: GitWorkspace | None = None,
    ) -> SandboxSpec:
        made.append(name)
        mounts = () if workspace is None else (Mount(source=workspace, target=workspace),)
        spec = SandboxSpec(
            id=f"{len(made):08d}-0000-4000-8000-000000000000",
            name=name,
            agent="shell",
            template="shell",
            layers=("a" * 64,),
            user="agent",
            command=("bash", "-l"),
            mounts=mounts,
            workdir=str(workspace or "/home/agent/workspace"),
            env={},
            resources=Resources(cpus=1, memory_bytes=1 << 29, disk_bytes=1 << 30),
            accel=AccelChoice.TCG,
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            git=git,
        )
        records.create_folder(where, spec)
        if stopped_at is not None:
            records.update_record(where, name, stopped_at=stopped_at)
        return spec

    return make
