# SPDX-License-Identifier: Apache-2.0
"""From what the proxy tells to what the audit log keeps."""

from __future__ import annotations

from typing import assert_never

from sbx.policy.hosts import show_host
from sbx.proxy.events import Event, Outcome, Via
from sbx.store.audit import Entry, Kind

_MAX_TEXT = 512  # of what the guest writes; the log's bound is on entries
_MAX_METHOD = 32


def to_entry(event: Event) -> Entry:
    """The entry for an event."""
    decision, to = event.decision, event.to
    rule = decision.rule if decision else None
    return Entry(
        kind=_kind(event),
        allowed=_allowed(event),
        outcome=event.outcome.value,
        proxy=_proxy(event),
        host=event.name[:_MAX_TEXT].lower() if to is None else show_host(to.host),
        port=None if to is None else to.port,
        protocol="tcp" if to is None else to.protocol.value,
        address="" if event.address is None else str(event.address),
        rule=rule.name if rule else "",
        rule_id=rule.id if rule else "",
        origin=decision.origin if decision else "",
        resource=str(decision.resource) if decision and decision.resource else "",
        deny_kind=decision.kind.value if decision and decision.kind else "",
        reason=decision.reason if decision else "",
        method=event.method[:_MAX_METHOD],
        path=event.path[:_MAX_TEXT],
        sent_bytes=event.sent_bytes,
        received_bytes=event.received_bytes,
        duration_s=round(event.duration_s, 4),
        credentials=event.credentials,
        detail=event.detail[:_MAX_TEXT],
    )


def _kind(event: Event) -> Kind:
    if event.via is Via.DNS:
        return Kind.DNS
    return Kind.HTTP if event.method and event.method != "CONNECT" else Kind.NETWORK


def _allowed(event: Event) -> bool:
    """What the policy said; where it was not reached, what came of it."""
    if event.decision is not None:
        return event.decision.allowed
    # An upstream that failed was allowed: a denial comes with its decision, before anything else.
    return event.outcome in (Outcome.PASSED, Outcome.FAILED, Outcome.TIMEOUT)


def _proxy(event: Event) -> str:
    """The word of `policy log`'s column PROXY."""
    match event.via:
        case Via.DNS:
            return "network"
        case Via.TRANSPARENT:
            return "transparent"
        case Via.EXPLICIT:
            return "forward" if _kind(event) is Kind.HTTP else "forward-bypass"
        case _:
            assert_never(event.via)
