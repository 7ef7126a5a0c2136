# SPDX-License-Identifier: Apache-2.0
"""Checks of what sbx itself has made, and of the accelerator."""

from __future__ import annotations

import os
from pathlib import Path

from sbx.cli.checks.model import Finding, failed, passed, skipped, warned
from sbx.image.store import ImageStore
from sbx.sandbox.parts import Accel
from sbx.sandbox.spec import AccelChoice
from sbx.store import records
from sbx.store.paths import Paths
from sbx.store.settings import load_settings

DEFAULT_TEMPLATE = "shell"

_TCG_DETAIL = (
    "Machines are emulated (TCG): slower. QEMU's authors treat only hardware virtualisation as a\n"
    "security boundary; under emulation the jail around QEMU is the wall that counts."
)


def check_accel(where: Paths) -> Finding:
    """Whether KVM really boots a machine here."""
    runtime = ImageStore(where.cache).runtime()
    if runtime is None:
        return skipped("cannot be tried before the runtime is prepared", hint="Run: sbx setup")
    from sbx.vm.accel import (
        choose_accel,  # asyncio and the probe's parts: only once it can be tried
    )

    verdict = choose_accel(AccelChoice.AUTO, runtime, where.cache)
    if verdict.accel is Accel.KVM:
        return passed("KVM works", detail=verdict.reason or "")
    detail = f"{verdict.details}\n{_TCG_DETAIL}" if verdict.details else _TCG_DETAIL
    hint = verdict.hint or "Nothing to do: sandboxes work without; for speed use a host with KVM"
    return warned(f"KVM is not used: {verdict.reason}", detail=detail, hint=hint)


def check_runtime(where: Paths) -> Finding:
    """The runtime bundle."""
    runtime = ImageStore(where.cache).runtime()
    if runtime is None:
        return failed("the runtime bundle is missing or damaged", hint="Run: sbx setup")
    return passed(f"runtime {runtime.digest[:12]}, kernel {runtime.kernel_release}")


def check_tools(where: Paths) -> Finding:
    """The guest tools."""
    tools = ImageStore(where.cache).tools()
    if tools is None:
        return failed(
            "the guest tools are missing, damaged or of another version", hint="Run: sbx setup"
        )
    return passed(f"guest tools {tools.digest[:12]}")


def check_template(where: Paths) -> Finding:
    """The default template."""
    template = ImageStore(where.cache).template(DEFAULT_TEMPLATE)
    if template is None:
        return failed(f"template `{DEFAULT_TEMPLATE}` is missing or damaged", hint="Run: sbx setup")
    return passed(f"template `{DEFAULT_TEMPLATE}` {template.digest[:12]}")


def check_settings(where: Paths) -> Finding:
    """The settings file and the variables that stand for settings."""
    found = load_settings(where).all()
    changed = sum(setting.source != "default" for setting in found)
    return passed(f"settings are readable, {changed} changed")


def check_folders(where: Paths) -> Finding:
    """Our folders belong to us and are closed to others."""
    for folder in (where.state, where.config, where.cache, where.runtime):
        if not folder.exists():
            continue
        facts = folder.stat()
        if facts.st_uid != os.geteuid():
            return failed(
                f"folder belongs to another user: `{folder}`",
                hint=f"Run: sudo chown -R {os.geteuid()} '{folder}'",
            )
        if facts.st_mode & 0o077:
            return failed(
                f"folder is open to other users: `{folder}`", hint=f"Run: chmod 700 '{folder}'"
            )
    return passed("state, settings, cache and sockets are private", detail=str(where.state))


def check_leftovers(where: Paths) -> Finding:
    """What a crash left behind."""
    from sbx.lifecycle.status import survey

    found = survey(where)
    if broken := found.damaged:
        name = sorted(broken)[0]
        return warned(
            f"{len(broken)} damaged sandboxes: {', '.join(sorted(broken))}",
            detail=broken[name].message, hint=f"Run: sbx rm -f {name}",
        )  # fmt: skip
    wedged = [one.spec.name for one in found.sandboxes if not one.responsive]
    if wedged:
        return warned(f"not answering: {', '.join(wedged)}", hint=f"Run: sbx stop {wedged[0]}")
    stale = _stale_run_folders(where)
    if stale:
        return warned(f"{len(stale)} stale socket folders", hint=f"Run: rm -r '{stale[0]}'")
    return passed("no leftovers")


def _stale_run_folders(where: Paths) -> list[Path]:
    ids = {records.read_spec(where, name).id for name in records.names(where)}
    known = {where.run_folder(sandbox_id).name for sandbox_id in ids}
    if not where.runtime.is_dir():
        return []
    # Sandboxes' folders are named by the start of their id; other things here are not theirs.
    own = [
        p for p in where.runtime.iterdir() if p.is_dir() and len(p.name) == 12 and p.name[8] == "-"
    ]
    return [path for path in own if path.name not in known]


def check_authentication(_where: Paths) -> Finding:
    """There is nothing to sign in to."""
    return passed("no account needed")
