# SPDX-License-Identifier: Apache-2.0
"""Keys of inputs: other inputs, other key; and the packages that the issue asks for are there."""

from __future__ import annotations

from pathlib import Path

from sbx.image.recipe import SHELL_PACKAGES, guest_source, input_key, source_digest


def test_keys_differ_with_any_input() -> None:
    keys = {input_key("a", 1), input_key("a", 2), input_key("b", 1), input_key("a", 1, ())}
    assert len(keys) == 4
    assert input_key("a", ("x", "y")) == input_key("a", ("x", "y"))


def test_source_digest_sees_names_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    first = source_digest(tmp_path)
    (tmp_path / "a.py").write_text("x = 2\n")
    second = source_digest(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    third = source_digest(tmp_path)
    assert len({first, second, third}) == 3
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__/b.pyc").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("no source")
    assert source_digest(tmp_path) == third


def test_guest_source_is_installed_beside_the_package() -> None:
    assert (guest_source() / "__init__.py").is_file()


def test_base_template_has_what_is_promised() -> None:
    assert set(SHELL_PACKAGES) >= {
        "bash", "git", "gh", "curl", "jq", "ripgrep", "less", "vim-tiny", "procps", "make", "gcc",
        "python3", "python3-venv", "python3-pip", "nodejs", "npm", "openssh-client", "socat",
        "sudo",
        "docker.io", "docker-cli", "docker-buildx", "docker-compose",
    }  # fmt: skip
