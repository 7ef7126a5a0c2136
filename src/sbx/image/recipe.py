# SPDX-License-Identifier: Apache-2.0
"""What the images are made of: the Debian suite, the package lists and the recipe versions.

A change here changes the key of the inputs, so the next preparation builds anew.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

SUITE = "trixie"
ARCHITECTURE = "amd64"
# Time stamp of everything we make ourselves (files from packages keep theirs): 2025-08-09, the
# release of Debian 13. Equal inputs then give equal bytes.
SOURCE_DATE_EPOCH = 1754697600

# Raise a number when the code that builds from the same packages gives another result.
RUNTIME_RECIPE = 2
BASE_RECIPE = 1
TOOLS_RECIPE = 1
SHELL_RECIPE = 1

RUNTIME_PACKAGES = (
    "qemu-system-x86", "virtiofsd", "linux-image-cloud-amd64",
    "busybox-static", "e2fsprogs", "erofs-utils", "kmod", "zstd",
)  # fmt: skip

TOOLS_PACKAGES = (
    "base-files", "libc-bin", "python3.13-minimal", "libpython3.13-stdlib", "tini",
    "busybox-static", "e2fsprogs", "erofs-utils", "iproute2", "kmod", "mount", "util-linux",
)  # fmt: skip

SHELL_PACKAGES = (
    "bash", "ca-certificates", "curl", "gh", "git", "iproute2", "iputils-ping", "jq", "less",
    "mount", "openssh-client", "patch", "procps", "ripgrep", "socat", "sudo", "tzdata", "unzip",
    "vim-tiny", "xz-utils", "make", "gcc", "libc6-dev",
    "python3", "python-is-python3", "python3-venv", "python3-pip", "nodejs", "npm",
    "docker.io", "docker-cli", "docker-buildx", "docker-compose",
)  # fmt: skip


def input_key(*parts: object) -> str:
    """The hex digest that stands for a set of build inputs (anything that JSON can hold)."""
    text = json.dumps([SUITE, ARCHITECTURE, *parts], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def guest_source() -> Path:
    """The folder with the guest agent's source, as installed beside this package."""
    return Path(__file__).resolve().parent.parent / "guest"


def source_digest(folder: Path) -> str:
    """Hex digest over the names and bytes of the Python files below `folder`."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        data = path.read_bytes()
        digest.update(f"{path.relative_to(folder)}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()
