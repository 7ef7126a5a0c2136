# SPDX-License-Identifier: Apache-2.0
"""`sbx rm`, `prune` and `reset`: what goes, what stays, what is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sbx.cli.commands.prune import parse_filters
from sbx.errors import UserError
from sbx.store.paths import Paths
from tests.unit.cli.conftest import Call, MakeSandbox

LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)


def test_some_of_several_can_fail(sbx: Call, make_sandbox: MakeSandbox) -> None:
    spec = make_sandbox("one")
    done = sbx("rm", "-f", "nosuch", "one", "--json")
    assert done.status == 1
    assert done.json() == [
        {
            "action": "failed", "resource": "sandbox", "name": "nosuch",
            "error": 'sandbox not found: "nosuch"',
        },
        {"action": "removed", "resource": "sandbox", "name": "one", "id": spec.id},
    ]  # fmt: skip
    assert sbx("ls", "-q").out == ""


def test_all(sbx: Call, make_sandbox: MakeSandbox, where: Paths) -> None:
    make_sandbox("one")
    make_sandbox("two")
    done = sbx("rm", "--all", "--force")
    assert (done.status, done.out) == (0, "✓ Removed sandbox one\n✓ Removed sandbox two\n")
    assert list(where.sandboxes.iterdir()) == []
    assert sbx("rm", "--all", "--json").out == "[]\n"
    assert sbx("rm", "--all").out == "No sandboxes found.\n"


def test_stop_of_a_stopped_one(sbx: Call, make_sandbox: MakeSandbox) -> None:
    spec = make_sandbox("one")
    done = sbx("stop", "one")
    assert (done.status, done.out) == (0, "✓ Sandbox one already stopped\n")
    assert "state is preserved" in done.err
    assert "sbx run --name one" in done.err
    assert sbx("stop", "one", "--json").json() == [
        {"action": "stopped", "resource": "sandbox", "name": "one", "id": spec.id}
    ]


def test_prune_shows_and_removes_what_stopped_before(
    sbx: Call, make_sandbox: MakeSandbox, tmp_path: Path
) -> None:
    make_sandbox("old", workspace=tmp_path, stopped_at=LONG_AGO)
    make_sandbox("new", stopped_at=datetime.now(UTC))
    make_sandbox("unknown")
    done = sbx("prune", "--dry-run", "--json", "--filter", "until=1h")
    assert done.json() == {
        "would_remove": [
            {
                "name": "old", "agent": "shell", "stopped_at": "2026-01-02T00:00:00Z",
                "workspaces": [str(tmp_path)],
            }
        ],
        "skipped_unknown_stop": ["unknown"],
    }  # fmt: skip
    assert sbx("ls", "-q").out == "new\nold\nunknown\n"
    assert "old" in sbx("prune", "--dry-run").out
    assert sbx("prune", "-f", "--filter", "until=1h").out == "✓ Removed sandbox old\n"
    assert sbx("prune", "-f").out == "✓ Removed sandbox new\n"
    assert sbx("prune", "-f").out == "No stopped sandboxes to remove.\n"
    assert sbx("prune", "-f", "--json").out == "[]\n"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("until=24h", datetime(2026, 6, 1, tzinfo=UTC)),
        ("until=1h30m", datetime(2026, 6, 1, 22, 30, tzinfo=UTC)),
        ("until=2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("until=2026-01-31T12:00:00+02:00", datetime(2026, 1, 31, 10, tzinfo=UTC)),
        ("until=0", datetime(1970, 1, 1, tzinfo=UTC)),
        ("until=1700000000", datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)),
    ],
)
def test_times_of_the_filter(text: str, moment: datetime) -> None:
    assert parse_filters([text], now=datetime(2026, 6, 2, tzinfo=UTC)) == moment


@pytest.mark.parametrize(
    "text", ["until=", "until", "until=x", "until=-1h", "until=99999999999999", "before=1h"]
)
def test_other_filters_are_refused(text: str) -> None:
    with pytest.raises(UserError, match="invalid"):
        parse_filters([text], now=LONG_AGO)


def test_the_earliest_of_several_filters_counts() -> None:
    assert parse_filters(["until=1", "until=5"], now=LONG_AGO) == datetime(
        1970, 1, 1, 0, 0, 1, tzinfo=UTC
    )
    assert parse_filters([], now=LONG_AGO) is None


def test_reset_leaves_nothing_but_the_environment_it_runs_from(
    sbx: Call, make_sandbox: MakeSandbox, where: Paths
) -> None:
    make_sandbox("one")
    sbx("settings", "set", "sandbox.cpus", "1")
    (where.cache / "venv").mkdir()
    (where.cache / "runtime").mkdir()
    (where.cache / "accel.json").write_text("{}")
    done = sbx("reset", "-f", "--json")
    assert done.status == 0, done.err
    assert done.json() == {
        "removed": [{"action": "removed", "resource": "sandbox", "name": "one"}],
        "images_removed": True,
    }
    assert [path.name for path in where.cache.iterdir()] == ["venv"]
    for folder in (where.state, where.config, where.runtime):
        assert not folder.exists()
    assert sbx("reset", "-f").status == 0


def test_reset_of_one_set_keeps_images_that_another_uses(
    sbx: Call, make_sandbox: MakeSandbox, where: Paths
) -> None:
    make_sandbox("one")
    (where.cache / "layers").mkdir()
    done = sbx("--app-name", "other", "reset", "-f")
    assert done.status == 0
    assert "Note: images are kept: all sets of sandboxes share them" in done.err
    assert (where.cache / "layers").exists()
    assert sbx("ls", "-q").out == "one\n"


def test_reset_keeps_images_that_another_set_uses(
    sbx: Call, make_sandbox: MakeSandbox, where: Paths
) -> None:
    make_sandbox("one")
    where.state.rename(where.state.with_name("opensbx-other"))
    (where.cache / "layers").mkdir()
    done = sbx("reset", "-f")
    assert "Note: images are kept: sandboxes of opensbx-other use them" in done.err
    assert (where.cache / "layers").exists()
    assert sbx("--app-name", "other", "ls", "-q").out == "one\n"
