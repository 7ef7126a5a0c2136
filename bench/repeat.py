# SPDX-License-Identifier: Apache-2.0
"""`bench/repeat [N]`: N sandboxes one after the other, then twenty at once; nothing may be left.

Each is created, answers a command, and is removed. After each, everything that a sandbox makes on
the host is looked for: processes, namespaces, mounts, sockets, folders, control groups.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import time
from collections.abc import Sequence

from bench.frame.suite import Bench, create
from tests.kit.installation import Family, Installation, leaks

_AT_ONCE = 20


def main() -> None:
    """Say what failed; the status is 0 if nothing did."""
    parser = argparse.ArgumentParser(prog="bench/repeat", description=__doc__)
    parser.add_argument("count", nargs="?", type=int, default=200)
    given = parser.parse_args()
    bench = Bench(quick=False)
    with bench.installation() as installation:
        times = [_once(installation, number) for number in range(given.count)]
        _at_once(installation)
        print(
            f"{given.count} in a row: median {statistics.median(times):.2f} s, "
            f"{min(times):.2f} to {max(times):.2f} s; {_AT_ONCE} at once; nothing failed or is left"
        )


def _once(installation: Installation, number: int) -> float:
    began = time.perf_counter()
    create(installation, f"repeat-{number}", "--memory", "1g")
    installation.ok("exec", f"repeat-{number}", "true")
    taken = time.perf_counter() - began
    family = Family.of(str(installation.home))
    installation.ok("rm", "-f", f"repeat-{number}")
    _prove(installation, family, f"number {number}")
    print(f"{number}: {taken:.2f} s", flush=True)
    return taken


def _at_once(installation: Installation) -> None:
    names = [f"many-{number}" for number in range(_AT_ONCE)]
    workspace = str(installation.home / "workspace")
    started = [
        installation.popen("create", "shell", workspace, "-q", "--name", name, "--memory", "512m")
        for name in names
    ]
    _end_all(started)
    _end_all([installation.popen("exec", name, "true") for name in names])
    family = Family.of(str(installation.home))
    installation.ok("rm", "--all", "-f")
    _prove(installation, family, f"{_AT_ONCE} at once")


def _end_all(started: Sequence[subprocess.Popen[bytes]]) -> None:
    for each in started:
        _, err = each.communicate(timeout=600)
        if each.returncode != 0:
            raise SystemExit(f"{each.args!r} failed: {err.decode(errors='replace')}")


def _prove(installation: Installation, family: Family, what: str) -> None:
    """Nothing of it is there any more."""
    left = leaks(installation) + family.survivors()
    if left:
        raise SystemExit(f"left behind by {what}:\n" + "\n".join(left))


if __name__ == "__main__":
    main()
