# SPDX-License-Identifier: Apache-2.0
"""The cache: an entry is whole or absent, built once, and never used when it was changed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.image.cache import Entry, Facts, Shelf

KEY = "k" * 64
PROGRAM = "tree/usr/bin/program"


def fill(folder: Path) -> Facts:
    path = folder / PROGRAM
    path.parent.mkdir(parents=True)
    path.write_bytes(b"machine code")
    path.chmod(0o755)
    (folder / "tree/bin").symlink_to("usr/bin")
    (folder / "image").write_bytes(bytes(5000))
    return Facts(packages={"program": "1.0-1"}, notes={"release": "6.12"})


def never(folder: Path) -> Facts:
    raise AssertionError(f"built again in {folder}")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path, "runtime")


@pytest.fixture
def entry(shelf: Shelf) -> Entry:
    return shelf.make(KEY, fill)


def test_entry_is_found_as_it_was_built(shelf: Shelf, entry: Entry) -> None:
    found = shelf.find(KEY)
    assert found == entry
    assert entry.folder.parent.name == entry.digest
    assert entry.facts == Facts(packages={"program": "1.0-1"}, notes={"release": "6.12"})
    assert shelf.check(KEY) == entry
    assert shelf.make(KEY, never) == entry


def test_equal_content_has_an_equal_digest(entry: Entry, tmp_path: Path) -> None:
    assert Shelf(tmp_path / "other", "runtime").make(KEY, fill).digest == entry.digest


def test_other_inputs_find_nothing(shelf: Shelf, entry: Entry) -> None:
    assert shelf.find("j" * 64) is None
    assert entry.folder.is_dir()


def _flip(path: Path) -> None:
    facts = path.stat()
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"!")


def _replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/bin/sh")


def _open_up(path: Path) -> None:
    path.chmod(0o777)


@pytest.mark.parametrize("damage", [_flip, _grow, _replace_by_link, Path.unlink, _open_up])
def test_damaged_entry_is_not_used_and_built_again(
    shelf: Shelf, entry: Entry, damage: Callable[[Path], None]
) -> None:
    damage(entry.folder / PROGRAM)
    assert shelf.find(KEY) is None
    again = shelf.make(KEY, fill)
    assert again == entry
    assert (again.folder / PROGRAM).read_bytes() == b"machine code"
    assert not list(entry.folder.parent.parent.glob("damaged-*"))


def test_added_file_is_damage(shelf: Shelf, entry: Entry) -> None:
    (entry.folder / "tree/usr/bin/more").write_bytes(b"")
    assert shelf.find(KEY) is None


@pytest.mark.parametrize("name", ["manifest.json", "../" + KEY + ".ref"])
@pytest.mark.parametrize("text", ["", "{}", "../../../etc", "0" * 64, "\0\xff"])
def test_spoilt_bookkeeping_is_damage(shelf: Shelf, entry: Entry, name: str, text: str) -> None:
    (entry.folder.parent / name).write_text(text, encoding="latin-1")
    assert shelf.find(KEY) is None
    assert shelf.make(KEY, fill) == entry


def test_lost_or_wrong_stamp_only_costs_a_full_check(shelf: Shelf, entry: Entry) -> None:
    stamp = entry.folder.parent / "stamp"
    right = stamp.read_bytes()
    for wrong in (b"nonsense", None):
        if wrong is None:
            stamp.unlink()
        else:
            stamp.write_bytes(wrong)
        assert shelf.find(KEY) == entry
        assert stamp.read_bytes() == right


def test_touched_but_equal_files_are_whole(shelf: Shelf, entry: Entry) -> None:
    path = entry.folder / PROGRAM
    path.write_bytes(path.read_bytes())
    assert shelf.find(KEY) == entry


def test_half_made_entries_are_removed_by_the_next_build(shelf: Shelf, tmp_path: Path) -> None:
    leftover = tmp_path / "runtime/temp-0123"
    (leftover / "content/tree").mkdir(parents=True)
    (leftover / "content/tree/half").write_bytes(b"half")
    assert shelf.find(KEY) is None
    assert shelf.digests() == ()
    shelf.make(KEY, fill)
    assert not leftover.exists()


def test_failed_build_leaves_nothing(shelf: Shelf, tmp_path: Path) -> None:
    def fail(folder: Path) -> Facts:
        fill(folder)
        raise HostError("no space")

    with pytest.raises(HostError, match="no space"):
        shelf.make(KEY, fail)
    assert [p.name for p in (tmp_path / "runtime").iterdir()] == [".lock"]


def test_full_disk_is_an_error_with_a_hint(shelf: Shelf) -> None:
    def fail(folder: Path) -> Facts:
        raise OSError(28, "No space left on device", str(folder))

    with pytest.raises(HostError, match="No space left") as caught:
        shelf.make(KEY, fail)
    assert caught.value.hint is not None
    assert "disk space" in caught.value.hint


def test_prune_keeps_what_is_named(shelf: Shelf, entry: Entry) -> None:
    other = shelf.make("j" * 64, _other)
    assert set(shelf.digests()) == {entry.digest, other.digest}
    assert shelf.prune(frozenset({other.digest})) > 0
    assert shelf.digests() == (other.digest,)
    assert shelf.find(KEY) is None
    assert shelf.find("j" * 64) == other


def _other(folder: Path) -> Facts:
    (folder / "data").write_bytes(b"other" * 1000)
    return Facts(packages={}, notes={})


SLOW_BUILDER = """
import sys
from pathlib import Path
from sbx.image.cache import Facts, Shelf
cache, log = Path(sys.argv[1]), Path(sys.argv[2])
def build(folder):
    with log.open("a") as out:
        out.write("built\\n")
    print("building", flush=True)
    sys.stdin.readline()
    (folder / "data").write_bytes(b"data")
    return Facts(packages={}, notes={})
print("digest", Shelf(cache, "runtime").make("k" * 64, build).digest, flush=True)
"""


def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def start() -> subprocess.Popen[str]:
        args = [sys.executable, "-c", SLOW_BUILDER, str(tmp_path), str(log)]
        return subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    with start() as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "building\n"
        with start() as second:
            assert second.stdout is not None
            first.stdin.write("\n")
            first.stdin.flush()
            digest = first.stdout.readline()
            assert digest.startswith("digest ")
            assert second.stdout.readline() == digest
    assert log.read_text() == "built\n"


def test_killed_builder_frees_the_lock_and_its_leftovers_go(tmp_path: Path) -> None:
    args = [sys.executable, "-c", SLOW_BUILDER, str(tmp_path), str(tmp_path / "log")]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "building\n"
        child.kill()
    assert list((tmp_path / "runtime").glob("temp-*"))
    Shelf(tmp_path, "runtime").make(KEY, fill)
    assert not list((tmp_path / "runtime").glob("temp-*"))
