# SPDX-License-Identifier: Apache-2.0
"""Warm starts: no twins, the memory that was promised, and a boot whenever a snapshot fails."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from sbx.lifecycle.warm import prepare
from sbx.sandbox.units import GIB, MIB
from sbx.system.progress import Silent
from sbx.vm.snapshots import RAM, STATE
from tests.kit.installation import Family, Installation

pytestmark = pytest.mark.timeout(240)

NAME = "warm"
# In the sandbox: what must differ between two machines of one snapshot.
OWN = (
    "cat /proc/sys/kernel/random/boot_id /etc/machine-id /etc/hostname; "
    "head -c 32 /dev/urandom | od -An -tx1 | tr -d '\\n '; echo; "
    "cat /proc/sys/kernel/random/uuid; date +%s"
)


@pytest.fixture(name="own_cache")
def _own_cache(sbx: Installation) -> Iterator[Path]:
    """A cache of our own with the shared parts in it and one fresh snapshot, to be spoilt."""
    cache = sbx.home / "cache" / "opensbx"
    shared = sbx.cache / "opensbx"
    cache.mkdir(parents=True, mode=0o700)
    for entry in shared.iterdir():
        if entry.name in ("layers", "templates", "runtime", "tools", "tools-base"):
            (cache / entry.name).symlink_to(entry)
    shutil.copy(shared / "accel.json", cache)
    assert prepare(cache, Silent())
    sbx.cache = cache.parent
    yield cache / "snapshots"
    until(lambda: not building(cache))


def building(cache: Path) -> bool:
    """Whether a snapshot is being made in the background."""
    return any((cache / "snapshots").glob("temp-*")) or is_running("sbx.lifecycle.warm", cache)


def is_running(module: str, cache: Path) -> bool:
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if module.encode() in line and str(cache).encode() in line:
                return True
    return False


def until(true: Callable[[], bool], timeout_s: float = 100.0) -> None:
    """Wait for something that another process does; a test's own deadline, not the product's."""
    end = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def create(sbx: Installation, name: str = NAME, memory: str = "512m") -> None:
    sbx.ok("create", "--name", name, "-q", "--memory", memory, "shell")


def phases(sbx: Installation, name: str = NAME) -> list[str]:
    """The phases of all starts of a sandbox so far."""
    lines = (sbx.folder(name) / "events.jsonl").read_text().splitlines()
    events = [cast("dict[str, str]", json.loads(line)) for line in lines]
    return [each["phase"] for each in events if "phase" in each]


def was_restored(sbx: Installation, name: str = NAME) -> bool:
    return "boot" not in phases(sbx, name)


def test_two_machines_of_one_snapshot_are_no_twins(sbx: Installation, own_cache: Path) -> None:
    del own_cache
    seen: list[list[str]] = []
    for name in ("twin-a", "twin-b"):
        create(sbx, name)
        assert was_restored(sbx, name)
        before = time.time()
        seen.append(sbx.inside(name, "sh", "-c", OWN).ok().text.split())
        assert before - 2 < int(seen[-1][-1]) < time.time() + 2
    first, second = seen
    assert len(first) == len(second) == 6
    assert [a for a, b in zip(first[:5], second[:5], strict=True) if a == b] == []


def test_a_restart_is_warm_and_keeps_what_was_written(sbx: Installation, own_cache: Path) -> None:
    del own_cache
    create(sbx)
    before = sbx.inside(NAME, "sh", "-c", "echo kept > ~/kept; sync; cat /etc/machine-id").ok().text
    sbx.ok("stop", NAME)
    after = sbx.inside(NAME, "sh", "-c", "cat /etc/machine-id ~/kept").ok().text
    assert after == before + "kept\n"
    assert was_restored(sbx)


@pytest.mark.parametrize(
    ("memory", "size_bytes"), [("512m", 512 * MIB), ("1g", GIB), ("4g", 4 * GIB)]
)
def test_the_promised_memory_is_there(
    sbx: Installation, own_cache: Path, memory: str, size_bytes: int
) -> None:
    del own_cache
    create(sbx, memory=memory)
    assert was_restored(sbx)
    line = sbx.inside(NAME, "grep", "MemTotal", "/proc/meminfo").ok().text
    total = int(line.split()[1]) * 1024
    assert size_bytes - 128 * MIB <= total <= size_bytes
    if size_bytes > GIB:  # and can be used
        code = "b = bytearray(3 << 30); b[::4096] = b'x' * (len(b) // 4096); print(sum(b[::4096]))"
        assert sbx.inside(NAME, "python3", "-c", code).ok().text == f"{(3 << 18) * 120}\n"


def cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def zero(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(bytes(8 * MIB))


def garble(path: Path) -> None:
    path.write_bytes(b"{]")


@pytest.mark.parametrize(
    ("name", "damage"),
    [(RAM, cut), (RAM, zero), (RAM, Path.unlink), (STATE, cut), ("manifest.json", garble)],
)
def test_a_damaged_snapshot_costs_a_boot_and_is_made_again(
    sbx: Installation, own_cache: Path, name: str, damage: Callable[[Path], None]
) -> None:
    (folder,) = (path for path in own_cache.iterdir() if path.is_dir())
    damage(folder / name)
    create(sbx)
    assert "boot" in phases(sbx)
    until((folder / "manifest.json").exists)
    create(sbx, "again")
    assert was_restored(sbx, "again")


def test_a_snapshot_that_does_not_wake_costs_a_boot(sbx: Installation, own_cache: Path) -> None:
    # Whole by its stamp, and nonsense: what a defect of ours, or of the host's kernel, would give.
    (folder,) = (path for path in own_cache.iterdir() if path.is_dir())
    (folder / STATE).write_bytes(b"nonsense" * 1000)
    (folder / "stamp").write_text(stamp_of(folder))
    create(sbx)
    assert {"restore", "boot"} <= set(phases(sbx))
    log = (sbx.folder(NAME) / "supervisor.log").read_text()
    assert log.count("no warm start") == 1
    until((folder / "manifest.json").exists)


def stamp_of(folder: Path) -> str:
    facts = {name: (folder / name).stat() for name in (RAM, STATE)}
    return json.dumps({n: [f.st_ino, f.st_size, f.st_ctime_ns] for n, f in facts.items()})


def test_killed_while_it_is_restored_nothing_is_left(sbx: Installation, own_cache: Path) -> None:
    create(sbx)
    sbx.ok("stop", NAME)
    (sbx.folder(NAME) / "events.jsonl").unlink()
    with sbx.popen("run", "--name", NAME, "-d") as starting:
        until(lambda: (sbx.folder(NAME) / "events.jsonl").exists() and "memory" in phases(sbx))
        family = Family.of(str(sbx.home))
        pid = json.loads((sbx.folder(NAME) / "record.json").read_text())["supervisor_pid"]
        os.kill(pid, signal.SIGKILL)
        starting.communicate(timeout=60)
    until(lambda: not family.survivors(), timeout_s=20)
    assert any(own_cache.glob("*/manifest.json"))
    assert sbx.inside(NAME, "echo", "works").ok().text == "works\n"


def test_reset_ends_a_snapshot_that_is_being_made(sbx: Installation, own_cache: Path) -> None:
    shutil.rmtree(next(path for path in own_cache.iterdir() if path.is_dir()))
    create(sbx)
    until(lambda: any(own_cache.glob("temp-*")))
    sbx.ok("reset", "-f")
    assert not is_running("sbx.lifecycle.warm", own_cache.parent)
    assert not own_cache.exists()
