# SPDX-License-Identifier: Apache-2.0
"""`sbx df`: what sandboxes and cached images take on the disk; what is shared is counted once."""

from __future__ import annotations

import click

from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, emit, out, table
from sbx.image.store import Part
from sbx.lifecycle.caches import cache_usage
from sbx.sandbox.status import SandboxStatus
from sbx.sandbox.units import format_size

_EXAMPLES = """
sbx df

# Each sandbox and each image
sbx df -v
"""


@click.command("df", cls=Command, examples=_EXAMPLES)
@click.option("-v", "--verbose", is_flag=True, help="List each sandbox and each image")
@format_options
@pass_app
def command(app: App, verbose: bool) -> None:
    """Show what sandboxes and caches take on the disk.

    Reclaimable is what `sbx prune` (stopped sandboxes) or `sbx prune --cache` (images that nothing
    uses) would free.
    """
    engine.begin(app)
    sandboxes = engine.list_all(app)
    used = engine.used_layers(app)
    parts = cache_usage(app.paths.cache)
    rows = [_images(parts, used), _sandboxes(sandboxes)]
    if app.format is not Format.TABLE:
        details = {"images": _part_rows(parts, used), "sandboxes": _sandbox_rows(sandboxes)}
        emit(app, {"summary": rows, **(details if verbose else {})})
        return
    out(table(("TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"), [_cells(row) for row in rows]))
    if verbose:
        _show_details(parts, used, sandboxes)


def _images(parts: tuple[Part, ...], used: frozenset[str]) -> dict[str, int | str]:
    idle = [part for part in parts if not _is_active(part, used)]
    return {
        "type": "images",
        "total": len(parts),
        "active": len(parts) - len(idle),
        "size_bytes": sum(part.size_bytes for part in parts),
        "reclaimable_bytes": sum(part.size_bytes for part in idle),
    }


def _sandboxes(sandboxes: tuple[SandboxStatus, ...]) -> dict[str, int | str]:
    return {
        "type": "sandboxes",
        "total": len(sandboxes),
        "active": sum(one.live is not None for one in sandboxes),
        "size_bytes": sum(one.disk_bytes for one in sandboxes),
        "reclaimable_bytes": sum(one.disk_bytes for one in sandboxes if one.live is None),
    }


def _is_active(part: Part, used: frozenset[str]) -> bool:
    return part.current or part.digest in used


def _cells(row: dict[str, int | str]) -> list[str]:
    sizes = [format_size(int(row[key])) for key in ("size_bytes", "reclaimable_bytes")]
    return [str(row["type"]).capitalize(), str(row["total"]), str(row["active"]), *sizes]


def _part_rows(parts: tuple[Part, ...], used: frozenset[str]) -> list[Json]:
    return [
        {
            "kind": part.kind,
            "digest": part.digest,
            "size_bytes": part.size_bytes,
            "active": _is_active(part, used),
        }
        for part in parts
    ]


def _sandbox_rows(sandboxes: tuple[SandboxStatus, ...]) -> list[Json]:
    return [
        {"name": one.spec.name, "size_bytes": one.disk_bytes, "active": one.live is not None}
        for one in sandboxes
    ]


def _show_details(
    parts: tuple[Part, ...], used: frozenset[str], sandboxes: tuple[SandboxStatus, ...]
) -> None:
    images = [
        [part.kind, part.digest[:12], format_size(part.size_bytes), _yes(_is_active(part, used))]
        for part in parts
    ]
    out("\n" + table(("IMAGE", "DIGEST", "SIZE", "ACTIVE"), images))
    rows = [
        [one.spec.name, format_size(one.disk_bytes), _yes(one.live is not None)]
        for one in sandboxes
    ]
    out("\n" + table(("SANDBOX", "SIZE", "ACTIVE"), rows))


def _yes(answer: bool) -> str:
    return "yes" if answer else "no"
