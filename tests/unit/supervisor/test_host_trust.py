# SPDX-License-Identifier: Apache-2.0
"""The host's own authorities: certificates, and nothing else of what is beside them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.supervisor.host_trust import host_authorities


def certificate(body: str) -> str:
    return f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"


def test_certificates_are_taken_once_and_in_order(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.crt").write_text(certificate("QkI=") + "# and\n" + certificate("Q0M="))
    (tmp_path / "a.pem").write_bytes(certificate("QUE=").replace("\n", "\r\n").encode())
    (tmp_path / "sub/c.crt").write_text(certificate("QkI="))
    (tmp_path / "README").write_text(certificate("UlI="))
    wanted = certificate("QUE=") + certificate("QkI=") + certificate("Q0M=")
    assert host_authorities([tmp_path, tmp_path / "none"]) == wanted


def test_a_key_beside_a_certificate_stays_on_the_host(tmp_path: Path) -> None:
    key = "-----BEGIN PRIVATE KEY-----\nS0VZ\n-----END PRIVATE KEY-----\n"
    (tmp_path / "both.pem").write_text(key + certificate("QUE=") + key)
    assert host_authorities([tmp_path]) == certificate("QUE=")


def test_what_is_too_much_or_unreadable_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.crt").write_text(certificate("QUE="))
    (tmp_path / "b.crt").write_bytes(b"x" * (1 << 20))
    (tmp_path / "c.crt").symlink_to("nowhere")
    (tmp_path / "d.crt").write_text(certificate("RERE" * 20_000))
    assert host_authorities([tmp_path]) == certificate("QUE=")
    assert len(caplog.records) == 3
