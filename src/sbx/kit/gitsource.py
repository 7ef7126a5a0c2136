# SPDX-License-Identifier: Apache-2.0
"""A kit in a git repository: fetched bare and read as objects, never checked out.

So nothing of the repository counts as configuration: no hook, filter, attribute or submodule of it
can run (docs/security.md, I9). Only https and ssh are spoken, and nothing asks for a password.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sbx.kit.bundle import MAX_FILES, Bundle, BundleBuilder
from sbx.kit.findings import KitError
from sbx.kit.reference import GitKit
from sbx.system.process import CommandError, Completed, base_env, run
from sbx.system.text import printable

_FETCH_SECONDS = 180.0
_READ_SECONDS = 60.0
_MAX_PACK_BYTES = 512 << 20  # of one file that git writes, see prlimit(1)
_MAX_LISTING_BYTES = MAX_FILES * 2048
_CONFIG = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "core.attributesFile": os.devnull,
    "fetch.recurseSubmodules": "false",
    "fetch.fsckObjects": "true",
    "protocol.allow": "never",
    "protocol.https.allow": "always",
    "protocol.ssh.allow": "always",
    "gc.auto": "0",
    "maintenance.auto": "false",
}
_LINK, _FILE, _PROGRAM = "120000", "100644", "100755"


def fetch_git(kit: GitKit) -> tuple[str, Bundle]:
    """The commit that a reference means now, and the kit in it.

    Raises:
        KitError: the repository cannot be reached, has no such commit or folder, or no kit there.
    """
    with tempfile.TemporaryDirectory(prefix="sbx-kit-") as name:
        repository = _Repository(Path(name), kit)
        commit = repository.fetch()
        return commit, repository.read(commit)


class _Repository:
    """A bare repository of our own, for one fetch."""

    def __init__(self, folder: Path, kit: GitKit) -> None:
        self._folder = folder
        self._kit = kit

    def fetch(self) -> str:
        """Get the commit, without history where the server allows that."""
        self._git(["init", "--bare", "--quiet", str(self._folder)])
        wanted = self._kit.ref or "HEAD"
        options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc"]
        target = f"{wanted}:refs/kit"
        try:
            self._git(["fetch", *options, "--depth=1", self._kit.url, target], _FETCH_SECONDS)
        except CommandError:
            if not self._kit.is_pinned:
                raise self._failed(f"has no `{wanted}`, or cannot be reached") from None
            # Not every server gives out a commit by its name: look for it in all branches.
            heads = "+refs/heads/*:refs/all/*"
            try:
                self._git(["fetch", *options, self._kit.url, heads], _FETCH_SECONDS)
                self._git(["update-ref", "refs/kit", self._kit.ref])
            except CommandError as error:
                raise self._failed(f"has no `{wanted}`, or cannot be reached", error) from error
        try:
            named = self._git(["rev-parse", "--verify", "refs/kit^{commit}"])
        except CommandError as error:
            raise self._failed(f"has no commit `{wanted}`") from error
        commit = named.stdout.decode().strip()
        if self._kit.is_pinned and commit != self._kit.ref:
            raise self._failed(f"gave another commit than `{wanted}`")
        return commit

    def read(self, commit: str) -> Bundle:
        """The kit in the folder of a commit, read object by object."""
        folder = f"{self._kit.folder}/" if self._kit.folder else ""
        tree = f"{commit}:{folder.rstrip('/')}"
        try:
            listing = self._git(["ls-tree", "-r", "-z", "--long", "--full-tree", tree]).stdout
        except CommandError as error:
            raise self._failed(f"has no folder `{self._kit.folder}` in {commit[:12]}") from error
        if len(listing) > _MAX_LISTING_BYTES:
            raise self._failed("has too many files there")
        builder = BundleBuilder(self._kit.source)
        for line in filter(None, listing.split(b"\0")):
            facts, _, raw = line.partition(b"\t")
            mode, _kind, digest, size = facts.decode().split()
            self._add(builder, os.fsdecode(raw), mode, (digest, size))
        return builder.finish()

    def _add(self, builder: BundleBuilder, name: str, mode: str, blob: tuple[str, str]) -> None:
        if not builder.is_wanted(builder.check_name(name)):
            return
        digest, size = blob
        if mode not in (_LINK, _FILE, _PROGRAM):
            raise builder.refused(name, "is neither file, folder nor link")
        if not size.isdigit() or int(size) > builder.room():
            raise builder.too_large(name)
        data = self._git(["cat-file", "blob", digest]).stdout
        if mode == _LINK:
            builder.add_link(name, os.fsdecode(data))
        else:
            builder.add(name, data, mode=int(mode, 8))

    def _git(self, args: Sequence[str], timeout_s: float = _READ_SECONDS) -> Completed:
        config = [word for name, value in _CONFIG.items() for word in ("-c", f"{name}={value}")]
        env = {name: value for name, value in base_env().items() if not name.startswith("GIT_")}
        env |= {
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_DIR": str(self._folder),
        }
        if agent := os.environ.get("SSH_AUTH_SOCK"):
            env["SSH_AUTH_SOCK"] = agent
        limit = ["prlimit", f"--fsize={_MAX_PACK_BYTES}"]
        return run([*limit, "git", *config, *args], env=env, cwd=self._folder, timeout_s=timeout_s)

    def _failed(self, why: str, error: CommandError | None = None) -> KitError:
        text = f"repository `{printable(self._kit.url)}` {why}"
        hint = None if error is None or error.details is None else error.details.splitlines()[-1]
        return KitError(text, hint=hint)
