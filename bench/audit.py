# SPDX-License-Identifier: Apache-2.0
"""What the audit log costs: `PYTHONPATH=src python bench/audit.py`, JSON on standard output.

`record_us` is what the proxy's event loop pays for an entry while the thread that writes is at
work beside it (it shares the interpreter's lock); `written_per_s` counts until all is in the file.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

from sbx.store.audit import Entry, Kind, Log
from sbx.store.audit_reader import records, verify
from sbx.store.audit_writer import AuditWriter, Bounds

ENTRIES = 20_000
ROUNDS = 5
ENTRY = Entry(
    kind=Kind.NETWORK, allowed=True, outcome="passed", proxy="forward-bypass",
    host="registry.example.com", port=443, address="192.0.2.10", rule="default-package-registries",
    rule_id="default-package-registries", origin="local", resource="**.example.com:443",
    reason="allowed by rule default-package-registries (**.example.com:443)", sent_bytes=1234,
    received_bytes=567890, duration_s=0.4321,
)  # fmt: skip


def measure(folder: Path) -> dict[str, float]:
    """One round."""
    where = Log(folder=folder, sandbox="one", sandbox_id="0" * 12)
    # Nothing may be lost, and nothing dropped, in what is counted.
    writer = AuditWriter(where, bounds=Bounds(waiting=ENTRIES + 1, generations=1000, close_s=60))
    began = time.perf_counter()
    for _ in range(ENTRIES):
        writer.record(ENTRY)
    recorded = time.perf_counter()
    writer.close()
    written = time.perf_counter()
    size = sum(where.generation(n).stat().st_size for n in where.generations())
    verdict = verify(where)
    verified = time.perf_counter()
    count = sum(1 for one in records(where) if one.entry)
    read = time.perf_counter()
    assert count == ENTRIES
    assert not verdict.problems
    return {
        "record_us": (recorded - began) / ENTRIES * 1e6,
        "written_per_s": ENTRIES / (written - began),
        "bytes_per_entry": size / ENTRIES,
        "verified_per_s": ENTRIES / (verified - written),
        "read_per_s": ENTRIES / (read - verified),
    }


def main() -> None:
    rounds: list[dict[str, float]] = []
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(measure(Path(folder) / "log"))
    found = {
        name: {
            "min": round(min(r[name] for r in rounds), 1),
            "median": round(statistics.median(r[name] for r in rounds), 1),
            "max": round(max(r[name] for r in rounds), 1),
        }
        for name in rounds[0]
    }
    json.dump({"python": sys.version.split()[0], "entries": ENTRIES, **found}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
