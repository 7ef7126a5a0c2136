# SPDX-License-Identifier: Apache-2.0
"""The sandbox's folder: complete or absent, strict about what it holds, never lost by accident."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sbx.errors import ConflictError, NotFoundError, PermanentError
from sbx.sandbox.parts import Accel
from sbx.sandbox.record import Failure, SandboxRecord
from sbx.sandbox.spec import AccelChoice, Mount, Resources, SandboxSpec
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths, make_private


def spec(name: str = "one", sandbox_id: str = "0" * 32) -> SandboxSpec:
    return SandboxSpec(
        id=sandbox_id,
        name=name,
        agent="shell",
        template="shell",
        layers=("ab" * 32,),
        user="agent",
        command=("bash", "-l"),
        mounts=(Mount(source=Path("/w"), target=Path("/w"), read_only=True),),
        workdir="/w",
        env={"A": "b"},
        resources=Resources(cpus=2, memory_bytes=1 << 30, disk_bytes=1 << 34),
        accel=AccelChoice.AUTO,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    where = Paths(
        state=tmp_path / "s", config=tmp_path / "c", cache=tmp_path / "k", runtime=tmp_path / "r"
    )
    make_private(where)
    return where


def test_spec_and_record_survive_the_round_trip(where: Paths) -> None:
    records.create_folder(where, spec())
    record = SandboxRecord(
        starts=2,
        supervisor_pid=7,
        accel=Accel.TCG,
        last_used_at=datetime(2026, 1, 2, tzinfo=UTC),
        detached=True,
        failure=Failure(message="m", hint=None, details="d\n", at=datetime(2026, 1, 3, tzinfo=UTC)),
    )
    records.write_record(where, "one", record)
    assert records.read_spec(where, "one") == spec()
    assert records.read_record(where, "one") == record


def test_a_taken_name_is_refused_and_the_first_one_stays(where: Paths) -> None:
    records.create_folder(where, spec())
    with pytest.raises(ConflictError, match="already exists"):
        records.create_folder(where, spec(sandbox_id="1" * 32))
    assert records.read_spec(where, "one").id == "0" * 32
    assert [e.name for e in where.sandboxes.iterdir()] == ["one"]


def test_an_unknown_name_is_not_found(where: Paths) -> None:
    with pytest.raises(NotFoundError, match='sandbox not found: "two"'):
        records.read_spec(where, "two")
    with pytest.raises(NotFoundError):
        records.delete_folder(where, "two")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2}', '{"version": 1}', '{"version": 1, "x": 1}', "null"]
)
def test_a_damaged_file_is_an_error_with_a_remedy(where: Paths, text: str) -> None:
    folder = records.create_folder(where, spec())
    (folder / names.SPEC).write_text(text)
    with pytest.raises(PermanentError, match="cannot read") as caught:
        records.read_spec(where, "one")
    assert caught.value.hint is not None
    assert "sbx rm -f one" in caught.value.hint


def test_an_update_changes_only_what_it_names(where: Paths) -> None:
    records.create_folder(where, spec())
    records.update_record(where, "one", starts=4)
    records.update_record(where, "one", detached=True)
    assert records.read_record(where, "one") == SandboxRecord(starts=4, detached=True)


def test_delete_takes_the_folder_also_when_its_files_are_damaged(where: Paths) -> None:
    folder = records.create_folder(where, spec())
    (folder / names.SPEC).write_text("garbage")
    (folder / names.DATA_DISK).write_bytes(b"x" * 4096)
    records.delete_folder(where, "one")
    assert list(where.sandboxes.iterdir()) == []


def test_sweep_deletes_what_a_killed_create_or_remove_left(where: Paths) -> None:
    records.create_folder(where, spec())
    for name in (".new-x", ".gone-y"):
        (where.sandboxes / name).mkdir()
        (where.sandboxes / name / names.SPEC).write_text("{}")
    records.sweep(where)
    assert [e.name for e in where.sandboxes.iterdir()] == ["one"]


def test_hidden_folders_are_not_sandboxes(where: Paths) -> None:
    (where.sandboxes / ".new-x").mkdir()
    records.create_folder(where, spec("b"))
    records.create_folder(where, spec("a"))
    assert records.names(where) == ("a", "b")


def test_files_are_private(where: Paths) -> None:
    folder = records.create_folder(where, spec())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / names.SPEC).stat().st_mode & 0o777 == 0o600


def test_the_stored_form_has_a_version(where: Paths) -> None:
    folder = records.create_folder(where, spec())
    assert json.loads((folder / names.SPEC).read_text())["version"] == 1
    assert json.loads((folder / names.RECORD).read_text())["version"] == 1
