# SPDX-License-Identifier: Apache-2.0
"""Templates of images that are made on the spot: from files, from a registry, of sandboxes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pytest

from sbx.kit.reference import parse_oci
from tests.host.registry import PASSWORD, USER, running_registry
from tests.kit.images import Image, LayerTar, busybox, docker_archive, oci_archive, push, tiny_root
from tests.kit.installation import Installation

pytestmark = pytest.mark.timeout(400)

LOOK = (
    "id -un; pwd; echo $FOO; cat /d/y /op/new /n4; stat -c '%a %u' /bin/su /v /made /; "
    "stat -c %h /d/y; stat -c %t:%T /null; ls /d /op; echo looked"
)


def layers(cache: Path) -> list[bytes]:
    """Six: what a template must keep, and what a layer above takes away."""
    first = tiny_root(busybox(cache))
    first.folder("d").file("d/x", b"x").file("d/y", b"y").hard_link("same", "d/y")
    first.folder("op").file("op/old").file("bin/su", mode=0o4755).device("null", 1, 3)
    second = LayerTar().folder("d").gone("d/x").folder("op").opaque("op").file("op/new", b"n")
    # No entry for the folder: it is made up, and must not be open to everybody.
    second.file("made/up").file("v", uid=1234)
    more = [LayerTar().file(f"n{number}", b"%d" % number).done() for number in range(1, 5)]
    return [first.done(), second.done(), *more]


def rows(sbx: Installation) -> dict[str, dict[str, object]]:
    found = cast("list[dict[str, object]]", json.loads(sbx.ok("template", "ls", "--json").out))
    return {f"{row['repository']}:{row['tag']}": row for row in found}


def layer_digests(sbx: Installation, tag: str) -> list[str]:
    shown = json.loads(sbx.ok("template", "inspect", tag, "--json").out)
    return [layer["digest"] for layer in shown["layers"]]


def test_from_files_and_of_a_sandbox(sbx: Installation) -> None:
    stack = layers(sbx.cache / "opensbx")
    config = {"WorkingDir": "/d", "Env": ["PATH=/bin", "FOO=bar"], "Cmd": ["/bin/sh"]}
    base, six = Image(layers=stack[:2], config=config), Image(layers=stack, config=config)
    file, layout, wrong = (sbx.home / name for name in ("b.tar", "six.tar", "wrong.tar"))
    file.write_bytes(docker_archive(base, ["base:1", "also:1"]))
    layout.write_bytes(oci_archive(six, "six:1"))

    sbx.ok("template", "load", str(file))
    assert set(rows(sbx)) == {"docker.io/library/base:1", "docker.io/library/also:1"}
    sbx.ok("template", "load", str(layout))
    assert len(layer_digests(sbx, "six:1")) == 4
    assert len(layer_digests(sbx, "base:1")) == 2

    sbx.ok("create", "shell", "--name", "one", "--template", "six:1")
    done = sbx.inside("one", "sh", "-c", LOOK).ok()
    assert done.text.split() == [
        "agent", "/d", "bar", "yn44755", "0", "644", "1234", "755", "0", "755", "0", "2", "1:3",
        "/d:", "y", "/op:", "new", "looked",
    ], done.describe()  # fmt: skip

    change = "echo kept >/kept; cd /d; busybox rm y; echo changed"
    assert sbx.inside("one", "/bin/busybox", "sh", "-c", change, user="0").ok().out == b"changed\n"
    refused = sbx.call("template", "save", "one", "kept:1")
    assert b"is running and must be stopped before saving" in refused.err
    sbx.ok("stop", "one")
    out = sbx.home / "kept.tar"
    sbx.ok("template", "save", "one", "kept:1", "-o", str(out))
    assert len(layer_digests(sbx, "kept:1")) == 4

    # What docker would load, loaded by us: one layer with everything.
    sbx.ok("template", "rm", "kept:1")
    sbx.ok("template", "load", str(out))
    assert len(layer_digests(sbx, "kept:1")) == 1
    sbx.ok("create", "shell", "--name", "two", "--template", "kept:1")
    look = "cat /kept /n4; ls /d /op; stat -c '%a %u' /bin/su /v; echo looked"
    done = sbx.inside("two", "sh", "-c", look).ok()
    assert done.text.split() == [
        "kept", "4/d:", "/op:", "new", "4755", "0", "644", "1234", "looked",
    ]  # fmt: skip
    assert sbx.inside("two", "/bin/busybox", "sh", "-c", "test -u /bin/su").returncode == 0

    in_use = sbx.call("template", "rm", "six:1")
    assert b"is in use by one" in in_use.err
    shared = set(layer_digests(sbx, "base:1"))
    sbx.ok("template", "rm", "-f", "six:1", "also:1")
    assert set(layer_digests(sbx, "base:1")) == shared
    sbx.ok("exec", "one", "echo", "it goes on without its template")
    sbx.ok("rm", "-f", "one", "two")
    sbx.ok("template", "rm", "base:1", "kept:1")
    left = sbx.cache / "opensbx/layers"
    assert not [digest for digest in shared if (left / f"{digest[7:]}.erofs").exists()]

    for data, why in (
        (b"not an archive", b"it is not a whole tar archive"),
        (file.read_bytes()[:5000], b"cut off"),
        (docker_archive(Image(layers=stack[:1], architecture="arm64"), ["a"]), b"linux/arm64"),
        (docker_archive(Image(layers=stack[2:3]), ["a"]), b"has no shell, and a sandbox needs one"),
    ):
        wrong.write_bytes(data)
        refused = sbx.call("template", "load", str(wrong))
        assert refused.returncode == 1
        assert why in refused.err, refused.describe()
    assert rows(sbx) == {}
    assert sbx.names() == []


def test_from_a_registry(sbx: Installation, tmp_path: Path) -> None:
    stack = layers(sbx.cache / "opensbx")[:2]
    image, newer = Image(layers=stack), Image(layers=stack, config={"Env": ["NEW=yes"]})
    with running_registry(tmp_path, with_password=True) as host:
        name = f"{host}/team/tiny"
        digest = push(image, parse_oci(f"{name}:1"), lambda _registry: (USER, PASSWORD))
        make = ("create", "shell", "--name", "one", "--template")
        refused = sbx.call(*make, f"{name}:1")
        assert b"does not let us in" in refused.err, refused.describe()
        assert PASSWORD.encode() not in refused.err
        sbx.ok(
            "secret", "set", "--registry", host, "--username", USER, "--password-stdin",
            stdin=PASSWORD.encode(),
        )  # fmt: skip
        missing = sbx.call(*make, f"{name}:none")
        assert b"has no `none`" in missing.err
        assert b"not found" in sbx.call(*make, f"{name}:1", "--pull", "never").err
        sbx.ok(*make, f"{name}:1")
        assert sbx.inside("one", "cat", "/op/new").ok().out == b"n"
        sbx.ok("rm", "-f", "one")
        push(newer, parse_oci(f"{name}:1"), lambda _registry: (USER, PASSWORD))
        sbx.ok(*make, f"{name}:1")  # the tag is another image by now
        assert sbx.inside("one", "sh", "-c", "echo $NEW").ok().out == b"yes\n"
        sbx.ok("rm", "-f", "one")
        sbx.ok(*make, f"{name}@{digest}")
        assert sbx.inside("one", "sh", "-c", "echo $NEW").ok().out == b"\n"
        sbx.ok("rm", "-f", "one")
    # The registry is down.
    unreachable = sbx.call(*make, f"{name}:1", "--pull", "always")
    assert unreachable.returncode == 1
    assert b"cannot reach" in unreachable.err
    used = sbx.ok(*make, f"{name}:1")
    assert b"is used as it was pulled before" in used.err
    assert set(layer_digests(sbx, f"{name}:1")) == set(layer_digests(sbx, f"{name}@{digest}"))
    sbx.ok("rm", "-f", "one")
    sbx.ok("template", "rm", f"{name}:1", f"{name}@{digest}")
    assert rows(sbx) == {}
