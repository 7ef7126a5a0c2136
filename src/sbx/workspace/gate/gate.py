# SPDX-License-Identifier: Apache-2.0
"""The gate in front of the file server's names: what it is told, and the command that starts it.

Mounts in the jail cover what is there when a sandbox starts. The gate holds for names: also for
what appears later, what a program on the host replaces, and git's files that do not exist yet.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from sbx.errors import HostError
from sbx.system.process import OWN_SOURCE
from sbx.workspace.gate.calls import gate_filter
from sbx.workspace.patterns import compile_patterns

_BOOT = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from sbx.workspace.gate.helper import main; main(sys.argv[2:])"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GateRules:
    """What the gate is to hold, by the number of the mount."""

    guarded: frozenset[int] = frozenset()  # git's own files cannot be made or changed
    masks: Mapping[int, tuple[str, ...]] = field(default_factory=dict[int, tuple[str, ...]])
    covers: tuple[Path, ...] = ()  # what is bound over masked files and folders
    fixed: frozenset[bytes] = frozenset()  # read-only places of the share, such as b"0/conf/.env"

    @property
    def is_needed(self) -> bool:
        """Whether there is anything to hold."""
        return bool(self.guarded or self.masks or self.fixed)


def gate_config(rules: GateRules, *, root: Path) -> int:
    """A file with the helper's configuration; the caller closes it.

    Raises:
        HostError: this kind of machine is not supported.
    """
    machine = os.uname().machine
    try:
        program = gate_filter(machine, looks=bool(rules.masks))
    except KeyError as error:
        raise HostError(f"machine type is not supported: `{machine}`") from error
    items = [
        b"machine=" + machine.encode(),
        b"filter=" + program.hex().encode(),
        b"root=" + os.fsencode(root) + b"/",
        *(b"git=%d" % number for number in sorted(rules.guarded)),
        *(b"fixed=" + path for path in sorted(rules.fixed)),
    ]
    for path in rules.covers:
        facts = path.stat()
        items.append(b"cover=%d:%d" % (facts.st_dev, facts.st_ino))
    for number, patterns in rules.masks.items():
        items += [b"mask=%d|" % number + text for text in _expressions(patterns)]
    fd = os.memfd_create("gate")
    with os.fdopen(os.dup(fd), "wb") as file:
        file.write(b"\0".join(items))
    return fd


def gate_command(config: int, program: Sequence[str | Path]) -> list[str]:
    """The argument list that runs `program` behind the gate."""
    own = [sys.executable, "-I", "-S", "-c", _BOOT, str(OWN_SOURCE), str(config)]
    return [*own, *(str(part) for part in program)]


def _expressions(patterns: Sequence[str]) -> list[bytes]:
    """Each pattern as the expression that pathspec makes of it."""
    found: list[bytes] = []
    for text in patterns:
        for pattern in compile_patterns([text]).patterns:
            regex = cast("re.Pattern[str] | None", pattern.regex)  # pyright: ignore[reportUnknownMemberType]  # of any string there
            if pattern.include is None or regex is None:
                continue  # a comment
            has_path = b"1" if "/" in text.strip().rstrip("/") else b"0"
            sign = b"+" if pattern.include else b"-"
            found.append(b"|".join([sign, has_path, os.fsencode(regex.pattern)]))
    return found
