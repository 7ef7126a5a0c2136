# SPDX-License-Identifier: Apache-2.0
"""What `run`, `diff`, `merge` and `apply` say about a sandbox's changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.output import clean, emit, out, talk, warn
from sbx.errors import SbxError

if TYPE_CHECKING:
    from sbx.lifecycle.wayback import Work
    from sbx.workspace.git.merge import Merged
    from sbx.workspace.git.review import Finding

_MAX_SHOWN = 40


def show_findings(findings: Sequence[Finding]) -> None:
    """List the changed files that would run on the host."""
    if not findings:
        return
    talk("\nLook at these before you use them: they run on this machine, or steer what does.")
    width = max(len(clean(f.path)) for f in findings[:_MAX_SHOWN])
    for one in findings[:_MAX_SHOWN]:
        talk(f"  {clean(one.path):<{width}}  {one.reason}")
    if len(findings) > _MAX_SHOWN:
        talk(f"  … and {len(findings) - _MAX_SHOWN} more")


def review_session(app: App, name: str) -> None:
    """After a session: what is there now, and how to get it. Never in the way of its status."""
    try:
        work = engine.work_of(app, name)
        findings = work.findings()
    except SbxError as error:
        warn(clean(error.message))
        return
    state = work.state
    if state is None or not (state.ahead or state.uncommitted):
        return
    where = work.workspace.branch or "its clone"
    bring = "to bring them in: sbx merge"
    if work.workspace.url is not None:
        bring = "how to have them here: sbx merge"
    talk(
        f"\n{clean(where)}: {state.ahead} commits, {state.uncommitted} files not committed. "
        f"See: sbx diff {clean(name)}; {bring} {clean(name)}"
    )
    if state.problem is not None:
        warn(clean(state.problem))
    show_findings(findings)


def warn_of_losses(app: App, name: str, *, delete_branch: bool = False) -> None:
    """Before a removal: which commits and changes would be lost."""
    try:
        for text in engine.losses(app, name, delete_branch=delete_branch):
            warn(clean(text))
    except SbxError as error:  # damaged, or its repository is: it can be removed all the same
        warn(clean(error.message))


def tell_merged(app: App, work: Work, done: Merged, action: str) -> None:
    """What `merge` or `apply` did."""
    place = done.branch or "the detached HEAD"
    if app.format is not Format.TABLE:
        emit(
            app,
            {
                "action": action if done.commit is not None else "unchanged",
                "sandbox": work.sandbox,
                "branch": done.branch,
                "commit": done.commit,
                "review": [{"path": f.path, "reason": f.reason} for f in work.findings()],
            },
        )
        return
    if done.commit is None:
        out(f"Nothing to do: {clean(place)} has it all")
        return
    how = "staged in" if action == "applied" else "merged into"
    out(f"✓ Work of sandbox {work.sandbox} {how} {clean(place)}")
    show_findings(work.findings())
