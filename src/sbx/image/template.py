# SPDX-License-Identifier: Apache-2.0
"""Templates: what a sandbox starts from. The base template `shell` is Debian 13 with common tools.

Layers lie in `<cache>/layers/<digest>.erofs`, shared by all templates. The file
`<cache>/templates/<name>.json` names a template's layers and the defaults of what runs in it. The
same comes out whether root or an ordinary user builds: mmdebstrap maps the owners, and its archive
goes into the layer without being unpacked on the host.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sbx.errors import HostError, PermanentError
from sbx.image.debian import Bootstrap, Mode, bootstrap, pick_mode
from sbx.image.layers import LayerShelf
from sbx.image.pack import pack_tar
from sbx.image.recipe import SHELL_PACKAGES, SHELL_RECIPE, input_key
from sbx.image.scratch import tree_folder
from sbx.image.space import check_space
from sbx.sandbox.parts import Layer, RuntimeBundle, Template
from sbx.system.files import private_folder, read_bounded, write_atomic
from sbx.system.locks import hold_lock
from sbx.system.progress import Progress

SHELL = "shell"
KIND = "templates"
USER = "agent"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_VERSION = 1
_LIMIT_BYTES = 1 << 20
_TREE_BYTES = 2600 << 20  # unpacked packages and the archive made of them
_LAYER_BYTES = 2600 << 20  # the archive once more and the layer

_DAY_SECONDS = 86400  # two builds on one day from equal packages give equal layers

_WORKDIR = f"/home/{USER}/workspace"
_COMMAND = ("/bin/bash", "-l")
_ENV = {
    "LANG": "C.UTF-8",
    "PATH": f"/home/{USER}/.local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}

# Manual pages and translations stay out, also of packages installed later; licences stay in.
# Without fsync per file dpkg is several times faster, and a half-made tree is never used.
_DPKG_OPTIONS = """\
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
force-unsafe-io
"""
_SETUP = f"""
mkdir -p "$1"/etc/dpkg/dpkg.cfg.d
cat > "$1"/etc/dpkg/dpkg.cfg.d/50sbx <<'END'
{_DPKG_OPTIONS}END
"""
_CUSTOMIZE = f"""
set -eu
chroot "$1" groupadd --gid 1000 {USER}
chroot "$1" useradd --uid 1000 --gid 1000 --groups docker,sudo -s /bin/bash --create-home {USER}
mkdir -p "$1"{_WORKDIR} "$1"/home/{USER}/.local/bin
chown -R 1000:1000 "$1"/home/{USER}
printf '{USER} ALL=(ALL:ALL) NOPASSWD: ALL\\n' > "$1"/etc/sudoers.d/{USER}
chmod 0440 "$1"/etc/sudoers.d/{USER}
# With SOURCE_DATE_EPOCH set, Python was compiled so that each import hashes its source: undo that.
find "$1"/usr/lib/python3 "$1"/usr/lib/python3.13 -name '*.pyc' -delete
chroot "$1" env -u SOURCE_DATE_EPOCH python3 -m compileall -q /usr/lib/python3 /usr/lib/python3.13
# dpkg's options do not reach the first packages, which are unpacked without it.
rm -rf "$1"/usr/share/man/* "$1"/usr/share/info/* "$1"/usr/share/locale/*
# Packages link their pages in here (update-alternatives), and Java's fail without the folder.
for section in 1 2 3 4 5 6 7 8; do mkdir -p "$1"/usr/share/man/man$section; done
find "$1"/usr/share/doc -type f ! -name copyright -delete
printf 'Acquire::Languages "none";\\nAcquire::Retries "3";\\n' > "$1"/etc/apt/apt.conf.d/90sbx
rm -f "$1"/etc/apt/apt.conf.d/99mmdebstrap "$1"/etc/hostname "$1"/etc/resolv.conf
: > "$1"/etc/hostname
: > "$1"/etc/resolv.conf
printf '127.0.0.1 localhost\\n::1 localhost\\n' > "$1"/etc/hosts
rm -rf "$1"/var/log/* "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old "$1"/var/cache/ldconfig
rm -rf "$1"/etc/*- "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin
"""


def key() -> str:
    """The key of the inputs of the base template."""
    return input_key(
        KIND, SHELL, SHELL_RECIPE, SHELL_PACKAGES, _SETUP, _CUSTOMIZE, _ENV, _COMMAND
    )  # fmt: skip


class TemplateShelf:
    """The templates in one cache folder."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._folder = cache / KIND
        self._layers = LayerShelf(cache)

    def find(self, name: str, *, full: bool = False) -> Template | None:
        """The template, or None if it is absent, stale or damaged. `full` reads every byte."""
        found = self._read(name) if _NAME.fullmatch(name) else None
        if found is None or (name == SHELL and found[0] != key()):
            return None
        template = found[1]
        whole = [self._layers.is_whole(layer, full=full) for layer in template.layers]
        return template if all(whole) else None

    def names(self) -> tuple[str, ...]:
        """The names of the templates there are."""
        if not self._folder.is_dir():
            return ()
        found = (path.stem for path in self._folder.glob("*.json"))
        return tuple(sorted(name for name in found if not name.startswith(".")))

    def make_shell(self, runtime: RuntimeBundle, progress: Progress) -> Template:
        """The base template, built if it is absent (errors as `debian.bootstrap`)."""
        private_folder(self._folder)
        with hold_lock(self._folder / ".lock"):
            found = self.find(SHELL)
            if found is not None:
                return found
            template = self._build(runtime, progress)
            write_atomic(self._folder / f"{SHELL}.json", render(template, key()))
            return template

    def add_layer(
        self,
        base: Template,
        inputs: str,
        runtime: RuntimeBundle,
        write_archive: Callable[[Path], None],
    ) -> Template:
        """See `ImageStore.add_layer`."""
        private_folder(self._folder)
        with self._layers.working_folder() as work:
            archive, image = work / "layer.tar", work / "layer.erofs"
            write_archive(archive)
            pack_tar(runtime, archive, image, with_whiteouts=True)
            layer = self._layers.adopt(image)
        layers = (*base.layers, layer)
        identity = [base.digest, layer.digest]
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
        made = replace(base, layers=layers, digest=digest)
        write_atomic(self._folder / f"{base.name}.json", render(made, inputs))
        return made

    def prune(self, bases: frozenset[str] = frozenset()) -> None:
        """Forget the templates on a base that no new sandbox uses; `bases` are layers of others."""
        current = self.find(SHELL)
        for name in self.names():
            found = self._read(name)
            stack = found[1].layers if found is not None else ()
            if current is not None and stack[: len(current.layers)] == current.layers:
                continue
            if len(stack) > 1 and all(layer.digest in bases for layer in stack[:-1]):
                continue
            if name != SHELL:
                (self._folder / f"{name}.json").unlink(missing_ok=True)

    def layer_digests(self) -> frozenset[str]:
        """The layers that some template needs."""
        found = (self._read(name) for name in self.names())
        return frozenset(layer.digest for each in found if each for layer in each[1].layers)

    def _read(self, name: str) -> tuple[str, Template] | None:
        try:
            raw = read_bounded(self._folder / f"{name}.json", limit_bytes=_LIMIT_BYTES)
            return parse(raw, self._layers)
        except (OSError, HostError, ValueError, KeyError, TypeError):
            return None

    def _build(self, runtime: RuntimeBundle, progress: Progress) -> Template:
        mode = pick_mode()
        check_space(self._cache, _LAYER_BYTES)
        with self._layers.working_folder() as work, tree_folder() as temp:
            check_space(temp, _TREE_BYTES)
            archive = work / "shell.tar"
            bootstrap(_job(archive, temp, mode), progress)
            versions = read_versions(archive)
            progress.begin("template `shell`: pack the layer")
            image = work / "layer.erofs"
            pack_tar(runtime, archive, image)
            layer = self._layers.adopt(image)
            progress.end()
        return make_template((layer,), versions)


def make_template(layers: tuple[Layer, ...], versions: dict[str, str]) -> Template:
    """The base template on these layers."""
    identity = [[layer.digest for layer in layers], USER, _WORKDIR, _ENV, _COMMAND]
    return Template(
        name=SHELL,
        digest=hashlib.sha256(json.dumps(identity).encode()).hexdigest(),
        layers=layers,
        user=USER,
        workdir=_WORKDIR,
        env=dict(_ENV),
        command=_COMMAND,
        versions=versions,
    )


def render(template: Template, inputs: str) -> bytes:
    """The stored form; `inputs` is the key that it was built from."""
    document = {
        "version": _VERSION,
        "key": inputs,
        "name": template.name,
        "digest": template.digest,
        "layers": [
            {"digest": each.digest, "size_bytes": each.size_bytes} for each in template.layers
        ],
        "user": template.user,
        "workdir": template.workdir,
        "env": template.env,
        "command": list(template.command),
        "versions": template.versions,
    }
    return json.dumps(document, sort_keys=True, indent=1).encode()


def parse(raw: bytes, layers: LayerShelf) -> tuple[str, Template]:
    """The key and the template of a stored form (ValueError, KeyError, TypeError: not one)."""
    document = json.loads(raw)
    if document["version"] != _VERSION:
        raise ValueError("unknown version of a stored template")
    stack = tuple(
        Layer(
            digest=each["digest"], path=layers.path(each["digest"]), size_bytes=each["size_bytes"]
        )
        for each in document["layers"]
    )
    template = Template(
        name=document["name"],
        digest=document["digest"],
        layers=stack,
        user=document["user"],
        workdir=document["workdir"],
        env=dict(document["env"]),
        command=tuple(document["command"]),
        versions=dict(document["versions"]),
    )
    return document["key"], template


def read_versions(archive: Path) -> dict[str, str]:
    """The installed packages and their versions, from dpkg's status file in a root archive.

    Raises:
        PermanentError: there is none.
    """
    with tarfile.open(archive, mode="r:") as tar:
        for member in tar:
            if member.name.removeprefix("./") == "var/lib/dpkg/status":
                source = tar.extractfile(member)
                assert source is not None
                return parse_status(source.read().decode())
    raise PermanentError("archive holds no dpkg status", hint="Run: sbx setup")


def parse_status(text: str) -> dict[str, str]:
    """Package names and versions in the form of /var/lib/dpkg/status."""
    versions: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        field, _, value = line.partition(": ")
        if field == "Package":
            name = value
        elif field == "Version":
            versions[name] = value
    return versions


def _job(archive: Path, temp: Path, mode: Mode) -> Bootstrap:
    return Bootstrap(
        what="template `shell`",
        packages=SHELL_PACKAGES,
        output=archive,
        temp=temp,
        mode=mode,
        configure=True,
        epoch=int(time.time()) // _DAY_SECONDS * _DAY_SECONDS,
        setup_hooks=(_SETUP,),
        customize_hooks=(_CUSTOMIZE,),
    )
