# SPDX-License-Identifier: Apache-2.0
"""The host's authority among the trusted ones of a sandbox."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.guest import trust


@pytest.fixture(name="root")
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(trust, "BUNDLE", str(tmp_path / "etc/ssl/certs/ca-certificates.crt"))
    monkeypatch.setattr(trust, "_OTHERS", (str(tmp_path / "fedora.crt"),))
    monkeypatch.setattr(trust, "_OWN", str(tmp_path / "own"))
    return tmp_path


def _bundle(root: Path) -> Path:
    return root / "etc/ssl/certs/ca-certificates.crt"


def test_it_is_added_once_and_replaced(root: Path) -> None:
    bundle = _bundle(root)
    bundle.parent.mkdir(parents=True)
    bundle.write_text("A\nB")
    (root / "own").mkdir()
    trust.write_trust("ONE\n")
    assert bundle.read_text() == "A\nB\n# opensbx begin\nONE\n# opensbx end\n"
    before = bundle.stat().st_ino
    trust.write_trust("ONE")
    assert bundle.stat().st_ino == before
    trust.write_trust("TWO")
    assert bundle.read_text() == "A\nB\n# opensbx begin\nTWO\n# opensbx end\n"


def test_each_has_a_file_of_its_own_and_old_ones_go(root: Path) -> None:
    own = root / "own"
    own.mkdir()
    (own / "mine.crt").write_text("of the template\n")
    ones = [f"-----BEGIN CERTIFICATE-----\n{n}\n-----END CERTIFICATE-----\n" for n in range(3)]
    trust.write_trust("".join(ones))
    names = ("opensbx.crt", "opensbx-host-1.crt", "opensbx-host-2.crt")
    assert [(own / name).read_text() for name in names] == ones
    links = [_bundle(root).with_name(name.replace(".crt", ".pem")) for name in names]
    assert [link.read_text() for link in links] == ones
    assert "".join(ones) in _bundle(root).read_text()
    trust.write_trust("".join(ones[:2]))
    assert sorted(p.name for p in own.iterdir()) == ["mine.crt", *sorted(names[:2])]
    assert [link.is_symlink() for link in links] == [True, True, False]


def test_a_template_without_authorities_gets_a_list(root: Path) -> None:
    trust.write_trust("ONE")
    assert _bundle(root).read_text() == "# opensbx begin\nONE\n# opensbx end\n"


def test_another_distributions_list_is_the_start_of_ours(root: Path) -> None:
    (root / "fedora.crt").write_text("F\n")
    trust.write_trust("ONE")
    for path in (root / "fedora.crt", _bundle(root)):
        assert path.read_text() == "F\n# opensbx begin\nONE\n# opensbx end\n"


def test_what_is_no_list_is_left_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "_LIMIT_BYTES", 10)
    bundle = _bundle(root)
    bundle.parent.mkdir(parents=True)
    bundle.write_text("x" * 20)
    trust.write_trust("ONE")
    assert bundle.read_text() == "x" * 20
