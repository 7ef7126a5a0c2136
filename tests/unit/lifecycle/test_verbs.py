# SPDX-License-Identifier: Apache-2.0
"""Status, stop, remove, prune and repair, against supervisors of every temper."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sbx.errors import ConflictError, NotFoundError, PermanentError, UserError
from sbx.lifecycle.denials import add_denials
from sbx.lifecycle.disk import grow
from sbx.lifecycle.enforce import enforce_policy
from sbx.lifecycle.prune import plan_prune, prune, remove_all
from sbx.lifecycle.remove import remove
from sbx.lifecycle.request import CreateRequest
from sbx.lifecycle.start import start
from sbx.lifecycle.status import list_all, status, survey
from sbx.lifecycle.stop import StopResult, stop
from sbx.policy.patterns import parse_resources
from sbx.policy.presets import Preset
from sbx.sandbox.recipe import Recipe, UsedKit
from sbx.sandbox.spec import AccelChoice, Resources, SandboxSpec
from sbx.sandbox.state import State
from sbx.sandbox.status import DiskState
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths, make_private
from sbx.store.rules import init_policy, need_policy
from sbx.system.progress import Silent
from sbx.vm.disk import create_disk
from tests.kit.fake_supervisor import paths_below
from tests.kit.installation import ROOT
from tests.unit.policy.factories import rule, to

Supervise = Callable[[str, str], subprocess.Popen[bytes]]


@pytest.fixture(name="where")
def _where(tmp_path: Path) -> Paths:
    where = paths_below(tmp_path)
    make_private(where)
    return where


def make(where: Paths, name: str, number: int = 0) -> SandboxSpec:
    spec = SandboxSpec(
        id=f"{number:08d}-0000-4000-8000-000000000000",
        name=name,
        agent="shell",
        template="shell",
        layers=(),
        user="agent",
        command=("bash",),
        mounts=(),
        workdir="/",
        env={},
        resources=Resources(cpus=1, memory_bytes=1 << 29, disk_bytes=1 << 30),
        accel=AccelChoice.TCG,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    records.create_folder(where, spec)
    return spec


@pytest.fixture(name="supervise")
def _supervise(where: Paths) -> Iterator[Supervise]:
    with contextlib.ExitStack() as stack:

        def begin(name: str, behaviour: str) -> subprocess.Popen[bytes]:
            child = stack.enter_context(
                subprocess.Popen(
                    [
                        sys.executable, "-m", "tests.kit.fake_supervisor",
                        str(where.state.parent), name, behaviour,
                    ],
                    stdout=subprocess.PIPE,
                    cwd=ROOT,
                    env={"PYTHONPATH": f"{ROOT}/src:{ROOT}", "PATH": "/usr/bin:/bin"},
                )
            )  # fmt: skip
            stack.callback(child.kill)
            assert child.stdout is not None
            assert child.stdout.readline() == b"up\n"
            return child

        yield begin


def test_status_is_asked_of_the_living(where: Paths, supervise: Supervise) -> None:
    make(where, "one")
    assert status(where, "one").state is State.STOPPED
    child = supervise("one", "good")
    now = status(where, "one")
    assert (now.state, now.responsive) == (State.RUNNING, True)
    assert now.live is not None
    assert now.live.pid == child.pid


def test_a_deaf_supervisor_holds_up_nobody_and_is_told(where: Paths, supervise: Supervise) -> None:
    make(where, "deaf")
    make(where, "fine", number=1)
    supervise("deaf", "deaf")
    supervise("fine", "good")
    found = {s.spec.name: s for s in list_all(where)}
    assert not found["deaf"].responsive
    assert found["fine"].responsive
    assert found["fine"].state is State.RUNNING


def test_a_changed_policy_is_awaited_where_something_runs(
    where: Paths, supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbx.lifecycle.enforce._ANSWER_TIMEOUT_S", 0.5)
    for number, name in enumerate(("deaf", "fine", "stopped", "unreadable")):
        make(where, name, number)
    supervise("fine", "good")
    assert enforce_policy(where) == {}
    supervise("deaf", "deaf")
    supervise("unreadable", "unreadable")
    failed = enforce_policy(where)
    assert sorted(failed) == ["deaf", "unreadable"]
    assert "did not answer" in failed["deaf"].message
    assert failed["unreadable"].message == "cannot read the policy"


def test_a_disk_grows_with_and_without_a_supervisor(where: Paths, supervise: Supervise) -> None:
    make(where, "one")
    folder = where.sandbox("one")
    disk = folder / names.DATA_DISK
    create_disk(disk, 1 << 30)
    assert grow(where, "one", (2 << 30) - 1) == (1 << 30, 2 << 30), "whole blocks"
    assert disk.stat().st_size == 2 << 30
    assert status(where, "one").disk_size_bytes == 2 << 30
    with pytest.raises(UserError, match="cannot become smaller"):
        grow(where, "one", 1 << 30)
    supervise("one", "full")
    assert grow(where, "one", 3 << 30) == (2 << 30, 3 << 30)
    assert (folder / "asked").read_text() == str(3 << 30)
    assert disk.stat().st_size == 2 << 30, "the machine's own business"
    with pytest.raises(UserError, match="cannot become smaller"):
        grow(where, "one", 1 << 30)
    live = status(where, "one").live
    assert live is not None
    assert live.disk_state is DiskState.FULL


def test_stop_waits_until_the_supervisor_is_gone(where: Paths, supervise: Supervise) -> None:
    make(where, "one")
    child = supervise("one", "good")
    assert stop(where, "one") is StopResult.STOPPED
    assert child.wait() == 0
    assert stop(where, "one") is StopResult.ALREADY
    assert status(where, "one").record.failure is None


def test_a_deaf_supervisor_is_killed_in_the_end(
    where: Paths, supervise: Supervise, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sbx.lifecycle.stop._STOP_TIMEOUT_S", 0.2)
    make(where, "one")
    child = supervise("one", "deaf")
    assert stop(where, "one") is StopResult.KILLED
    assert child.wait() == -9
    now = status(where, "one")
    assert now.state is State.FAILED
    assert now.record.failure is not None
    assert "killed" in now.record.failure.message


def test_a_killed_supervisor_is_noticed_and_its_traces_removed(
    where: Paths, supervise: Supervise
) -> None:
    spec = make(where, "one")
    child = supervise("one", "good")
    assert (where.run_folder(spec.id) / names.CONTROL_SOCKET).exists()
    child.kill()
    child.wait()
    now = status(where, "one")
    assert now.state is State.FAILED
    assert now.live is None
    assert not where.run_folder(spec.id).exists()
    assert now.record.supervisor_pid is None
    assert status(where, "one").record == now.record, "repaired once, not at every look"


def test_remove_refuses_open_sessions_unless_forced(where: Paths, supervise: Supervise) -> None:
    spec = make(where, "one")
    child = supervise("one", "busy")
    with pytest.raises(ConflictError, match="2 open session"):
        remove(where, "one")
    assert child.poll() is None
    remove(where, "one", force=True)
    assert child.wait() == 0
    assert records.names(where) == ()
    assert not where.run_folder(spec.id).exists()


def test_remove_of_an_unknown_name_is_not_found(where: Paths) -> None:
    with pytest.raises(NotFoundError, match='sandbox not found: "nobody"'):
        remove(where, "nobody")


def test_a_damaged_sandbox_is_told_and_only_force_removes_it(where: Paths) -> None:
    make(where, "one")
    make(where, "two", number=1)
    (where.sandbox("one") / names.SPEC).write_text("{")
    found = survey(where)
    assert [s.spec.name for s in found.sandboxes] == ["two"]
    assert list(found.damaged) == ["one"]
    with pytest.raises(PermanentError, match="cannot read"):
        remove(where, "one")
    remove(where, "one", force=True)
    assert records.names(where) == ("two",)


def test_prune_takes_the_stopped_and_skips_those_of_unknown_age(
    where: Paths, supervise: Supervise
) -> None:
    for number, name in enumerate(("old", "new", "never", "busy")):
        make(where, name, number)
    records.update_record(where, "old", stopped_at=datetime(2026, 1, 1, tzinfo=UTC))
    records.update_record(where, "new", stopped_at=datetime(2026, 3, 1, tzinfo=UTC))
    supervise("busy", "good")
    plan = plan_prune(where, until=datetime(2026, 2, 1, tzinfo=UTC))
    assert [s.spec.name for s in plan.remove] == ["old"]
    assert plan.skipped_unknown_stop == ("never",)
    assert prune(where, plan) == ("old",)
    assert prune(where, plan_prune(where)) == ("new",)
    assert records.names(where) == ("busy", "never")


def test_prune_leaves_one_that_was_started_or_replaced_meanwhile(
    where: Paths, supervise: Supervise
) -> None:
    for number, name in enumerate(("started", "replaced")):
        make(where, name, number)
        records.update_record(where, name, stopped_at=datetime(2026, 1, 1, tzinfo=UTC))
    plan = plan_prune(where)
    supervise("started", "good")
    remove(where, "replaced")
    make(where, "replaced", number=9)
    assert prune(where, plan) == ()
    assert records.names(where) == ("replaced", "started")


def test_remove_all_takes_everything(where: Paths, supervise: Supervise) -> None:
    for number, name in enumerate(("a", "b", "c")):
        make(where, name, number)
    supervise("a", "busy")
    (where.sandbox("c") / names.RECORD).write_text("")
    assert set(remove_all(where)) == {"a", "b", "c"}
    assert list(where.sandboxes.iterdir()) == []


def test_the_rules_of_a_sandbox_go_with_it(where: Paths) -> None:
    make(where, "one")
    rules = tuple(rule("allow a.com", sandbox=name) for name in ("one", "two", None))
    init_policy(where, Preset.DENY_ALL, rules)
    remove(where, "one")
    assert need_policy(where).added == rules[1:]


def test_a_policy_that_cannot_be_read_is_no_obstacle_to_removing(where: Paths) -> None:
    make(where, "one")
    (where.config / names.POLICY).write_text("{")
    remove(where, "one")
    assert records.names(where) == ()
    assert (where.config / names.POLICY).read_text() == "{"


def test_denials_of_a_new_sandbox_are_its_own(where: Paths) -> None:
    request = CreateRequest(
        name="one",
        agent="shell",
        mounts=(),
        resources=Resources(cpus=1, memory_bytes=1 << 29, disk_bytes=1 << 30),
        deny_network=parse_resources("a.com,**.b.com:443"),
    )
    with pytest.raises(UserError, match="has not been initialized"):
        add_denials(where, request)
    init_policy(where, Preset.ALLOW_ALL)
    add_denials(where, request)
    rules = need_policy(where)
    assert not rules.compile("one").connection(to("x.b.com")).allowed
    assert rules.compile("two").connection(to("x.b.com")).allowed


def test_a_sandbox_whose_kits_were_never_finished_does_not_start(where: Paths) -> None:
    plain = make(where, "plain")
    used = UsedKit(name="k", resolved="./k", digest="sha256:0")
    spec = replace(plain, name="cut", id=plain.id.replace("0", "1"), recipe=Recipe(kits=(used,)))
    records.create_folder(where, spec)
    with pytest.raises(ConflictError, match="never finished") as caught:
        start(where, "cut", progress=Silent(), listener=lambda _event: None)
    assert "sbx rm cut" in (caught.value.hint or "")
