# SPDX-License-Identifier: Apache-2.0
"""KVM or emulation, and when the probe is asked again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.sandbox.parts import Accel, RuntimeBundle
from sbx.sandbox.spec import AccelChoice
from sbx.vm import endpoints
from sbx.vm.accel import VERDICT_FILE, choose_accel

Pretend = Callable[[str], None]


@pytest.fixture(name="device", autouse=True)
def _device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in /dev/kvm's place."""
    path = tmp_path / "kvm"
    path.touch()
    monkeypatch.setattr(endpoints, "KVM_DEVICE", path)
    return path


def test_kvm_that_works(runtime: RuntimeBundle, pretend: Pretend, tmp_path: Path) -> None:
    pretend("probe-works")
    for choice in (AccelChoice.AUTO, AccelChoice.KVM):
        verdict = choose_accel(choice, runtime, tmp_path)
        assert (verdict.accel, verdict.reason) == (Accel.KVM, None)


def test_kvm_that_does_not(runtime: RuntimeBundle, pretend: Pretend, tmp_path: Path) -> None:
    pretend("dies")
    verdict = choose_accel(AccelChoice.AUTO, runtime, tmp_path)
    assert verdict.accel is Accel.TCG
    assert verdict.reason == "`/dev/kvm` opens, but QEMU fails under it (status 1)"
    with pytest.raises(HostError, match=r"KVM cannot be used: .* fails under it") as caught:
        choose_accel(AccelChoice.KVM, runtime, tmp_path)
    assert caught.value.hint == "Use --accel auto"
    assert caught.value.details == "qemu: cannot do that"


def test_emulation_asked_for_needs_no_probe(
    runtime: RuntimeBundle, device: Path, tmp_path: Path
) -> None:
    device.unlink()
    verdict = choose_accel(AccelChoice.TCG, runtime, tmp_path)
    assert (verdict.accel, verdict.reason) == (Accel.TCG, None)
    assert not (tmp_path / VERDICT_FILE).exists()


def test_no_device_is_found_out_each_time(
    runtime: RuntimeBundle, pretend: Pretend, device: Path, tmp_path: Path
) -> None:
    device.unlink()
    verdict = choose_accel(AccelChoice.AUTO, runtime, tmp_path)
    assert verdict.reason is not None
    assert "is not there" in verdict.reason
    assert "modprobe" in (verdict.hint or "")
    device.touch()
    pretend("probe-works")
    assert choose_accel(AccelChoice.AUTO, runtime, tmp_path).accel is Accel.KVM


def test_no_permission_names_the_group(
    runtime: RuntimeBundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("sbx.vm.endpoints.os.open", refuse)  # root may open anything
    with pytest.raises(HostError, match="no permission") as caught:
        choose_accel(AccelChoice.KVM, runtime, tmp_path)
    assert caught.value.hint is not None
    assert "usermod -aG kvm" in caught.value.hint


def test_the_answer_is_kept(runtime: RuntimeBundle, pretend: Pretend, tmp_path: Path) -> None:
    pretend("probe-works")
    choose_accel(AccelChoice.AUTO, runtime, tmp_path)
    pretend("dies")
    assert choose_accel(AccelChoice.AUTO, runtime, tmp_path).accel is Accel.KVM
    assert choose_accel(AccelChoice.AUTO, runtime, tmp_path, fresh=True).accel is Accel.TCG
    pretend("probe-works")
    assert choose_accel(AccelChoice.AUTO, runtime, tmp_path).accel is Accel.TCG


def test_another_bundle_is_probed_again(
    runtime: RuntimeBundle, pretend: Pretend, tmp_path: Path
) -> None:
    pretend("dies")
    choose_accel(AccelChoice.AUTO, runtime, tmp_path)
    pretend("probe-works")
    other = replace(runtime, digest="another")
    assert choose_accel(AccelChoice.AUTO, other, tmp_path).accel is Accel.KVM


@pytest.mark.parametrize("content", [b"", b"{", b'{"generation": 1}', b"x" * 100_000])
def test_a_damaged_answer_is_made_again(
    runtime: RuntimeBundle, pretend: Pretend, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / VERDICT_FILE).write_bytes(content)
    pretend("probe-works")
    assert choose_accel(AccelChoice.AUTO, runtime, tmp_path).accel is Accel.KVM
