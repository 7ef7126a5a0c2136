# SPDX-License-Identifier: Apache-2.0
"""The boot probe's verdicts, with a program of ours in the jail's place."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from sbx.errors import PermanentError
from sbx.sandbox.parts import RuntimeBundle
from sbx.vm.probe import probe_kvm


@pytest.fixture(name="kvm")
def _kvm() -> Generator[int]:
    """Any descriptor: nobody looks at it here."""
    fd = os.open("/dev/null", os.O_RDWR)
    yield fd
    os.close(fd)


def test_a_kernel_that_says_the_word_and_ends(
    runtime: RuntimeBundle, kvm: int, pretend: Callable[[str], None]
) -> None:
    pretend("probe-works")
    assert probe_kvm(runtime, kvm) is None


@pytest.mark.parametrize(
    ("behaviour", "words", "details"),
    [
        ("probe-crashes", "a kernel crashes under it", "Kernel panic"),
        ("dies", "QEMU fails under it (status 1)", "qemu: cannot do that"),
        ("silent", "a kernel hangs under it (over 0.5 s)", None),
    ],
)
def test_troubles_are_different_sentences(
    runtime: RuntimeBundle,
    kvm: int,
    pretend: Callable[[str], None],
    behaviour: str,
    words: str,
    details: str | None,
) -> None:
    pretend(behaviour)
    trouble = probe_kvm(runtime, kvm, timeout_s=0.5 if behaviour == "silent" else 4)
    assert trouble is not None
    assert words in trouble.message
    assert trouble.details == details


def test_a_damaged_bundle_is_not_blamed_on_kvm(runtime: RuntimeBundle, kvm: int) -> None:
    (runtime.root / "usr/bin/busybox").unlink()
    with pytest.raises(PermanentError, match="runtime bundle is damaged"):
        probe_kvm(runtime, kvm)


def test_nothing_stays_open(
    runtime: RuntimeBundle, kvm: int, pretend: Callable[[str], None], open_fds: Callable[[], int]
) -> None:
    pretend("silent")
    before = open_fds()
    probe_kvm(runtime, kvm, timeout_s=0.2)
    assert open_fds() == before
    assert not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().strip()
