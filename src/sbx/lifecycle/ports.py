# SPDX-License-Identifier: Apache-2.0
"""Published ports of a sandbox: asked of its supervisor, or of its record while it is stopped."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sbx.control.client import connect
from sbx.control.messages import Reply, Request, Verb
from sbx.errors import NotFoundError
from sbx.sandbox.ports import PortBinding, PortSelector, Publication
from sbx.store import paths as names
from sbx.store import records
from sbx.store.paths import Paths
from sbx.system.locks import hold_lock, try_lock

_ANSWER_TIMEOUT_S = 30.0


def publish_ports(
    where: Paths, name: str, wanted: Sequence[Publication]
) -> tuple[PortBinding, ...]:
    """Publish ports of a running sandbox, all or none (call `start` first).

    Raises:
        ConflictError: one is published already, or another program has it.
        TransientError: the sandbox does not run.
    """
    return _ask(where, name, Request(verb=Verb.PORTS, publish=tuple(wanted))).ports


def unpublish_ports(
    where: Paths, name: str, selectors: Sequence[PortSelector]
) -> tuple[PortBinding, ...]:
    """Take published ports back, all that fit or none; returns what went.

    A sandbox that is stopped is not started for it: the ports are just not published again. Their
    host ports are then 0 where one would have been chosen at the start.

    Raises:
        NotFoundError: a selector fits nothing.
    """
    folder = where.sandbox(name)
    records.read_spec(where, name)
    with hold_lock(folder / names.VERB_LOCK):
        lock = try_lock(folder / names.SUPERVISOR_LOCK)
        if lock is None:
            request = Request(verb=Verb.PORTS, unpublish=tuple(selectors))
            return _ask(where, name, request).gone
        try:
            return _change_record(where, name, selectors)
        finally:
            os.close(lock)


def stopped_bindings(published: Sequence[Publication]) -> tuple[PortBinding, ...]:
    """What publications will be at the next start; host port 0 where one will be chosen."""
    return tuple(
        PortBinding(
            host_ip=ip,
            host_port=one.host_port or 0,
            sandbox_port=one.sandbox_port,
            protocol=protocol,
        )
        for one in published
        for ip, protocol in one.places()
    )


def _change_record(
    where: Paths, name: str, selectors: Sequence[PortSelector]
) -> tuple[PortBinding, ...]:
    published = records.read_record(where, name).published
    for selector in selectors:
        if not any(map(selector.fits, published)):
            raise NotFoundError(
                f"unpublish port: nothing is published for {selector}",
                hint=f"Run: sbx port ls {name}",
            )
    gone = [one for one in published if any(selector.fits(one) for selector in selectors)]
    kept = tuple(one for one in published if one not in gone)
    records.update_record(where, name, published=kept)
    return stopped_bindings(gone)


def _ask(where: Paths, name: str, request: Request) -> Reply:
    spec = records.read_spec(where, name)
    with connect(where.run_folder(spec.id) / names.CONTROL_SOCKET) as client:
        return client.ask(request, timeout_s=_ANSWER_TIMEOUT_S)
