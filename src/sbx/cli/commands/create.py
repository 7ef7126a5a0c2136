# SPDX-License-Identifier: Apache-2.0
"""`sbx create`: make a sandbox and leave it running, without attaching."""

from __future__ import annotations

import click

from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.creation_options import Typed, creation_options
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import clean, emit, note, out, talk
from sbx.cli.progress import Steps

_EXAMPLES = """
# A sandbox that sees the current folder
sbx create shell .

# Another folder read-only beside it, and a size
sbx create shell . ../library:ro --cpus 2 --memory 4g

# Without any folder of the host
sbx create shell --name scratch
"""


@click.command("create", cls=Command, examples=_EXAMPLES)
@click.argument("agent", metavar="AGENT", type=click.UNPROCESSED)
@click.argument("paths", metavar="[PATH...]", nargs=-1, type=click.Path())
@creation_options
@format_options
@pass_app
def command(app: App, agent: str, paths: tuple[str, ...], typed: Typed) -> None:
    """Create a sandbox without attaching to it.

    The first PATH is the workspace: the folder that the agent works in, at the same path inside.
    More PATHs are shared beside it; `:ro` makes one read-only, `SRC:DST` puts it elsewhere.
    Without a PATH nothing of the host is shared.
    """
    engine.begin(app)
    engine.expect_start(app)
    from sbx.cli import creation, views
    from sbx.cli.policy.first_run import ensure_posture

    wanted = creation.want(app, agent, paths, typed)
    name, taken = creation.new_name(app, wanted)
    request = creation.request(app, wanted, name=name)
    if taken is not None:
        note(f"a sandbox named {taken} exists already; the new one is {name}")
    if app.format is Format.TABLE:
        out(creation.summary(request))
    creation.warn_of_limits(request)
    ensure_posture(app, needed=bool(request.deny_network))
    with Steps(quiet=typed.quiet) as progress:
        made = engine.create(app, request, progress)
    if app.format is not Format.TABLE:
        emit(app, views.row(made))
        return
    out(f"✓ Created sandbox {name}")
    talk(f"\nTo connect to this sandbox, run:\n  sbx run --name {clean(name)}")
