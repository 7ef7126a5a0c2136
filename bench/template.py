# SPDX-License-Identifier: Apache-2.0
"""What templates of images cost: their conversion, and the start of a sandbox from one."""

from __future__ import annotations

import io
import os
import random
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from bench.frame.rows import Finding, Row, in_turns
from bench.frame.suite import Bench, timed
from sbx.image.store import ImageStore
from tests.kit.images import Image, busybox, docker_archive, tiny_root
from tests.kit.installation import Installation

_FOLDERS, _FILES = 450, 100  # 45 000 files, 450 MB
_SIZES = (200, 1000, 3000, 5000, 9000, 20000, 33000)
_BOX = "alone"
_MKFS = (
    "r=/tools/usr; rm -f /var/tmp/out; exec $r/lib64/ld-linux-x86-64.so.2 --library-path "
    "$r/lib/x86_64-linux-gnu $r/bin/mkfs.erofs --tar=f --aufs --quiet /var/tmp/out /var/tmp/in.tar"
)


def run(bench: Bench) -> Iterator[Finding]:
    """Rows `convert`, `start`."""
    with bench.installation() as installation:
        folder = installation.home
        layer = _large_layer()
        root = tiny_root(busybox(installation.cache / "opensbx")).done()
        (folder / "layer.tar").write_bytes(layer)
        file = folder / "image.tar"
        file.write_bytes(docker_archive(Image(layers=[root, layer]), ["large:1"]))
        del layer
        _copy_tools(installation, folder / "tools")
        _box(installation, folder)
        found = in_turns(bench.runs(1, 3), {
            "ours": lambda: _load(installation, file),
            "alone": lambda: timed(installation, "exec", "-u", "0", _BOX, "sh", "-c", _MKFS),
        })  # fmt: skip
        yield Row(
            name="template/convert", unit="s", ours=found["ours"], limit=found["alone"],
            limit_name="mkfs.erofs alone, in a machine that is up, from disk to disk", budget=1.5,
            note="`sbx template load` of 450 MB in 45 000 files, whole process, with its builder",
        )  # fmt: skip
        installation.ok("rm", "-f", _BOX)
        started = in_turns(bench.runs(2, 5), {
            "large:1": lambda: _start(installation, "large:1"),
            "shell": lambda: _start(installation, "shell"),
        })  # fmt: skip
        yield Row(
            name="template/start", unit="s", ours=started["large:1"], limit=started["shell"],
            limit_name="template `shell`", budget=1.1, note="`sbx create`, whole process",
        )  # fmt: skip
        installation.ok("template", "rm", "large:1")


def _large_layer() -> bytes:
    numbers, noise, out = random.Random(1), os.urandom(1 << 20), io.BytesIO()  # noqa: S311 - sizes
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for folder in range(_FOLDERS):
            member = tarfile.TarInfo(f"data{folder}")
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
            for number in range(_FILES):
                member = tarfile.TarInfo(f"data{folder}/file{number}")
                member.size, member.mode = numbers.choice(_SIZES), 0o644
                at = numbers.randrange(1 << 19)
                tar.addfile(member, io.BytesIO(noise[at : at + member.size]))
    return out.getvalue()


def _copy_tools(installation: Installation, target: Path) -> None:
    """mkfs.erofs and its libraries: the cache itself is not shared with anybody."""
    bundle = ImageStore(installation.cache / "opensbx").runtime()
    assert bundle is not None
    for name in ("usr/lib64", "usr/lib/x86_64-linux-gnu"):
        shutil.copytree(bundle.root / name, target / name, symlinks=True)
    (target / "usr/bin").mkdir()
    shutil.copy(bundle.root / "usr/bin/mkfs.erofs", target / "usr/bin")


def _box(installation: Installation, folder: Path) -> None:
    """A sandbox with the layer on its disk."""
    work = folder / "work"
    work.mkdir()
    shares = (str(work), f"{folder / 'layer.tar'}:/in.tar:ro", f"{folder / 'tools'}:/tools:ro")
    installation.ok("create", "shell", *shares, "--name", _BOX, "-q")
    installation.ok("exec", "-u", "0", _BOX, "cp", "/in.tar", "/var/tmp/in.tar")  # noqa: S108 - inside


def _load(installation: Installation, file: Path) -> float:
    installation.call("template", "rm", "large:1")
    return timed(installation, "template", "load", str(file))


def _start(installation: Installation, template: str) -> float:
    taken = timed(installation, "create", "shell", "--name", "one", "-q", "--template", template)
    installation.ok("rm", "-f", "one")
    return taken
