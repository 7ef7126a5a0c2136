# SPDX-License-Identifier: Apache-2.0
"""`sbx version`: ours, the level of compatibility, and with JSON the parts of the runtime."""

from __future__ import annotations

import click

import sbx
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, emit, out

COMPATIBLE_WITH = "0.53.0"  # of the original; scripts look at the first x.y.z of the line, ours


_EXAMPLES = """
sbx version
sbx version --json
"""


@click.command("version", cls=Command, examples=_EXAMPLES)
@format_options
@pass_app
def command(app: App) -> None:
    """Show version information.

    JSON and YAML also hold the versions of the prepared runtime's parts.
    """
    if app.format is Format.TABLE:
        out(f"sbx version: v{sbx.__version__} (compatible with {COMPATIBLE_WITH})")
        return
    emit(app, {"version": sbx.__version__, "compatible_with": COMPATIBLE_WITH, **_parts(app)})


def _parts(app: App) -> dict[str, Json]:
    """The parts that are there; what is not prepared is left out."""
    from sbx.image.store import ImageStore  # only for those who ask for it

    store = ImageStore(app.paths.cache)
    found: dict[str, Json] = {}
    if (runtime := store.runtime()) is not None:
        found["runtime"] = {
            "digest": runtime.digest,
            "kernel": runtime.kernel_release,
            "packages": runtime.versions,
        }
    if (tools := store.tools()) is not None:
        found["tools"] = {"digest": tools.digest, "packages": tools.versions}
    templates: list[Json] = [
        {"name": t.name, "digest": t.digest, "packages": t.versions} for t in store.templates()
    ]
    return {**found, "templates": templates}
