# SPDX-License-Identifier: Apache-2.0
"""The program before `runc`, run by a real shell on specifications as containerd writes them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import cast

import pytest

from sbx.guest import containers
from sbx.guest.trust import BUNDLE

Json = dict[str, object]
DEV: Json = {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid"]}
TARGET = "/dev/.opensbx-ca.crt"
ENV = {"SSL_CERT_FILE": BUNDLE, "PIP_CERT": BUNDLE, "HTTPS_PROXY": "http://x"}


class Runc:
    """The program, with a `runc` that notes its arguments."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.bundle = folder / "bundle"
        self.bundle.mkdir()
        (folder / "bin").mkdir()
        real = folder / "bin" / "runc"
        real.write_text(f'#!/bin/sh\necho "$@" >{folder / "called"}\n')
        real.chmod(0o755)
        patch.setattr(containers, "_FOLDER", str(folder / "own"))
        self.path = containers.prepare_runtime(ENV, f"{folder / 'bin'}:/usr/bin:/bin")

    def __call__(self, *words: str) -> str:
        program = self.path.split(":")[0] + "/runc"
        subprocess.run([program, *words], check=True)
        return (self.folder / "called").read_text()

    def write(self, spec: Json) -> None:
        text = json.dumps(spec, separators=(",", ":"))
        (self.bundle / "config.json").write_text(text)

    def create(self, spec: Json, verb: str = "create") -> Json:
        self.write(spec)
        self("--root", "/run/x", verb, "--bundle", str(self.bundle), "--pid-file", "p", "id1")
        return read(self.bundle / "config.json")

    def exec(self, name: str, process: Json) -> Json:
        file = self.folder / "process"
        file.write_text(json.dumps(process, separators=(",", ":")))
        self("exec", "--process", str(file), "--detach", name)
        return read(file)


def read(file: Path) -> Json:
    return cast("Json", json.loads(file.read_text()))


def spec(*mounts: Json, args: list[str] | None = None) -> Json:
    process = {"user": {"uid": 0}, "args": args or ["sh"], "env": ["PATH=/bin", "A=b"], "cwd": "/"}
    return {"ociVersion": "1.1", "process": process, "mounts": list(mounts)}


@pytest.fixture(name="runc")
def _runc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runc:
    return Runc(tmp_path, monkeypatch)


@pytest.mark.parametrize("verb", ["create", "run"])
def test_a_container_gets_the_list_and_the_variables_that_name_it(runc: Runc, verb: str) -> None:
    proc: Json = {"destination": "/proc", "type": "proc", "source": "proc"}
    nasty = ['"env":[ {"destination":"/dev","type":"tmpfs"', "create", "&|\\1", "delete"]
    found = runc.create(spec(proc, DEV, proc, args=nasty), verb)
    mounts = cast("list[Json]", found["mounts"])
    assert [each["destination"] for each in mounts] == ["/proc", "/dev", TARGET, "/proc"]
    assert (mounts[2]["source"], mounts[2]["type"]) == (BUNDLE, "bind")
    assert "ro" in cast("list[str]", mounts[2]["options"])
    process = cast("Json", found["process"])
    assert process["env"] == [
        f"PIP_CERT={TARGET}", f"SSL_CERT_FILE={TARGET}", "PATH=/bin", "A=b",
    ]  # fmt: skip
    assert process["args"] == nasty


def test_the_real_program_gets_its_arguments(runc: Runc) -> None:
    assert runc("--version") == "--version\n"
    assert runc("--log", "l", "state", "id") == "--log l state id\n"


def test_a_container_with_the_devices_of_the_sandbox_is_left_alone(runc: Runc) -> None:
    wanted = spec({"destination": "/dev", "type": "bind", "source": "/dev"})
    assert runc.create(wanted) == wanted
    process: Json = {"args": ["sh"], "env": ["PATH=/bin"]}
    assert runc.exec("id1", process) == process


def test_commands_in_a_container_get_the_variables_while_it_is_there(runc: Runc) -> None:
    runc.create(spec(DEV))
    process: Json = {"args": ["sh"], "env": ["PATH=/bin"]}
    assert f"SSL_CERT_FILE={TARGET}" in cast("list[str]", runc.exec("id1", process)["env"])
    assert runc.exec("other", process) == process
    runc("delete", "--force", "id1")
    assert runc.exec("id1", process) == process


def test_without_an_authority_runc_is_run_itself(tmp_path: Path) -> None:
    del tmp_path
    assert containers.prepare_runtime({"A": "b"}, "/bin") == "/bin"
