# SPDX-License-Identifier: Apache-2.0
"""Clone mode from a URL: no folder of the host takes part, and no git of the host goes there.

The sandbox clones by its own way out, so its policy decides and its bound credentials are put in.
The repository of ours that its commits come into begins with the commit it started from: what was
before that stays where it came from.
"""

from __future__ import annotations

import re
from pathlib import Path

from sbx.errors import UserError
from sbx.sandbox.git import GitMode, GitWorkspace
from sbx.workspace.git.door import Git
from sbx.workspace.git.quarantine import START, count_new
from sbx.workspace.git.seed import INSIDE, WATCH, write_scripts

_TOP = Path("/home/agent/workspace")
_UNUSABLE = re.compile(r"[^A-Za-z0-9._-]+")
_CONTROL = re.compile(r"[\x00-\x20\x7f]")
IDENTITY = "identity"

# Run as the user of the sandbox: usage: clone URL TOP
_CLONE = f"""set -eu
{WATCH}
command -v git >/dev/null || {{ echo 'there is no git in this template'; exit 3; }}
if [ -e "$2/.git/sbx-cloned" ]; then
    watch "$2/.git"
    exit 0
fi
mkdir -p "$(dirname "$2")"
rm -rf "$2.new"
export GIT_TERMINAL_PROMPT=0
git -c core.hooksPath=/dev/null clone --quiet -- "$1" "$2.new" </dev/null
cp {INSIDE}/hook "$2.new/.git/hooks/reference-transaction"
chmod 755 "$2.new/.git/hooks/reference-transaction"
for key in user.name user.email; do
    value=$(git config --file {INSIDE}/{IDENTITY} "$key") || continue
    git -C "$2.new" config "$key" "$value"
done
git -C "$2.new" config gc.auto 0
: >"$2.new/.git/sbx-cloned"
rmdir "$2" 2>/dev/null || :
[ ! -e "$2" ] || {{ echo "something is in the way: $2"; exit 4; }}
mv -T "$2.new" "$2"
watch "$2/.git"
"""


def is_url(word: str) -> bool:
    """Whether an argument names a repository elsewhere, not a folder."""
    return "://" in word or word.startswith("git@")


def check_url(url: str) -> str:
    """A URL that a sandbox can clone.

    Raises:
        UserError: it is of another kind, or has a credential in it.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - not at every start

    shown = ascii(url)[1:-1]
    if url.startswith("git@") or not url.startswith(("https://", "http://")):
        raise UserError(
            f"cannot clone `{shown}`: a sandbox has no other way out than https",
            hint="Name it as https://HOST/PATH, or clone it yourself and name the folder",
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UserError(f"not the URL of a repository: `{shown}`") from error
    if not host or _CONTROL.search(url) or not parts.path.strip("/"):
        raise UserError(f"not the URL of a repository: `{shown}`")
    if "@" in parts.netloc:
        raise UserError(
            f"a URL with a credential in it would be known inside: `{host}`",
            hint="Store the credential on the host, see: sbx secret set --help",
        )
    return url


def folder_name(url: str) -> str:
    """What the clone is called: the last part of the path, without `.git`."""
    path = url.partition("?")[0].partition("#")[0]
    last = path.rstrip("/").rpartition("/")[2].removesuffix(".git")
    return _UNUSABLE.sub("-", last).strip(".-") or "repository"


def plan_url_clone(url: str, quarantine: Path) -> GitWorkspace:
    """What clone mode will be for this URL. Makes nothing."""
    top = _TOP / folder_name(url)
    return GitWorkspace(
        mode=GitMode.CLONE,
        repository=top,
        git_dir=quarantine,
        common_dir=quarantine,
        object_dirs=(),
        object_format="sha1",
        start="",  # not known before it is cloned: see `start_of`
        branch=None,
        base=None,
        worktree=top,
        url=url,
    )


def write_url_seed(seed: Path, identity: tuple[str, str] | None) -> None:
    """Write what the sandbox needs to clone."""
    seed.mkdir(parents=True)
    write_scripts(seed)
    (seed / "clone").write_text(_CLONE)
    lines = Git(git_dir=seed)
    (seed / IDENTITY).write_bytes(b"")
    for key, value in zip(("user.name", "user.email"), identity or (), strict=False):
        lines.run("config", "--file", seed / IDENTITY, key, value)


def url_losses(git: Git, sandbox: str) -> tuple[str, ...]:
    """What a removal would lose, as far as the host can know: not what was pushed elsewhere."""
    if git.commit(START) is None:
        return ()
    commits = count_new(git)
    if not commits:
        return ()
    return (f"{commits} commits of sandbox {sandbox} are lost unless they were pushed",)
