# SPDX-License-Identifier: Apache-2.0
"""Where everything lives: XDG folders and the names of the files in a sandbox's folder.

The sandbox folder is an API (docs/sandbox-folder.md): a test compares these constants with it.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import HostError, UserError
from sbx.system.files import private_folder

APPLICATION = "opensbx"

SPEC = "spec.json"
RECORD = "record.json"
DATA_DISK = "data.img"
SUPERVISOR_LOCK = "supervisor.lock"
VERB_LOCK = "verb.lock"
EVENTS = "events.jsonl"
SUPERVISOR_LOG = "supervisor.log"
CONSOLE_LOG = "console.log"
SHARE_LOG = "share.log"
EMPTY = "empty"
GIT_SEED = "git-seed"
GIT_REPOSITORY = "repository.git"
KITS_DONE = "kits.done"
CONTROL_SOCKET = "control.sock"
SANDBOX_FILES = (
    SPEC,
    RECORD,
    DATA_DISK,
    SUPERVISOR_LOCK,
    VERB_LOCK,
    EVENTS,
    SUPERVISOR_LOG,
    CONSOLE_LOG,
    SHARE_LOG,
    EMPTY,
    GIT_SEED,
    GIT_REPOSITORY,
    KITS_DONE,
)

SETTINGS = "settings.json"
POLICY = "policy.json"
_SUN_PATH_BYTES = 107  # unix(7): 108 with the closing NUL
_APP_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Paths:
    """The folders of one installation; `state`, `config` and `runtime` differ per `--app-name`."""

    state: Path
    config: Path
    cache: Path
    runtime: Path

    @property
    def sandboxes(self) -> Path:
        return self.state / "sandboxes"

    def sandbox(self, name: str) -> Path:
        return self.sandboxes / name

    def run_folder(self, sandbox_id: str) -> Path:
        """The short folder for a sandbox's sockets; empty or absent while it is stopped."""
        folder = self.runtime / sandbox_id[:12]
        if len(str(folder / CONTROL_SOCKET).encode()) > _SUN_PATH_BYTES:
            raise HostError(
                f"socket path is too long: `{folder / CONTROL_SOCKET}`",
                hint="Set XDG_RUNTIME_DIR to a shorter folder",
            )
        return folder


def find_paths(app_name: str | None = None) -> Paths:
    """Derive the folders from the environment (XDG Base Directory Specification); makes nothing."""
    if app_name is not None and not _APP_NAME.fullmatch(app_name):
        raise UserError(f"invalid --app-name: `{app_name}`", hint="Use 1 to 32 of a-z, 0-9 and `-`")
    own = APPLICATION if app_name is None else f"{APPLICATION}-{app_name}"
    home = Path.home()
    return Paths(
        state=_xdg("XDG_STATE_HOME", home / ".local/state") / own,
        config=_xdg("XDG_CONFIG_HOME", home / ".config") / own,
        cache=_xdg("XDG_CACHE_HOME", home / ".cache") / APPLICATION,
        runtime=_runtime_base() / own,
    )


def make_private(paths: Paths) -> None:
    """Make the folders, closed to other users.

    Raises:
        HostError: one cannot be made, or belongs to somebody else.
    """
    # The parent of `runtime` is listed for the fallback below /tmp, where anybody may make folders.
    for folder in (
        paths.state,
        paths.sandboxes,
        paths.config,
        paths.cache,
        paths.runtime.parent,
        paths.runtime,
    ):
        private_folder(folder)


def _xdg(variable: str, default: Path) -> Path:
    value = os.environ.get(variable, "")
    return (
        Path(value) if value.startswith("/") else default
    )  # the specification ignores relative values


def _runtime_base() -> Path:
    value = os.environ.get("XDG_RUNTIME_DIR", "")
    if value.startswith("/") and os.access(value, os.W_OK):
        return Path(value)
    # Without a login session (cron, su, CI) there is none: a private folder of the same role.
    return Path(f"/tmp/opensbx-run-{os.geteuid()}")  # noqa: S108 - checked for owner and mode by private_folder
