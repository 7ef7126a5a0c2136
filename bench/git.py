# SPDX-License-Identifier: Apache-2.0
"""The workspace: git on 20 000 files inside, next to git on the host, and plain files.

The same commands run in turns on the host and in sandboxes: the folder shared directly, branch mode
(files shared, repository on the sandbox's disk) and clone mode (all on the sandbox's own disk,
which is the limit). Times inside are taken inside, so that they hold no start of a session.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from bench.frame.rows import Finding, Row
from bench.frame.suite import Bench
from tests.kit.installation import Installation
from tests.kit.repositories import git

HOST, OPEN = "host", "unguarded"
SANDBOXES = {
    "direct": (),
    "branch": ("--branch", "bench"),
    "clone": ("--clone",),
    OPEN: ("--git-unsafe",),  # as direct, without the gate before each name that is made
}
COMMANDS = {
    "status": "git status --porcelain",
    "commit": "git commit -q --allow-empty -m bench",
    "log": "git log --oneline -n 1000",
}
SMALL_FILES, SEQUENTIAL_BYTES = 500, 64 << 20
# Run by Python on either side: the seconds of each command, as JSON.
GIT = """
import json, subprocess, time
found = {{}}
for name, command in {commands!r}.items():
    began = time.monotonic()
    subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
    found[name] = time.monotonic() - began
print(json.dumps(found))
"""
# Files that are made, read and removed; then one that is written, synced and read.
FILES = """
import json, os, time
found, began = {{}}, time.monotonic()
os.mkdir("bench-files")
for number in range({files}):
    with open(f"bench-files/{{number}}", "w") as file:
        file.write("x" * 400)
for name in os.listdir("bench-files"):
    with open("bench-files/" + name) as file:
        file.read()
    os.unlink("bench-files/" + name)
os.rmdir("bench-files")
found["small"] = time.monotonic() - began
began, piece = time.monotonic(), os.urandom(1 << 20)
with open("bench-large", "wb") as file:
    for _ in range({size} >> 20):
        file.write(piece)
    os.fsync(file.fileno())
with open("bench-large", "rb") as file:
    while file.read(1 << 20):
        pass
found["sequential"] = time.monotonic() - began
os.unlink("bench-large")
print(json.dumps(found))
"""
Samples = dict[str, dict[str, list[float]]]


def make_repository(top: Path, files: int) -> None:
    """Files in folders of a hundred, and a thousand commits."""
    for number in range(files):
        path = top / f"d{number // 100}" / f"f{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"file {number}\n" * 20)
    git(top, "init", "-q", "-b", "main")
    for key, value in (("gc.auto", "0"), ("user.name", "b"), ("user.email", "b@example.org")):
        git(top, "config", key, value)
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "first")
    history = "".join(
        f"commit refs/heads/main\ncommitter bench <bench@example.org> {number} +0000\n"
        f"data 5\nbench\n{'from refs/heads/main^0' if number == 0 else ''}\n"
        for number in range(1000)
    )
    subprocess.run(["git", "fast-import", "--quiet"], cwd=top, check=True, input=history.encode())
    git(top, "repack", "-a", "-d", "-q")


def measure(home: Installation, place: str, script: str, into: Samples) -> None:
    """One turn of a script at a place."""
    if place == HOST:
        text = subprocess.run(
            [sys.executable, "-c", script], cwd=home.home / HOST, check=True, capture_output=True
        ).stdout.decode()
    else:
        text = home.ok("exec", place, "python3", "-c", script).text
    for name, seconds in json.loads(text).items():
        into.setdefault(place, {}).setdefault(name, []).append(seconds)


def run(bench: Bench) -> Iterator[Finding]:
    """Rows for git's commands and for files, against the sandbox's own disk."""
    # The file server has an open file for each that the guest remembers (docs/workspace.md).
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 4_000
    files = min(bench.runs(2_000, 20_000), most)
    with bench.installation() as home:
        make_repository(home.home / HOST, files)
        for name, options in SANDBOXES.items():
            subprocess.run(["cp", "-a", home.home / HOST, home.home / name], check=True)
            git(home.home / name, "status")
            home.ok("create", "-q", "--name", name, "shell", str(home.home / name), *options)
        commands = GIT.format(commands=COMMANDS)
        first: Samples = {}
        found: Samples = {}
        for place in (HOST, "clone", "branch", "direct"):
            measure(home, place, commands, first)
        for _ in range(bench.runs(1, 3)):
            for place in (HOST, "clone", "branch", "direct"):
                measure(home, place, commands, found)
        yield from git_rows(files, first, found)
        plain = FILES.format(
            files=bench.runs(SMALL_FILES // 5, SMALL_FILES),
            size=bench.runs(SEQUENTIAL_BYTES // 4, SEQUENTIAL_BYTES),
        )
        for _ in range(bench.runs(1, 3)):
            for place in (HOST, "clone", "direct", OPEN):
                measure(home, place, plain, found)
        yield from file_rows(found)
        home.ok("rm", "--all", "-f")


def git_rows(files: int, first: Samples, found: Samples) -> Iterator[Row]:
    """Each command in the modes that share files, against the mode that shares none."""
    for command in COMMANDS:
        host = min(found[HOST][command])
        for place in ("direct", "branch"):
            yield Row(
                name=f"git/{command}-{place}",
                unit="s",
                ours=tuple(found[place][command]),
                limit=tuple(found["clone"][command]),
                limit_name="the sandbox's own disk (--clone)",
                budget=3.0,
                note=f"{files} files; on the host {host:.3f} s; the first time inside "
                f"{first[place][command][0]:.3f} s, on its own disk "
                f"{first['clone'][command][0]:.3f} s",
            )


def file_rows(found: Samples) -> Iterator[Row]:
    """Plain files in a shared folder."""
    for name, budget, what in (
        ("small", 3.0, "small files made, read and removed"),
        ("sequential", 1.5, "one large file written, synced and read"),
    ):
        host = min(found[HOST][name])
        yield Row(
            name=f"git/{name}-direct",
            unit="s",
            ours=tuple(found["direct"][name]),
            limit=tuple(found["clone"][name]),
            limit_name="the sandbox's own disk",
            budget=budget,
            note=f"{what}; on the host {host:.3f} s",
        )
    yield Row(
        name="git/gate",
        unit="s",
        ours=tuple(found["direct"]["small"]),
        limit=tuple(found[OPEN]["small"]),
        limit_name="the same with --git-unsafe",
        note="what the gate costs where names are made and removed",
    )
