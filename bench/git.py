# SPDX-License-Identifier: Apache-2.0
"""How fast git is inside, next to git on the host, on 20 000 files.

`PYTHONPATH=src python bench/git.py [FILES] [RUNS]`. The same commands run in turns on the host and
in three sandboxes: the folder shared directly, branch mode (files shared, repository on the
sandbox's disk) and clone mode (all on the sandbox's disk). Times inside are taken inside, so that
they hold no start of a session. Results go to bench/results/git.json.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODES = {"direct": (), "branch": ("--branch", "bench"), "clone": ("--clone",)}
COMMANDS = {
    "status": "git status --porcelain",
    "commit": "git commit -q --allow-empty -m bench",
    "log": "git log --oneline -n 1000",
}
# Run by Python on either side: seconds per command, the fastest of three, and those of the first.
PROBE = """
import subprocess, sys, time
for name, command in {commands!r}.items():
    times = []
    for _ in range(4):
        began = time.monotonic()
        subprocess.run(command.split(), check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began)
    print(name, min(times[1:]), times[0])
"""


class Bench:
    """A private installation on the shared parts, and one repository per mode."""

    def __init__(self, home: Path, files: int) -> None:
        self.home = home
        (home / "run").mkdir(mode=0o700)
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(Path(__file__).parents[1] / "src"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": cache,
            "XDG_RUNTIME_DIR": str(home / "run"),
        }
        self._make(home / "host", files)
        for name in MODES:
            subprocess.run(["cp", "-a", home / "host", home / name], check=True)
            subprocess.run(
                ["git", "status"], cwd=home / name, check=True, stdout=subprocess.DEVNULL
            )
        for name, options in MODES.items():
            self.sbx("create", "--name", name, "-q", "shell", str(home / name), *options)
            self.sbx("run", "--name", name, "-d")

    def _make(self, top: Path, files: int) -> None:
        for number in range(files):
            path = top / f"d{number // 100}" / f"f{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"file {number}\n" * 20)
        for command in (
            ["init", "-q", "-b", "main"],
            ["config", "gc.auto", "0"],  # it would go on in the background
            ["config", "user.name", "bench"],
            ["config", "user.email", "bench@example.org"],
            ["add", "."],
            ["commit", "-q", "-m", "first"],
        ):
            subprocess.run(["git", *command], cwd=top, check=True)
        history = "".join(
            f"commit refs/heads/main\ncommitter bench <bench@example.org> {number} +0000\n"
            f"data 5\nbench\n{'from refs/heads/main^0' if number == 0 else ''}\n"
            for number in range(1000)
        )
        subprocess.run(
            ["git", "fast-import", "--quiet"], cwd=top, check=True, input=history.encode()
        )
        subprocess.run(["git", "repack", "-a", "-d", "-q"], cwd=top, check=True)

    def sbx(self, *args: str) -> str:
        """Run the command; its output."""
        done = subprocess.run(
            [sys.executable, "-m", "sbx", *args],
            env=self.env, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout.decode()

    def measure(self, name: str) -> dict[str, tuple[float, float]]:
        """Seconds for each command: warm, and the first time."""
        probe = PROBE.format(commands=COMMANDS)
        if name == "host":
            text = subprocess.run(
                [sys.executable, "-c", probe], cwd=self.home / name, check=True,
                stdout=subprocess.PIPE,
            ).stdout.decode()  # fmt: skip
        else:
            text = self.sbx("exec", name, "python3", "-c", probe)
        rows = [line.split() for line in text.splitlines()]
        return {row[0]: (float(row[1]), float(row[2])) for row in rows}

    def close(self) -> None:
        """Remove the sandboxes."""
        self.sbx("rm", "--all", "-f")


def main() -> None:
    files = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 3
    warm: dict[str, dict[str, list[float]]] = {}
    first: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="sbx-bench-") as folder:
        bench = Bench(Path(folder), files)
        try:
            for _ in range(runs):
                for name in ("host", *MODES):
                    for command, (seconds, cold) in bench.measure(name).items():
                        warm.setdefault(name, {}).setdefault(command, []).append(seconds)
                        first.setdefault(name, {}).setdefault(command, cold)
        finally:
            bench.close()
    print(f"{'':8} {'command':8} {'median s':>9} {'x host':>8} {'first s':>9}")
    for name, found in warm.items():
        for command, times in found.items():
            middle = statistics.median(times)
            ratio = middle / statistics.median(warm["host"][command])
            print(f"{name:8} {command:8} {middle:9.3f} {ratio:8.1f} {first[name][command]:9.3f}")
    facts = {
        "cpus": os.cpu_count(), "load": os.getloadavg(), "kernel": platform.release(),
        "python": platform.python_version(), "unix_time": round(time.time()), "files": files,
    }  # fmt: skip
    target = Path(__file__).parent / "results" / "git.json"
    target.parent.mkdir(exist_ok=True)
    document = {"machine": facts, "seconds": warm, "first_seconds": first}
    target.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
