# SPDX-License-Identifier: Apache-2.0
"""Which requests get which values."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sbx.proxy.intercept.grants import WithheldError, canary
from tests.unit.credential.factories import PLACEHOLDER, custom, service
from tests.unit.policy.factories import to
from tests.unit.proxy.api import KEY, Held, World


def test_a_value_is_looked_for_once_it_was_put_in(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path, Held(service("a.test")))
        found = world.interception
        assert found.covers(to("a.test"))
        assert not found.covers(to("a.test:80"))
        assert not found.covers(to("b.test"))
        assert not found.covers(to("127.0.0.1"))
        assert not found.needles
        (grant,) = await found.grants(to("a.test"), "GET", "/", ())
        assert grant.value.reveal() == KEY
        assert KEY.encode() in found.needles.stand_ins

    asyncio.run(main())


def test_a_request_without_its_value_is_withheld(tmp_path: Path) -> None:
    async def main() -> None:
        world = World(tmp_path, Held(custom("a.test")))
        world.held.values.clear()
        with pytest.raises(WithheldError) as caught:
            await world.interception.grants(to("a.test"), "GET", "/", ())
        assert not caught.value.is_stray
        with pytest.raises(WithheldError) as caught:
            await world.interception.grants(to("b.test"), "GET", f"/{PLACEHOLDER}", ())
        assert caught.value.is_stray
        assert canary(caught.value.why).kind == "canary"
        assert world.interception.strays(to("b.test"), "/", ()) is None

    asyncio.run(main())
