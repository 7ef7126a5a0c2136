# SPDX-License-Identifier: Apache-2.0
"""What a sandbox's processes hold and use, as the kernel counts it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.kit.installation import Family, Installation

_GUEST_FILES = ("memfd:ram", "memfd:more", "memory-backend-memfd")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Proportional set sizes, in MB (10^6 bytes)."""

    guest_mb: float  # pages that the guest has touched, whoever maps them
    own_mb: float  # everything else


def processes_of(installation: Installation) -> dict[int, str]:
    """The processes of its sandboxes and their programs' names."""
    family = Family.of(str(installation.home))
    return {pid: name for pid in family.born if (name := program(pid))}


def program(pid: int) -> str:
    """Which of ours it is; empty for one that has ended."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return ""
    name = Path(words[0].decode(errors="replace")).name
    if name.startswith("python") and b"-m" in words:
        return words[words.index(b"-m") + 1].decode()
    return name


def held(pids: Iterable[int]) -> Held:
    """Proportional set size of these processes, the guest's memory apart (proc_pid_smaps(5))."""
    guest = own = 0
    for pid in pids:
        is_guest = False
        for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
            word = line.split(None, 1)[0]
            if "-" in word and not word.endswith(":"):
                is_guest = any(name in line for name in _GUEST_FILES)
            elif word == "Pss:":
                size = int(line.split()[1]) * 1024
                guest, own = (guest + size, own) if is_guest else (guest, own + size)
    return Held(guest_mb=guest / 1e6, own_mb=own / 1e6)


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time of these processes so far."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S
