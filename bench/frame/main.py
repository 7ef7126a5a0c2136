# SPDX-License-Identifier: Apache-2.0
"""`bench/run [--quick] [SUITE...]`: measure, show, keep, draw."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Iterator

from bench.frame.facts import machine_facts
from bench.frame.plots import draw
from bench.frame.results import FOLDER, QUICK_FOLDER, Results, read_all, split, write
from bench.frame.rows import Finding, Row
from bench.frame.suite import Bench
from bench.frame.table import print_rows, write_document

# In this order: what a user feels first comes first, what loads the machine most comes last.
SUITES = (
    "start", "cli", "memory", "policy", "network", "intercept", "git", "engine", "template",
    "density",
)  # fmt: skip
LONG = ("git", "engine", "template")  # minutes each, however few samples: quick by name only


def main() -> int:
    """The number of suites that failed."""
    parser = argparse.ArgumentParser(prog="bench/run", description=__doc__)
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"few samples, in under 5 minutes; {', '.join(LONG)} only if they are named",
    )
    parser.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}")
    given = parser.parse_args()
    unknown = set(given.suites) - set(SUITES)
    if unknown:
        parser.error(f"no such suite: {', '.join(sorted(unknown))}")
    bench = Bench(quick=given.quick)
    usual = [name for name in SUITES if not (given.quick and name in LONG)]
    done = [_run(name, bench) for name in SUITES if name in (given.suites or usual)]
    print()
    print_rows(row for results, _ in done for row in results.rows)
    for results, _ in done:
        write(QUICK_FOLDER if bench.quick else FOLDER, results)
    if bench.quick:
        draw(read_all(QUICK_FOLDER), QUICK_FOLDER)
    else:
        draw(read_all(), FOLDER)
        write_document(read_all())
    failed = [results.suite for results, failure in done if failure]
    if failed:
        print(f"ERROR: failed: {', '.join(failed)}", file=sys.stderr)
    return len(failed)


def _run(name: str, bench: Bench) -> tuple[Results, bool]:
    """One suite; what it found before it failed counts."""
    print(f"== {name}", file=sys.stderr, flush=True)
    facts, began = machine_facts(), time.monotonic()
    findings: list[Finding] = []
    failure = False
    try:
        for found in _findings(name, bench):
            findings.append(found)
            _tell(found, bench)
    except Exception:  # noqa: BLE001 - the other suites have their turn all the same
        traceback.print_exc()
        failure = True
    rows, curves = split(findings)
    took_s = time.monotonic() - began
    bench.say(f"took {took_s:.0f} s")
    return Results(suite=name, machine=facts, took_s=took_s, rows=rows, curves=curves), failure


def _findings(name: str, bench: Bench) -> Iterator[Finding]:
    suite = importlib.import_module(f"bench.{name}")
    found: Iterator[Finding] = suite.run(bench)
    return found


def _tell(found: Finding, bench: Bench) -> None:
    if isinstance(found, Row):
        ratio = "" if found.ratio is None else f", {found.ratio:.2f} x {found.limit_name}"
        bench.say(f"{found.name}: {found.value:.4g} {found.unit}{ratio}")
    else:
        bench.say(f"{found.name}: {len(found.x)} points")


if __name__ == "__main__":
    raise SystemExit(main())
