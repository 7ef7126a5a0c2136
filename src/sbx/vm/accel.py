# SPDX-License-Identifier: Apache-2.0
"""Which accelerator a machine gets: KVM if a kernel really boots under it here, else emulation.

The probe's answer is kept per host kernel, processor and runtime bundle. That there is no device,
or no permission, is found out each time: the user may just have changed it.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import HostError
from sbx.sandbox.parts import Accel, RuntimeBundle
from sbx.sandbox.spec import AccelChoice
from sbx.system.codec import CodecError, dumps, loads
from sbx.system.files import owned_fd, read_bounded, write_atomic
from sbx.system.locks import hold_lock
from sbx.vm.endpoints import open_kvm
from sbx.vm.probe import Trouble, probe_kvm

VERDICT_FILE = "accel.json"
_LOCK_FILE = "accel.lock"
_GENERATION = 1  # of the probe: raise it when the probe or QEMU's KVM options change
_LIMIT_BYTES = 64 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class AccelVerdict:
    """What runs the machine, and why it is not KVM."""

    accel: Accel
    reason: str | None = None  # a sentence for the user; None: as asked, or KVM works
    hint: str | None = None
    details: str | None = None  # what QEMU said


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredVerdict:
    """The probe's answer on disk, and what it holds for."""

    generation: int
    kernel: str  # of the host
    processor: str
    runtime: str  # the bundle's digest
    trouble: Trouble | None  # None: a kernel boots


def choose_accel(
    choice: AccelChoice, runtime: RuntimeBundle, cache: Path, *, fresh: bool = False
) -> AccelVerdict:
    """Decide; may boot a probe for up to 10 s, once per host kernel, processor and bundle.

    `fresh` probes again, also where an answer is kept. `cache` must exist.

    Raises:
        HostError: KVM was asked for and does not work.
    """
    if choice is AccelChoice.TCG:
        return AccelVerdict(accel=Accel.TCG)
    try:
        with owned_fd(open_kvm()) as kvm:
            trouble = _probe_once(runtime, kvm, cache, fresh=fresh)
        hint = None
    except HostError as error:
        trouble, hint = Trouble(message=error.message), error.hint
    if trouble is None:
        return AccelVerdict(accel=Accel.KVM)
    if choice is AccelChoice.KVM:
        raise HostError(
            f"KVM cannot be used: {trouble.message}",
            hint=hint or "Use --accel auto",
            details=trouble.details,
        )
    return AccelVerdict(accel=Accel.TCG, reason=trouble.message, hint=hint, details=trouble.details)


def _probe_once(runtime: RuntimeBundle, kvm: int, cache: Path, *, fresh: bool) -> Trouble | None:
    """The trouble with KVM: the kept answer, or that of a new probe; one probe at a time."""
    path = cache / VERDICT_FILE
    with hold_lock(cache / _LOCK_FILE):
        kept = None if fresh else _load(path)
        if kept is not None and kept == _verdict(runtime, kept.trouble):
            return kept.trouble
        trouble = probe_kvm(runtime, kvm)
        write_atomic(path, dumps(_verdict(runtime, trouble)))
    return trouble


def _verdict(runtime: RuntimeBundle, trouble: Trouble | None) -> StoredVerdict:
    return StoredVerdict(
        generation=_GENERATION,
        kernel=os.uname().release,
        processor=_processor(),
        runtime=runtime.digest,
        trouble=trouble,
    )


def _load(path: Path) -> StoredVerdict | None:
    with contextlib.suppress(OSError, HostError, CodecError):
        return loads(StoredVerdict, read_bounded(path, limit_bytes=_LIMIT_BYTES))
    return None  # absent or damaged: probe again


def _processor() -> str:
    """The processor's name (proc(5), `cpuinfo`)."""
    with Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return os.uname().machine
