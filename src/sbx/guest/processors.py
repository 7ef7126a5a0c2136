# SPDX-License-Identifier: Apache-2.0
"""Processors that the host held back until the devices are there (docs/machine.md, `maxcpus=1`)."""

from __future__ import annotations

import os

_FOLDER = "/sys/devices/system/cpu"


def wake_processors(folder: str = _FOLDER) -> list[str]:
    """Bring every present processor on line; returns those that were not yet (cpu-hotplug.rst).

    Raises:
        OSError: one does not come up.
    """
    return [name for name in _others(folder) if _set(folder, name, "1")]


def rehearse_processors(folder: str = _FOLDER) -> None:
    """Wake the sleeping processors once and put them back to sleep.

    What the kernel does only the first time (patching itself for several processors, measuring the
    speed of each) takes a second of an emulated machine, which a start from a snapshot then saves.

    Raises:
        OSError: one does not come up, or not down again.
    """
    for name in wake_processors(folder):
        _set(folder, name, "0")


def _others(folder: str) -> list[str]:
    """All processors but the first, which cannot be switched off and has no such file."""
    names = (name for name in os.listdir(folder) if name.removeprefix("cpu").isdecimal())
    return sorted(name for name in names if os.path.exists(f"{folder}/{name}/online"))


def _set(folder: str, name: str, state: str) -> bool:
    """Whether it was in the other state."""
    with open(f"{folder}/{name}/online", "r+") as file:
        if file.read().strip() == state:
            return False
        file.seek(0)
        file.write(state)
    return True
