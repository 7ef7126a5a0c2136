# SPDX-License-Identifier: Apache-2.0
"""Package indexes of the test internet, each with one package: for pip, npm and apt.

They are files below `internet.files`, so any name of the test internet serves them.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import zipfile
from pathlib import Path

NAME, VERSION = "way-out-demo", "1.0.0"
MODULE = NAME.replace("-", "_")


def publish_wheel(files: Path) -> None:
    """A Python package; the index is `/simple/` (PEP 503)."""
    wheel = f"{MODULE}-{VERSION}-py3-none-any.whl"
    about = f"{MODULE}-{VERSION}.dist-info"
    folder = files / "simple" / NAME
    folder.mkdir(parents=True)
    parts = {
        f"{MODULE}.py": 'SAYS = "installed over the way out"\n',
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {VERSION}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*parts, f"{about}/RECORD"))
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        for name, text in {**parts, f"{about}/RECORD": record}.items():
            archive.writestr(name, text)
    digest = hashlib.sha256((folder / wheel).read_bytes()).hexdigest()
    link = f'<!DOCTYPE html><a href="{wheel}#sha256={digest}">{wheel}</a>\n'
    (folder / "index.html").write_text(link)


def publish_npm(files: Path, url: str) -> None:
    """A Node package; `url` is the registry as clients see it, with a final slash."""
    about = {"name": NAME, "version": VERSION, "main": "index.js"}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, text in {
            "package.json": json.dumps(about),
            "index.js": 'module.exports = "installed over the way out";\n',
        }.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    data = made.getvalue()
    tarball = f"npm-{NAME}-{VERSION}.tgz"
    (files / tarball).write_bytes(data)
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
    dist = {"tarball": url + tarball, "integrity": integrity}
    document = {
        "name": NAME,
        "dist-tags": {"latest": VERSION},
        "versions": {VERSION: {**about, "dist": dist}},
    }
    (files / NAME).write_text(json.dumps(document))


def publish_apt(files: Path) -> None:
    """A Debian archive at `/debian`, suite `test`, component `main`; it is not signed."""
    packages = (
        f"Package: {NAME}\nVersion: {VERSION}\nArchitecture: all\n"
        "Maintainer: Test <test@site.test>\n"
        f"Description: only listed\nFilename: pool/none.deb\nSize: 0\nSHA256: {'0' * 64}\n"
    ).encode()
    suite = files / "debian" / "dists" / "test"
    index = Path("main") / "binary-amd64" / "Packages"
    (suite / index).parent.mkdir(parents=True)
    (suite / index).write_bytes(packages)
    digest = hashlib.sha256(packages).hexdigest()
    (suite / "Release").write_text(
        "Suite: test\nComponents: main\nArchitectures: amd64 all\n"
        "Date: Sat, 01 Aug 2026 00:00:00 UTC\n"
        f"SHA256:\n {digest} {len(packages)} {index}\n"
    )
