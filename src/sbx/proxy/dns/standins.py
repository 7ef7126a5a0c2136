# SPDX-License-Identifier: Apache-2.0
"""Stand-in addresses: the address that a sandbox is told for a name, and the way back.

They come from 198.18.0.0/15, which no network uses. A name keeps its address while the table has
it, and mostly gets the same one again later, because the search for a free one starts at a digest
of the name. When the table is full, the name that was not used for longest goes.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from ipaddress import IPv4Address, IPv4Network

from sbx.policy.hosts import Address, HostName

STAND_INS = IPv4Network("198.18.0.0/15")
MAX_NAMES = 16384

_FIRST = int(STAND_INS.network_address) + 1
_COUNT = STAND_INS.num_addresses - 2  # without the first and the last, which mean the network


class StandIns:
    """Names and their stand-in addresses, bounded."""

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        if not 0 < max_names <= _COUNT // 2:
            raise ValueError("the table must stay half empty, or a search takes long")
        self._max_names = max_names
        self._by_name: OrderedDict[HostName, int] = OrderedDict()
        self._by_number: dict[int, HostName] = {}

    def __len__(self) -> int:
        return len(self._by_name)

    def address_of(self, name: HostName) -> IPv4Address:
        """The stand-in of a name, made if it has none."""
        number = self._by_name.get(name)
        if number is None:
            number = self._free(name)
            self._by_name[name] = number
            self._by_number[number] = name
            if len(self._by_name) > self._max_names:
                _, oldest = self._by_name.popitem(last=False)
                del self._by_number[oldest]
        else:
            self._by_name.move_to_end(name)
        return IPv4Address(_FIRST + number)

    def name_of(self, address: Address) -> HostName | None:
        """The name that a stand-in address was given out for."""
        name = self._by_number.get(int(address) - _FIRST) if address in STAND_INS else None
        if name is not None:
            self._by_name.move_to_end(name)
        return name

    def _free(self, name: HostName) -> int:
        digest = hashlib.blake2b(name.encode("ascii"), digest_size=8).digest()
        number = int.from_bytes(digest) % _COUNT
        while number in self._by_number:
            number = (number + 1) % _COUNT
        return number
