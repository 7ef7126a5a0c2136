# SPDX-License-Identifier: Apache-2.0
"""The certificate authority of an installation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from sbx.proxy.intercept.authority import (
    AUTHORITY,
    make_authority,
    make_leaf,
    open_authority,
    trusted_pem,
)
from tests.unit.secret.test_entries import paths

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_it_is_made_once_and_only_we_can_read_it(tmp_path: Path) -> None:
    where = paths(tmp_path)
    first = open_authority(where, now=NOW)
    assert open_authority(where, now=NOW + timedelta(days=300)).pem() == first.pem()
    assert (where.config / AUTHORITY).stat().st_mode & 0o777 == 0o600
    assert isinstance(first.key.curve, ec.SECP256R1)
    assert b"PRIVATE" not in first.pem()


def test_its_certificate_is_read_without_its_key(tmp_path: Path) -> None:
    where = paths(tmp_path)
    made = trusted_pem(where)
    assert trusted_pem(where) == made == open_authority(where).pem()
    path = where.config / AUTHORITY
    path.write_text(path.read_text().replace("valid until 2", "valid until 1"))
    assert trusted_pem(where).startswith(b"-----BEGIN CERTIFICATE-----")


@pytest.mark.parametrize("how", ["old", "damaged", "readable"])
def test_it_is_made_anew(tmp_path: Path, how: str) -> None:
    where = paths(tmp_path)
    first = open_authority(where, now=NOW)
    later = NOW
    if how == "old":
        later = NOW + timedelta(days=310)
    elif how == "damaged":
        (where.config / AUTHORITY).write_text("x")
        (where.config / AUTHORITY).chmod(0o600)
    else:
        (where.config / AUTHORITY).chmod(0o644)
    assert open_authority(where, now=later).pem() != first.pem()


def test_it_can_sign_servers_by_name_and_nothing_else() -> None:
    certificate = make_authority(NOW).certificate
    basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (basic.ca, basic.path_length) == (True, 0)
    names = certificate.extensions.get_extension_for_class(x509.NameConstraints)
    assert names.critical
    assert len(names.value.excluded_subtrees or ()) == 2
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [x509.OID_SERVER_AUTH]


def test_a_leaf_is_short_lived() -> None:
    authority = make_authority(NOW)
    key = ec.generate_private_key(ec.SECP256R1())
    name = ".".join(["a" * 60] * 4)
    leaf = make_leaf(authority, key, name, now=NOW, life=timedelta(days=2))
    leaf.verify_directly_issued_by(authority.certificate)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [name]
    assert leaf.not_valid_after_utc == NOW + timedelta(days=2)
    assert leaf.not_valid_before_utc < NOW
