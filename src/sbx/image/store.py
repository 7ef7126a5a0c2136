# SPDX-License-Identifier: Apache-2.0
"""The built parts: what is there, what is whole, and making what is missing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbx.image import runtime, tools
from sbx.image.cache import Shelf
from sbx.image.recipe import guest_source
from sbx.image.space import check_space
from sbx.sandbox.parts import GuestTools, RuntimeBundle
from sbx.system.files import private_folder
from sbx.system.progress import Progress

DEFAULT_TEMPLATE = "shell"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that a machine is made of."""

    runtime: RuntimeBundle
    tools: GuestTools


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One cached part in reports."""

    kind: str  # runtime, tools-base, tools, layers
    digest: str
    size_bytes: int
    current: bool  # what a new sandbox would use


class ImageStore:
    """The parts in one cache folder. `source` is the guest agent's source, another one in tests."""

    def __init__(self, cache: Path, *, source: Path | None = None) -> None:
        self._cache = cache
        self._source = source or guest_source()

    def runtime(self) -> RuntimeBundle | None:
        """The runtime bundle, or None if it is absent or damaged."""
        entry = Shelf(self._cache, runtime.KIND).find(runtime.key())
        return None if entry is None else runtime.as_parts(entry)

    def tools(self) -> GuestTools | None:
        """The tools image that fits the runtime bundle and the agent's source, or None."""
        bundle = self.runtime()
        if bundle is None:
            return None
        entry = Shelf(self._cache, tools.KIND).find(tools.key(bundle, self._source))
        return None if entry is None else tools.as_parts(entry)

    def prepare_machine(self, progress: Progress) -> tuple[RuntimeBundle, GuestTools]:
        """The runtime bundle and the tools image, built where missing (errors as `prepare`)."""
        private_folder(self._cache)
        bundle = self.runtime()
        if bundle is None:
            check_space(self._cache, runtime.NEEDED_BYTES)
            bundle = runtime.as_parts(runtime.build(self._cache, progress))
        image = self.tools()
        if image is None:
            check_space(self._cache, tools.NEEDED_BYTES)
            image = tools.as_parts(tools.build(self._cache, bundle, self._source, progress))
        return bundle, image
