# SPDX-License-Identifier: Apache-2.0
"""The golden frames of the guest protocol, which both sides are tested against."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import cast

_FILE = Path(__file__).parent.parent / "golden" / "guest-protocol.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """One frame."""

    name: str
    way: str  # "to guest" or "to host"
    frame: str  # the type's name
    header: bytes
    payload: bytes

    @property
    def data(self) -> bytes:
        """All bytes of the frame."""
        return self.header + self.payload


def load_goldens() -> dict[str, Golden]:
    """All frames by name."""
    rows = cast("list[dict[str, str]]", json.loads(_FILE.read_text(encoding="utf-8")))
    return {row["name"]: _golden(row) for row in rows}


def _golden(row: dict[str, str]) -> Golden:
    payload = row["text"].encode() if "text" in row else bytes.fromhex(row["hex"])
    return Golden(
        name=row["name"],
        way=row["way"],
        frame=row["frame"],
        header=bytes.fromhex(row["header"]),
        payload=payload,
    )
