# SPDX-License-Identifier: Apache-2.0
"""`sbx prune`: remove stopped sandboxes, all or those that stopped long ago."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click

from sbx.cli import engine, views
from sbx.cli.actions import each
from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, emit, out, table, talk, timestamp
from sbx.cli.prompt import confirm
from sbx.cli.wayback import warn_of_losses
from sbx.errors import ConflictError, UserError
from sbx.sandbox.units import format_size

if TYPE_CHECKING:
    from sbx.lifecycle.prune import PrunePlan
    from sbx.sandbox.status import SandboxStatus

_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h))+")  # as Go's time.ParseDuration, 0 and up
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_EXAMPLES = """
# What would go?
sbx prune --dry-run

# What was not used for a week, without a question
sbx prune -f --filter until=168h
"""


@click.command("prune", cls=Command, examples=_EXAMPLES)
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing")
@click.option(
    "--filter", "filters", multiple=True, metavar="until=TIME",
    help="Only those stopped before a time: RFC 3339, Unix seconds, or an age such as 24h",
)  # fmt: skip
@click.option("--cache", is_flag=True, help="Remove cached images that no sandbox uses, instead")
@click.option("-f", "--force", is_flag=True, help="Do not ask")
@format_options
@pass_app
@click.pass_context
def command(
    ctx: click.Context,
    app: App,
    *,
    dry_run: bool,
    filters: tuple[str, ...],
    cache: bool,
    force: bool,
) -> ExitStatus:
    """Remove stopped sandboxes. Running ones, and workspaces on the host, stay."""
    from sbx.lifecycle.prune import plan_prune

    if cache:
        if dry_run or filters:
            raise click.UsageError("--cache takes neither --dry-run nor --filter; see sbx df", ctx)
        return _prune_cache(app)
    until = parse_filters(filters, now=datetime.now(UTC))
    engine.begin(app)
    plan = plan_prune(app.paths, until=until)
    if dry_run:
        _show(app, plan)
        return ExitStatus.OK
    if plan.skipped_unknown_stop:
        talk(f"Skipped, stop time unknown: {', '.join(plan.skipped_unknown_stop)}")
    names = [one.spec.name for one in plan.remove]
    for name in names:
        warn_of_losses(app, name)
    if names and not force and app.settings.flag("cli.confirmRemove"):
        instead = shlex.join(["sbx", "prune", "-f", *(w for f in filters for w in ("--filter", f))])
        confirm(
            app, f"Remove {len(names)} stopped sandboxes ({', '.join(names)})?", instead=instead
        )
    if not names and app.format is Format.TABLE:
        out("No stopped sandboxes to remove.")
        return ExitStatus.OK
    by_name = {one.spec.name: one for one in plan.remove}
    return each(app, names, lambda name: _remove(app, by_name[name]))


def _prune_cache(app: App) -> ExitStatus:
    """Nothing that is asked about: what is removed would be built again by itself."""
    from sbx.lifecycle.caches import prune_cache

    engine.begin(app)
    freed = prune_cache(app.paths.cache, engine.used_layers(app), engine.template_layers(app))
    if app.format is Format.TABLE:
        out(f"✓ Freed {format_size(freed)}")
    else:
        emit(app, {"freed_bytes": freed})
    return ExitStatus.OK


def parse_filters(filters: Sequence[str], *, now: datetime) -> datetime | None:
    """The moment that `--filter until=…` means; the earliest of several.

    Raises:
        UserError: it is not a filter, or not a time.
    """
    moments = [_moment(item, now) for item in filters]
    return min(moments) if moments else None


def _moment(item: str, now: datetime) -> datetime:
    key, _equals, text = item.partition("=")
    if key != "until" or not text:
        raise UserError(f'invalid filter: "{item}"', hint="Use until=TIME, such as until=24h")
    try:
        if _DURATION.fullmatch(text):
            age_s = sum(float(number) * _UNIT_S[unit] for number, unit in _PART.findall(text))
            return now - timedelta(seconds=age_s)
        if text.isascii() and text.replace(".", "", 1).isdigit():
            return datetime.fromtimestamp(float(text), UTC)
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError, OSError) as error:
        raise UserError(
            f'invalid time in filter: "{text}"',
            hint="Use RFC 3339 (2026-01-31T12:00:00Z), Unix seconds, or an age such as 24h",
        ) from error
    return moment if moment.tzinfo is not None else moment.astimezone()


def _show(app: App, plan: PrunePlan) -> None:
    if app.format is not Format.TABLE:
        rows: list[Json] = [
            {
                "name": one.spec.name,
                "agent": one.spec.agent,
                "stopped_at": timestamp(one.record.stopped_at),
                "workspaces": [str(mount) for mount in one.spec.mounts],
            }
            for one in plan.remove
        ]
        emit(app, {"would_remove": rows, "skipped_unknown_stop": list(plan.skipped_unknown_stop)})
        return
    if plan.remove:
        shown = [
            [one.spec.name, one.spec.agent, timestamp(one.record.stopped_at) or ""]
            for one in plan.remove
        ]
        out(table(("SANDBOX", "AGENT", "STOPPED"), shown))
    else:
        out("No stopped sandboxes to remove.")
    if plan.skipped_unknown_stop:
        talk(f"Skipped, stop time unknown: {', '.join(plan.skipped_unknown_stop)}")


def _remove(app: App, one: SandboxStatus) -> dict[str, Json]:
    from sbx.lifecycle.prune import PrunePlan, prune

    name = one.spec.name
    if not prune(app.paths, PrunePlan(remove=(one,), skipped_unknown_stop=())):
        raise ConflictError(f"sandbox was started or changed meanwhile: `{name}`")
    if app.format is Format.TABLE:
        out(f"✓ Removed sandbox {name}")
    return views.action("removed", name, sandbox_id=one.spec.id)
