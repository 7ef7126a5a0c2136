# SPDX-License-Identifier: Apache-2.0
"""Kits for tests: specs from a few lines, and a fetch that knows only what it was given."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping

import pytest

from sbx.kit.args import NO_ARGS, GivenArgs
from sbx.kit.bundle import Bundle, KitFile
from sbx.kit.compose import Fetch, Kit, Source, load_kit
from sbx.kit.findings import KitError
from sbx.kit.read import ReadSpec, read_spec

MIXIN = 'schemaVersion: "2"\nkind: mixin\nname: extra\n'
SANDBOX = (
    'schemaVersion: "2"\nkind: sandbox\nname: own\nsandbox: {image: shell, entrypoint: [run]}\n'
)


def read(head: str, body: str = "", given: GivenArgs = NO_ARGS) -> ReadSpec:
    """A spec from its head and further lines."""
    return read_spec((head + textwrap.dedent(body)).encode(), given, what="./k")


def problems(head: str, body: str = "", given: GivenArgs = NO_ARGS) -> list[str]:
    """The errors of a spec that must have some, as they are shown."""
    with pytest.raises(KitError) as caught:
        read(head, body, given)
    return (caught.value.details or "").splitlines()


def warnings(head: str, body: str = "") -> list[str]:
    """The warnings of a spec that is valid."""
    return [str(one) for one in read(head, body).warnings]


def fetch_from(kits: Mapping[str, str | Bundle]) -> Fetch:
    """A fetch of kits by reference, from the texts of their specs."""

    def fetch(ref: str) -> Source:
        found = kits[ref]
        bundle = found if isinstance(found, Bundle) else Bundle(spec=found.encode(), files={})
        return Source(ref=ref, resolved=ref, bundle=bundle)

    return fetch


def kit(text: str, files: Mapping[str, KitFile] | None = None, given: GivenArgs = NO_ARGS) -> Kit:
    """One kit without parents but built-in ones."""
    bundle = Bundle(spec=text.encode(), files=dict(files or {}))
    return load_kit("./k", fetch_from({"./k": bundle}), given)
