# SPDX-License-Identifier: Apache-2.0
"""Each reason why a host says no has its own sentence and its own remedy."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from sbx.errors import HostError
from sbx.system.userns import Verdict, check_tun, explain_nft, explain_tun, explain_user_namespaces


def switches(folder: Path, **values: str) -> Path:
    """A /proc/sys of our own; `a__b` is `a/b`."""
    for name, value in {"user__max_user_namespaces": "9", **values}.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(value + "\n")
    return folder


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("kernel__unprivileged_userns_clone", "0", "kernel.unprivileged_userns_clone = 1"),
        ("user__max_user_namespaces", "0", "user.max_user_namespaces = 15000"),
        ("user__max_net_namespaces", "0", "user.max_net_namespaces = 15000"),
        (
            "kernel__apparmor_restrict_unprivileged_userns",
            "1",
            "kernel.apparmor_restrict_unprivileged_userns = 0",
        ),
    ],
)
def test_a_switch_that_forbids_is_named_with_its_remedy(
    tmp_path: Path, name: str, value: str, wanted: str
) -> None:
    verdict = explain_user_namespaces(switches(tmp_path, **{name: value}))
    assert not verdict.ok
    assert f"{wanted.split(' ', maxsplit=1)[0]} = {value}" in verdict.message
    assert verdict.hint is not None
    assert f"'{wanted}'" in verdict.hint
    assert "sudo sysctl --load" in verdict.hint


def test_switches_that_allow_are_not_blamed(tmp_path: Path) -> None:
    folder = switches(
        tmp_path,
        kernel__unprivileged_userns_clone="1",
        kernel__apparmor_restrict_unprivileged_userns="0",
    )
    assert "no kernel switch says so" in explain_user_namespaces(folder).message


def test_a_kernel_without_user_namespaces(tmp_path: Path) -> None:
    assert "built without user namespaces" in explain_user_namespaces(tmp_path).message


@pytest.mark.parametrize(
    ("number", "message", "hint"),
    [
        (errno.EACCES, "no permission", "sudo chmod 0666"),
        (errno.ENOENT, "no TAP device", "sudo modprobe tun"),
        (errno.ENODEV, "no TAP driver", "sudo modprobe tun"),
        (errno.EMFILE, "Too many open files", "sudo modprobe tun"),
    ],
)
def test_a_closed_tun_device(number: int, message: str, hint: str) -> None:
    verdict = explain_tun(number)
    assert message in verdict.message
    assert verdict.hint is not None
    assert hint in verdict.hint


def test_a_missing_tun_device(tmp_path: Path) -> None:
    assert check_tun(tmp_path / "tun").message == f"no TAP device: `{tmp_path / 'tun'}`"


def test_a_file_in_place_of_the_tun_device(tmp_path: Path) -> None:
    (tmp_path / "tun").touch()
    assert check_tun(tmp_path / "tun").message == f"not a device: `{tmp_path / 'tun'}`"


@pytest.mark.parametrize(
    "words",
    [
        "nsenter: failed to execute nft: No such file or directory",
        "unshare: failed to execute nft: No such file or directory",
    ],
)
def test_nft_that_is_not_installed(words: str) -> None:
    assert explain_nft(words).hint == "Run: sudo apt-get install nftables"


def test_a_kernel_that_refuses_the_rules() -> None:
    verdict = explain_nft("netlink: Error: cache initialization failed: Protocol not supported")
    assert verdict.hint is not None
    assert "modprobe" in verdict.hint


def test_a_verdict_can_be_demanded() -> None:
    Verdict(ok=True, message="fine").demand()
    with pytest.raises(HostError, match="no TAP device"):
        explain_tun(errno.ENOENT).demand()
