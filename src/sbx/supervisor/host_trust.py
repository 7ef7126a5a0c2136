# SPDX-License-Identifier: Apache-2.0
"""The authorities that this host's administrator added, for sandboxes to trust as the host does.

A company's TLS proxy or package mirror has a certificate of such an authority. Only certificates
are taken from these files, never a key that somebody keeps beside one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from sbx.errors import HostError
from sbx.system.files import read_bounded

_LOG = logging.getLogger(__name__)

# Where update-ca-certificates(8) and update-ca-trust(8) take additions from, by distribution.
FOLDERS = (
    Path("/usr/local/share/ca-certificates"),  # Debian, Ubuntu
    Path("/etc/pki/ca-trust/source/anchors"),  # Fedora
    Path("/etc/pki/trust/anchors"),  # openSUSE
    Path("/etc/ca-certificates/trust-source/anchors"),  # Arch
)
_SUFFIXES = (".crt", ".pem", ".cer")
_FILE_BYTES = 256 << 10
_TOTAL_BYTES = 40 << 10  # the guest takes 64 KiB (sbx.guest.plan)
_CERTIFICATE = re.compile(
    r"^-----BEGIN CERTIFICATE-----\r?\n[A-Za-z0-9+/=\r\n]+-----END CERTIFICATE-----", re.MULTILINE
)


def host_authorities(folders: Sequence[Path] = FOLDERS) -> str:
    """Their certificates, as PEM; what cannot be read, or is too much, is left out and told."""
    found: dict[str, None] = {}  # the same one may be in several files
    room = _TOTAL_BYTES
    for path in _files(folders):
        for certificate in _certificates(path):
            if certificate in found:
                continue
            room -= len(certificate) + 1
            if room < 0:
                _LOG.warning("too many authorities of this host, left out from: %s", path)
                return _joined(found)
            found[certificate] = None
    return _joined(found)


def _joined(found: dict[str, None]) -> str:
    return "".join(f"{certificate}\n" for certificate in found)


def _files(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        try:
            yield from sorted(p for p in folder.rglob("*") if p.suffix in _SUFFIXES)
        except OSError as error:
            _LOG.warning("cannot read folder %s: %s", folder, error.strerror)


def _certificates(path: Path) -> list[str]:
    try:
        text = read_bounded(path, limit_bytes=_FILE_BYTES).decode("ascii", "replace")
    except (OSError, HostError) as error:
        _LOG.warning("authority of this host left out: %s: %s", path, error)
        return []
    return [each.replace("\r", "") for each in _CERTIFICATE.findall(text)]
