# SPDX-License-Identifier: Apache-2.0
"""What the sandbox's own repository is made of: a folder that it can read and the host only writes.

The sandbox has a `.git` of its own on its disk, which borrows the host's objects read-only. Nothing
in it is ever read by the host: what the host wants is asked for through the guest's git, and
checked (quarantine.py). `wake` is a file whose opening inside is seen by the host: a hook of the
sandbox's repository opens it when a branch moves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from sbx.sandbox.git import GitMode, GitWorkspace
from sbx.sandbox.spec import Mount
from sbx.workspace.git.door import Git
from sbx.workspace.patterns import matching

INSIDE = Path("/run/sandbox/git")  # the seed
OBJECTS_INSIDE = Path("/run/sandbox/objects")
_BRANCH_GIT_DIR = Path("/var/lib/sbx/git")
_WAKE = "wake"
_GITFILE = "gitfile"
_EMPTY = "empty"
WIP_REF = "refs/sbx/wip"
START_REF = "refs/sbx/start"

_HOOK = f"""#!/bin/sh
# Tells the host that a branch moved; the host then asks for it. Remove it and it waits longer.
[ "$1" = committed ] || exit 0
while read -r _old _new ref; do
    case $ref in refs/heads/*) cat {INSIDE}/{_WAKE} >/dev/null 2>&1; exit 0 ;; esac
done
exit 0
"""

# A project that sets core.hooksPath (husky) replaces the hook above, so what moves HEAD is seen in
# its log as well. tail(1) waits for the kernel to tell (inotify). Whoever ends it waits longer.
WATCH = f"""watch() {{
    command -v tail >/dev/null && command -v setsid >/dev/null || return 0
    set -- "$1/logs/HEAD" {INSIDE}/{_WAKE}
    setsid sh -c 'tail -n 0 -F "$1" | while read -r _line; do cat "$2"; done' sh "$@" \\
        </dev/null >/dev/null 2>&1 &
}}
"""

# Run as root at each start: usage: setup GIT_DIR USER [TOP]
_SETUP = f"""set -eu
{WATCH}
command -v git >/dev/null || {{ echo 'there is no git in this template'; exit 3; }}
if [ -e "$1/HEAD" ]; then
    watch "$1"
    exit 0
fi
mkdir -p "$(dirname "$1")"
rm -rf "$1.new"
cp -R {INSIDE}/repository "$1.new"
mkdir -p "$1.new/logs"
: >>"$1.new/logs/HEAD"
chown -R "$2:" "$1.new"
chmod 755 "$1.new/hooks/reference-transaction"
# The folders of a clone were made by root; what is mounted among them is not ours to change.
[ -z "${{3:-}}" ] || find "$3" -xdev -type d -exec chown "$2:" {{}} +
rm -rf "$1"
mv "$1.new" "$1"
watch "$1"
"""

# Run as the user of the sandbox: usage: checkout GIT_DIR WORKTREE
_CHECKOUT = """set -eu
[ -e "$1/sbx-checked-out" ] && exit 0
git --git-dir="$1" --work-tree="$2" -c core.hooksPath=/dev/null checkout-index -a -u -f -q
: >"$1/sbx-checked-out"
"""

# Run as the user of the sandbox: usage: wip GIT_DIR WORKTREE
# Puts what is not committed into a commit that no branch has; prints how many files that is.
_WIP = f"""set -eu
export GIT_DIR="$1" GIT_WORK_TREE="$2" GIT_INDEX_FILE="$1/sbx-index"
export GIT_AUTHOR_NAME=sbx GIT_AUTHOR_EMAIL=sbx@localhost
export GIT_COMMITTER_NAME=sbx GIT_COMMITTER_EMAIL=sbx@localhost
export GIT_AUTHOR_DATE='@0 +0000' GIT_COMMITTER_DATE='@0 +0000' # the same files, the same commit
quiet() {{
    git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c advice.addEmbeddedRepo=false "$@"
}}
cp "$1/index" "$GIT_INDEX_FILE" 2>/dev/null || quiet read-tree HEAD
quiet add -A --ignore-errors . 2>/dev/null || : # an empty repository in it, a closed file
tree=$(quiet write-tree)
rm -f "$GIT_INDEX_FILE"
head=$(quiet rev-parse --verify 'HEAD^{{commit}}')
if [ "$tree" = "$(quiet rev-parse --verify 'HEAD^{{tree}}')" ]; then
    quiet update-ref -d {WIP_REF} 2>/dev/null || :
    echo 0
    exit 0
fi
made=$(quiet commit-tree "$tree" -p "$head" -m 'uncommitted changes')
quiet update-ref {WIP_REF} "$made"
quiet diff-tree -r --name-only "$head" "$made" | wc -l
"""
_SCRIPTS = {"setup": _SETUP, "checkout": _CHECKOUT, "wip": _WIP}


def git_dir_inside(work: GitWorkspace) -> Path:
    """Where the sandbox's own repository is."""
    return _BRANCH_GIT_DIR if work.mode is GitMode.BRANCH else work.worktree / ".git"


def script_text(name: str) -> str:
    """What is in a script: `setup`, `checkout`, `wip`."""
    return _SCRIPTS[name]


def script(name: str) -> str:
    """The path inside of one of the scripts: `setup`, `checkout`, `wip`."""
    return str(INSIDE / name)


def wake_file(seed: Path) -> Path:
    """The file of the host whose opening means that a branch moved inside."""
    return seed / _WAKE


def mounts(work: GitWorkspace, seed: Path) -> tuple[Mount, ...]:
    """What the sandbox sees besides its workspace: all of it read-only."""
    found = [Mount(source=seed, target=INSIDE, read_only=True)]
    for number, folder in enumerate(work.object_dirs):
        target = OBJECTS_INSIDE / str(number)
        found.append(Mount(source=folder, target=target, read_only=True))
        if (folder / "info" / "alternates").is_file():  # paths of the host mean nothing inside
            hidden = target / "info" / "alternates"
            empty = Mount(source=seed / _EMPTY, target=hidden, read_only=True, is_file=True)
            found.append(empty)
    if work.mode is GitMode.BRANCH:
        gitfile = work.worktree / ".git"
        found.append(Mount(source=seed / _GITFILE, target=gitfile, read_only=True, is_file=True))
    return tuple(found)


def write_scripts(seed: Path) -> None:
    """Write what is the same for all."""
    for name, text in {**_SCRIPTS, "hook": _HOOK}.items():
        (seed / name).write_text(text)
    for name in (_WAKE, _EMPTY):
        (seed / name).write_bytes(b"")


def write_seed(
    work: GitWorkspace,
    seed: Path,
    *,
    index: Path | None,
    identity: tuple[str, str] | None,
    masks: Sequence[str] = (),
) -> None:
    """Write the seed; `identity` is the name and address that commits made inside get.

    Tracked files that `masks` match are empty inside: git there is told not to look at them.
    """
    repository = seed / "repository"
    for folder in ("hooks", "info", "objects/info", "objects/pack", "refs/heads", "refs/tags"):
        (repository / folder).mkdir(parents=True)
    write_scripts(seed)
    (seed / _GITFILE).write_text(f"gitdir: {_BRANCH_GIT_DIR}\n")
    head = f"ref: refs/heads/{work.branch}" if work.branch is not None else work.start
    (repository / "HEAD").write_text(head + "\n")
    borrowed = [str(OBJECTS_INSIDE / str(number)) for number in range(len(work.object_dirs))]
    (repository / "objects/info/alternates").write_text("\n".join(borrowed) + "\n")
    (repository / "packed-refs").write_text(_refs(work), errors="surrogateescape")
    hook = repository / "hooks/reference-transaction"
    hook.write_text(_HOOK)
    hook.chmod(0o755)
    _write_config(work, repository / "config", identity)
    shallow = work.common_dir / "shallow"
    if shallow.is_file():
        shutil.copyfile(shallow, repository / "shallow")
    if index is not None:
        shutil.copyfile(index, repository / "index")
    else:
        Git(git_dir=work.common_dir, index=repository / "index").run("read-tree", work.start)
    if masks:
        _hide(work, repository / "index", masks)


def _hide(work: GitWorkspace, index: Path, masks: Sequence[str]) -> None:
    git = Git(git_dir=work.common_dir, index=index)
    tracked = os.fsdecode(git.run("ls-files", "-z", "--cached").stdout).split("\0")[:-1]
    masked = b"".join(os.fsencode(name) + b"\0" for name in matching(masks, tracked))
    if masked:
        git.run("update-index", "--skip-worktree", "-z", "--stdin", stdin=masked)


def branches_for_inside(work: GitWorkspace) -> bytes:
    """The user's branches as they are now, as input for `git update-ref --stdin` inside."""
    git = Git(git_dir=work.common_dir)
    form = "--format=update refs/remotes/host/%(refname:lstrip=2)%00%(objectname)%00%00"
    return git.run("for-each-ref", form, "refs/heads").stdout.replace(b"\n", b"")


def _refs(work: GitWorkspace) -> str:
    """The branch, and every branch, tag and remote branch of the host, under a name of its own."""
    git = Git(git_dir=work.common_dir)
    lines = [f"{work.start} {START_REF}"]
    if work.branch is not None:
        lines.append(f"{work.start} refs/heads/{work.branch}")
    form = "%(objectname) %(refname)"
    listed = git.text("for-each-ref", f"--format={form}", "refs/heads", "refs/tags", "refs/remotes")
    for line in listed.splitlines():
        value, _, name = line.partition(" ")
        if name.startswith("refs/heads/"):
            name = "refs/remotes/host/" + name.removeprefix("refs/heads/")
        elif name.startswith("refs/remotes/host/") or name.endswith("/HEAD"):
            continue
        lines.append(f"{value} {name}")
    return "\n".join(lines) + "\n"


def _write_config(work: GitWorkspace, path: Path, identity: tuple[str, str] | None) -> None:
    version = "1" if work.object_format != "sha1" else "0"
    settings = [
        ("core.repositoryFormatVersion", version),
        ("core.bare", "false"),
        ("core.logAllRefUpdates", "true"),
        # The files were checked out on the host, and their index came from there.
        ("core.checkStat", "minimal"),
        # Times of the host's files are the host's clock's; a guest's may differ.
        ("core.trustCtime", "false"),
        # The folder of the host's objects belongs to the host.
        ("gc.auto", "0"),
    ]
    if version == "1":
        settings.append(("extensions.objectFormat", work.object_format))
    if identity is not None:
        settings += [("user.name", identity[0]), ("user.email", identity[1])]
    if work.mode is GitMode.CLONE:
        settings += _forge_remotes(work)
    for key, value in settings:
        Git(git_dir=path.parent).run("config", "--file", path, "--add", key, value)


def _forge_remotes(work: GitWorkspace) -> list[tuple[str, str]]:
    """The remotes of the host's repository that are elsewhere; paths of the host mean nothing."""
    git = Git(git_dir=work.common_dir)
    done = git.run("config", "-z", "--get-regexp", r"^remote\..*\.url$", check=False)
    found: list[tuple[str, str]] = []
    for item in os.fsdecode(done.stdout).split("\0"):
        key, _, url = item.partition("\n")
        name = key.removeprefix("remote.").removesuffix(".url")
        is_forge = "://" in url and not url.startswith("file:")
        is_scp = ":" in url.partition("/")[0] and not url.startswith(("/", "."))
        if name and not name.startswith("sandbox-") and (is_forge or is_scp):
            found.append((key, _without_password(url)))
            found.append((f"remote.{name}.fetch", f"+refs/heads/*:refs/remotes/{name}/*"))
    return found


def _without_password(url: str) -> str:
    """A credential in a URL stays on the host."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in ("http", "https"):
        return url
    authority, slash, path = rest.partition("/")
    return scheme + separator + authority.rpartition("@")[2] + slash + path
