# SPDX-License-Identifier: Apache-2.0
"""What the host asks to be assembled: parsed once, checked, and then only read."""

from __future__ import annotations

import posixpath

from .wire import Fields, WireError

_KERNEL_FOLDERS = ("/proc/", "/sys/", "/dev/")
MAX_MOUNTS = 64
MAX_LAYERS = 64
_MAX_BYTES = 1 << 50


class Mount:
    """One entry of the share, and its place in the sandbox."""

    __slots__ = ("index", "is_file", "read_only", "target")

    def __init__(self, fields: Fields) -> None:
        self.index = fields.integer("index", 0, MAX_MOUNTS - 1)
        self.target = _absolute(fields.text("target"))
        self.read_only = fields.flag("read_only")
        self.is_file = fields.flag("is_file")
        if self.target == "/" or f"{self.target}/".startswith(_KERNEL_FOLDERS):
            raise WireError(f"cannot mount on `{self.target}`")


class Assembly:
    """Disks, mounts and the defaults of what runs in the sandbox."""

    __slots__ = (
        "data", "data_is_new", "env", "layers", "memory_awaited_bytes", "memory_growth_bytes",
        "mounts", "share", "trust", "user", "workdir",
    )  # fmt: skip

    def __init__(self, fields: Fields) -> None:
        self.layers = fields.list_of_text("layers", MAX_LAYERS, 20)  # a serial has 20 characters
        self.data = fields.text("data", 20)
        self.data_is_new = fields.flag("data_is_new")
        self.share = fields.text_or_none("share", 36)  # virtio-fs: a tag has 36 bytes
        self.mounts = [Mount(item) for item in fields.list_of_fields("mounts", MAX_MOUNTS)]
        self.user = fields.text("user", 256)
        self.workdir = _absolute(fields.text("workdir"))
        self.memory_awaited_bytes = fields.integer_or_zero("memory_awaited_bytes", _MAX_BYTES)
        self.memory_growth_bytes = fields.integer_or_zero("memory_growth_bytes", _MAX_BYTES)
        self.env = fields.pairs("env", 1024, 128 * 1024)
        self.trust = fields.text_or_none("trust", 64 * 1024)
        if not self.layers:
            raise WireError("`layers`: none")
        if self.mounts and self.share is None:
            raise WireError("`mounts` without `share`")


def _absolute(path: str) -> str:
    if not path.startswith("/") or ".." in path.split("/"):
        raise WireError(f"not an absolute path: `{path}`")
    return posixpath.normpath("/" + path.lstrip("/"))
