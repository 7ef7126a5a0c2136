# SPDX-License-Identifier: Apache-2.0
"""A repository of the user: found from a folder, and whether a sandbox can work on it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import UserError
from sbx.workspace.git.door import Git, discover

_MAX_ALTERNATES = 8
_FACTS = (
    "--is-bare-repository", "--is-inside-work-tree", "--is-shallow-repository",
    "--show-object-format", "--path-format=absolute", "--absolute-git-dir", "--git-common-dir",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """Where a repository is, and what is checked out in it."""

    top: Path  # the top folder of the working tree that was named
    git_dir: Path  # of that working tree
    common_dir: Path  # what all its working trees share
    object_format: str  # sha1 or sha256
    is_shallow: bool
    branch: str | None  # what HEAD names; None: detached
    start: str | None  # the commit of HEAD; None: no commit yet

    def git(self, **options: object) -> Git:
        """Git on what all working trees share."""
        return Git(git_dir=self.common_dir, config=neutral_drivers(self.common_dir), **options)  # type: ignore[arg-type]  # checked by the dataclass

    def object_dirs(self) -> tuple[Path, ...]:
        """The object store and those that it borrows from.

        Raises:
            UserError: the chain is too long.
        """
        found: list[Path] = []
        queue = [self.common_dir / "objects"]
        while queue:
            folder = Path(os.path.realpath(queue.pop(0)))
            if folder in found:
                continue
            found.append(folder)
            if len(found) > _MAX_ALTERNATES:
                raise UserError(f"`{self.top}` borrows objects from too many repositories")
            queue += _alternates(folder)
        return tuple(found)


def find_repository(path: Path, *, flag: str) -> Repository:
    """The repository around `path`, for `flag` (`--branch` or `--clone`).

    Raises:
        UserError: there is none, or it is of a kind that a sandbox cannot work on.
        HostError: git is not installed.
    """
    found = discover(path, *_FACTS)
    if found.returncode != 0:
        words = found.stderr.decode(errors="replace")
        if "dubious ownership" in words:
            raise UserError(
                f"the Git repository around `{path}` belongs to another user",
                hint="Run sbx as the user who owns it",
            )
        raise UserError(
            f"{flag} requires a Git repository, but `{path}` is not in a Git repository",
            hint="Run: git init && git add . && git commit",
        )
    bare, inside, shallow, form, git_dir, common_dir = os.fsdecode(found.stdout).splitlines()
    if bare == "true" or inside != "true":
        raise UserError(
            f"{flag} needs a working tree, and `{path}` is in a bare repository or a `.git` folder",
            hint="Name the top folder of a clone or of a worktree of it",
        )
    top = os.fsdecode(discover(path, "--show-toplevel").stdout).rstrip("\n")
    repository = Repository(
        top=Path(top).resolve(),
        git_dir=Path(git_dir),
        common_dir=Path(common_dir),
        object_format=form,
        is_shallow=shallow == "true",
        branch=_branch(Path(git_dir)),
        start=Git(git_dir=Path(git_dir)).commit("HEAD"),
    )
    _check(repository, flag)
    return repository


def neutral_drivers(common_dir: Path) -> tuple[str, ...]:
    """Settings that switch off the filters, merge drivers and diffs that a configuration names.

    A file `.gitattributes` that comes from a sandbox may ask for any of them.
    """
    git = Git(git_dir=common_dir)
    done = git.run("config", "--name-only", "-z", "--get-regexp", r"^(filter|merge|diff)\.",
                   check=False)  # fmt: skip
    settings: list[str] = []
    for name in os.fsdecode(done.stdout).split("\0"):
        kind, _, rest = name.partition(".")
        driver, _, key = rest.rpartition(".")
        if not driver or "=" in driver or "\n" in driver:
            continue
        value = {"required": "false", "smudge": "", "clean": "", "process": ""}
        if kind == "filter" and key in value:
            settings.append(f"{name}={value[key]}")
        elif (kind, key) == ("merge", "driver"):
            settings.append(f"{name}=false")  # a driver that fails is a conflict
        elif kind == "diff" and key in ("textconv", "command"):
            settings.append(f"{name}=")
    return tuple(settings)


def identity(common_dir: Path) -> tuple[str, str] | None:
    """The user's own name and address for commits, which may be in the user's configuration."""
    env = {"HOME": os.environ.get("HOME", "/nonexistent")}
    if "XDG_CONFIG_HOME" in os.environ:
        env["XDG_CONFIG_HOME"] = os.environ["XDG_CONFIG_HOME"]
    git = Git(git_dir=common_dir, env=env, reads_user_config=True)
    found = [git.run("config", "--get", key, check=False).stdout for key in
             ("user.name", "user.email")]  # fmt: skip
    name, email = (os.fsdecode(value).strip() for value in found)
    return (name, email) if name and email else None


def _branch(git_dir: Path) -> str | None:
    done = Git(git_dir=git_dir).run("symbolic-ref", "--quiet", "HEAD", check=False)
    name = os.fsdecode(done.stdout).strip()
    return name.removeprefix("refs/heads/") if name.startswith("refs/heads/") else None


def _check(repository: Repository, flag: str) -> None:
    top = repository.top
    if repository.common_dir.stat().st_uid != os.geteuid():
        raise UserError(
            f"the Git repository around `{top}` belongs to another user",
            hint="Run sbx as the user who owns it",
        )
    if repository.start is None:
        raise UserError(
            f"{flag} needs a commit to start from, and `{top}` has none yet",
            hint="Run: git commit --allow-empty -m start",
        )
    git = Git(git_dir=repository.common_dir)
    partial = r"^(extensions\.partialclone|remote\..*\.promisor)$"
    if git.succeeds("config", "--get-regexp", partial):
        raise UserError(
            f"{flag} needs all objects, and `{top}` is a partial clone",
            hint="Run: git fetch --refetch --no-filter, or share the folder without " + flag,
        )
    for folder in repository.object_dirs():
        if not folder.is_dir():
            raise UserError(f"`{top}` borrows objects from `{folder}`, which is not there")


def _alternates(folder: Path) -> list[Path]:
    try:
        lines = (folder / "info" / "alternates").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [folder / line for line in lines if line and not line.startswith(("#", '"'))]
