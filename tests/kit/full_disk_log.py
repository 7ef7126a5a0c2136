# SPDX-License-Identifier: Apache-2.0
"""A program of `test_way_out_log.py`: an audit log on a disk of its own that fills up.

Run in a mount namespace of its own with a folder as its argument; prints what it saw as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

from sbx.store.audit import Entry, Kind, Log
from sbx.store.audit_reader import records, verify
from sbx.store.audit_writer import AuditWriter, Bounds

ENTRY = Entry(kind=Kind.NETWORK, allowed=True, outcome="passed", proxy="transparent")


def main(folder: Path) -> dict[str, object]:
    """Fill the disk, log more than can wait, make room, and look."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], check=True)
    where = Log(folder=folder / "box@0", sandbox="box", sandbox_id="0")
    told = threading.Event()
    writer = AuditWriter(
        where, bounds=Bounds(waiting=50, retry_s=0.01), on_problem=lambda _problem: told.set()
    )
    number = 0
    while not told.is_set():  # until the disk is full
        writer.record(replace(ENTRY, host=f"h{number}", detail="x" * 400))
        number += 1
    problem = writer.problem
    for _ in range(200):
        writer.record(ENTRY)
    told.clear()
    subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
    told.wait()
    later = writer.problem
    writer.record(replace(ENTRY, host="last"))
    writer.close()
    found = list(records(where))
    return {
        "problem": problem,
        "problem_later": later,
        "logged": any(one.entry and one.entry.host == "last" for one in found),
        "lost": any(one.lost and one.lost.allowed > 0 for one in found),
        "problems": len(verify(where).problems),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))  # noqa: T201 - its tester reads it
