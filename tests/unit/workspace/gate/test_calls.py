# SPDX-License-Identifier: Apache-2.0
"""The gate's filter, run by the interpreter of the other filter's test."""

from __future__ import annotations

import pytest

from sbx.system.bpf import ALLOW, KILL, NOTIFY
from sbx.workspace.gate.calls import CREATE, PATH, gate_filter, numbers
from tests.unit.workspace.test_setid import ARCH, verdict

OPENAT = {"x86_64": 257, "aarch64": 56}
OTHER = {"x86_64": 0, "aarch64": 63}  # read


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("looks", [False, True])
def test_what_is_told(machine: str, looks: bool) -> None:
    program, arch = gate_filter(machine, looks=looks), ARCH[machine]
    opened = OPENAT[machine]
    told = {
        number: verdict(program, arch=arch, number=number)
        for number, call in numbers(machine).items()
        if number != opened and call < 8
    }
    assert len(told) == 7
    assert set(told.values()) == {NOTIFY}
    for flags, expected in (
        (0, ALLOW),  # read
        (1, NOTIFY), (2, NOTIFY), (CREATE | 1, NOTIFY), (0o1000, NOTIFY),
        (PATH, NOTIFY if looks else ALLOW), (PATH | 2, NOTIFY if looks else ALLOW),
    ):  # fmt: skip
        assert verdict(program, arch=arch, number=opened, args=(0, 0, flags)) == expected, flags
    assert verdict(program, arch=arch, number=OTHER[machine]) == ALLOW
    assert verdict(program, arch=0x40000003, number=opened) == KILL
    assert verdict(program, arch=arch, number=opened | 0x40000000) == KILL


def test_a_machine_that_is_not_known() -> None:
    with pytest.raises(KeyError):
        gate_filter("vax", looks=False)
