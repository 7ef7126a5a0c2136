# SPDX-License-Identifier: Apache-2.0
"""The first command of the README, typed by an ordinary user in their own clone."""

from __future__ import annotations

from pathlib import Path

import pytest

from sbx.system.process import Completed, run
from tests.conftest import OrdinaryUser

NAME = "shell-project"


@pytest.fixture
def project(user_folder: Path) -> Path:
    """A folder with a file, of the ordinary user."""
    folder = user_folder / "project"
    folder.mkdir()
    (folder / "hello.txt").write_text("hello\n")
    return folder


@pytest.mark.timeout(1800)  # on a fresh machine it builds this user's runtime and template first
def test_an_ordinary_user_gets_a_shell_in_their_folder(
    ordinary_user: OrdinaryUser, user_checkout: Path, user_folder: Path, project: Path
) -> None:
    state = f"XDG_STATE_HOME={user_folder}/state"
    run(["chown", "-R", f"{ordinary_user.name}:", user_folder])

    def sbx(*args: str, check: bool = True) -> Completed:
        user = ["--reuid", ordinary_user.name, "--regid", ordinary_user.name, "--init-groups"]
        environment = ["env", "-i", f"HOME={ordinary_user.home}", "PATH=/usr/bin:/bin", state]
        launcher = user_checkout / "bin" / "sbx"
        command: list[str | Path] = ["setpriv", *user, *environment, launcher, *args]
        return run(command, cwd=project, check=check)

    try:
        script = "uname -r; id -un; pwd; cat hello.txt; echo made > inside.txt"
        done = sbx("run", "shell", ".", "--", "-c", script)
        kernel, user, folder, content = done.stdout.decode().splitlines()
        assert kernel != run(["uname", "-r"]).stdout.decode().strip()
        assert (user, folder, content) == ("agent", str(project), "hello")
        made = project / "inside.txt"
        assert made.read_text() == "made\n"
        assert made.stat().st_uid == ordinary_user.uid
    finally:
        sbx("rm", "-f", NAME, check=False)
    assert sbx("ls", "--json").stdout.decode().strip() == "[]"
