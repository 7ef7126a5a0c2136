# SPDX-License-Identifier: Apache-2.0
"""Entries of the audit log in the shape of OCSF 1.3 (schema.ocsf.io), for other people's tools.

Classes: Network Activity (4001), HTTP Activity (4002), DNS Activity (4003). What has no place in
the schema is under `unmapped`.
"""

from __future__ import annotations

from ipaddress import ip_address

import sbx
from sbx.cli.output import Json
from sbx.cli.policy.logviews import Seen, host_text
from sbx.store.audit import Entry, Kind

_CATEGORY = 4  # Network Activity
_CLASSES = {
    Kind.NETWORK: (4001, "Network Activity"),
    Kind.HTTP: (4002, "HTTP Activity"),
    Kind.DNS: (4003, "DNS Activity"),
}
_METHODS = {
    "CONNECT": 1, "DELETE": 2, "GET": 3, "HEAD": 4, "OPTIONS": 5, "POST": 6, "PUT": 7, "TRACE": 8,
}  # fmt: skip
_OTHER = 99
_STATUS = {"passed": (1, "Success"), "blocked": (2, "Failure")}
_INFORMATIONAL, _LOW = 1, 2


def event(one: Seen) -> dict[str, Json]:
    """One entry as an OCSF event."""
    entry = one.entry
    class_uid, class_name = _CLASSES[entry.kind]
    activity = _activity(entry)
    status = _STATUS.get(entry.outcome, (_STATUS["passed" if entry.allowed else "blocked"]))
    found: dict[str, Json] = {
        "metadata": {
            "version": "1.3.0",
            "product": {"name": "sbx", "vendor_name": "opensbx", "version": sbx.__version__},
            "profiles": ["security_control"],
        },
        "time": int(one.at.timestamp() * 1000),
        "category_uid": _CATEGORY,
        "category_name": "Network Activity",
        "class_uid": class_uid,
        "class_name": class_name,
        "activity_id": activity,
        "type_uid": class_uid * 100 + activity,
        "severity_id": _INFORMATIONAL if entry.allowed else _LOW,
        "action_id": 1 if entry.allowed else 2,
        "action": "Allowed" if entry.allowed else "Denied",
        "disposition_id": 1 if entry.allowed else 2,
        "disposition": "Allowed" if entry.allowed else "Blocked",
        "status_id": status[0],
        "status": status[1],
        "status_detail": entry.detail or entry.reason,
        "count": entry.count,
        "duration": round(entry.duration_s * 1000),
        "message": f"{host_text(entry)}: {entry.reason or entry.outcome}",
        "src_endpoint": {"hostname": one.sandbox},
        "dst_endpoint": _endpoint(entry),
        "unmapped": {
            "outcome": entry.outcome,
            "proxy": entry.proxy,
            "origin": entry.origin,
            "credentials": list(entry.credentials),
        },
    }
    if entry.rule:
        found["firewall_rule"] = {
            "uid": entry.rule_id, "name": entry.rule, "condition": entry.resource,
        }  # fmt: skip
    return {**found, **_of_class(entry)}


def _activity(entry: Entry) -> int:
    """The activity of its class: what the traffic was, or what it tried to be."""
    match entry.kind:
        case Kind.HTTP:
            return _METHODS.get(entry.method, _OTHER)
        case Kind.DNS:
            return 6  # Traffic: the question and its answer
        case Kind.NETWORK:
            return 6 if entry.allowed else 5  # Traffic, Refuse


def _endpoint(entry: Entry) -> dict[str, Json]:
    found: dict[str, Json] = {}
    try:
        found["ip"] = str(ip_address(entry.host.strip("[]")))
    except ValueError:
        found["hostname"] = entry.host
    if entry.address:
        found["ip"] = entry.address
    if entry.port is not None:
        found["port"] = entry.port
    return found


def _of_class(entry: Entry) -> dict[str, Json]:
    if entry.kind is Kind.DNS:
        return {"query": {"hostname": entry.host, "class": "IN"},
                "rcode_id": 0 if entry.allowed else 3}  # fmt: skip
    found: dict[str, Json] = {
        "connection_info": {
            "protocol_name": entry.protocol, "direction_id": 2, "direction": "Outbound",
        },
        "traffic": {
            "bytes_out": entry.sent_bytes, "bytes_in": entry.received_bytes,
            "bytes": entry.sent_bytes + entry.received_bytes,
        },
    }  # fmt: skip
    if entry.kind is Kind.HTTP:
        url: dict[str, Json] = {"hostname": entry.host, "path": entry.path, "port": entry.port}
        found["http_request"] = {"http_method": entry.method, "url": url}
    return found
