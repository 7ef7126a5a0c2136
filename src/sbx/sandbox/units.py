# SPDX-License-Identifier: Apache-2.0
"""Sizes as people write them: binary units, `512m` is 512 MiB and `8g` is 8 GiB."""

from __future__ import annotations

import re

from sbx.errors import UserError

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

_FACTORS = {"": 1, "b": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
# At most 15 digits: more than any disk, and no long numbers to parse.
_SIZE = re.compile(
    r"(?P<number>[0-9]{1,15}(?:\.[0-9]{1,6})?)\s*(?P<unit>[bkmgt]?)(?:i?b)?", re.ASCII
)
_NAMES = ((TIB, "TiB"), (GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"))


def parse_size(text: str) -> int:
    """Bytes of `512m`, `8g`, `1.5GiB`, `1048576`: units are binary, case does not matter.

    Raises:
        UserError: it is not a size.
    """
    found = _SIZE.fullmatch(text.strip().lower())
    if found is None:
        raise UserError(
            f"invalid size: `{text}`", hint="Use a number and a unit, such as 512m or 8g"
        )
    whole, _, fraction = found["number"].partition(".")
    factor = _FACTORS[found["unit"]]
    # Whole numbers throughout: a float would round sizes above 8 PiB and make 0.1g inexact.
    part = int(fraction) * factor // 10 ** len(fraction) if fraction else 0
    return int(whole) * factor + part


def format_size(size_bytes: int) -> str:
    """The shortest exact-looking form: `512 MiB`, `1.5 GiB`, `100 B`; one decimal at most."""
    for factor, name in _NAMES:
        if size_bytes >= factor:
            tenths = (size_bytes * 10 + factor // 2) // factor
            return (
                f"{tenths // 10}.{tenths % 10} {name}" if tenths % 10 else f"{tenths // 10} {name}"
            )
    return f"{size_bytes} B"
