# SPDX-License-Identifier: Apache-2.0
"""The way back: what a sandbox changed, what of it deserves a look, and bringing it in."""

from __future__ import annotations

from dataclasses import dataclass

from sbx.errors import UserError
from sbx.lifecycle.branch import sync
from sbx.sandbox.git import GitState, GitWorkspace
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.workspace.git import changes, merge
from sbx.workspace.git.door import Git
from sbx.workspace.git.quarantine import HEADS, start_of
from sbx.workspace.git.review import Finding, review


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A sandbox's work as it is on the host."""

    sandbox: str
    git: Git  # the quarantine
    workspace: GitWorkspace
    state: GitState | None
    start: str  # commit that it began with
    tip: str  # commit of everything, what is not committed included
    head: str  # commit without that

    def patch(self, *, summary: bool) -> str:
        """What changed since the start."""
        return changes.diff_text(self.git, self.start, self.tip, summary=summary)

    def findings(self) -> tuple[Finding, ...]:
        """Changed files that would run on the host."""
        return review(changes.changed_files(self.git, self.start, self.tip))

    def bring_in(self, how: merge.How) -> merge.Merged:
        """Bring it into what the user has checked out (raises as `merge.bring_in`)."""
        if self.workspace.url is not None:
            refs = f"'{HEADS}*:refs/remotes/sandbox-{self.sandbox}/*'"
            raise UserError(
                f"sandbox `{self.sandbox}` works in a clone of {self.workspace.url}: there is no "
                "folder of yours to bring its work into",
                hint=f"In a clone of yours, run: git fetch '{self.git.git_dir}' {refs}",
            )
        tip = self.tip if how is merge.How.APPLY else self.head
        return merge.bring_in(self.git, self.workspace, tip, sandbox=self.sandbox, how=how)


def work_of(where: Paths, name: str) -> Work:
    """A sandbox's work, brought over first if it runs.

    Raises:
        UserError: the sandbox works directly in a folder of the host.
        SbxError: it cannot be brought over.
    """
    spec = records.read_spec(where, name)
    if spec.git is None:
        raise UserError(
            f"sandbox `{name}` works directly in its workspace: its changes are there already",
            hint="See: git diff. A sandbox made with --branch or --clone keeps them apart",
        )
    sync(where, name)
    git = Git(git_dir=where.sandbox(name) / names.GIT_REPOSITORY)
    tip, head = changes.tip_of(git), changes.head_of(git)
    start = start_of(git, spec.git)
    if start is None:
        raise UserError(
            f"nothing has come over from sandbox `{name}` yet: its clone is empty or not made",
            hint=f"Start it: sbx run --name {name}",
        )
    return Work(
        sandbox=name, git=git, workspace=spec.git, state=records.read_record(where, name).git,
        start=start, tip=tip or start, head=head or start,
    )  # fmt: skip
