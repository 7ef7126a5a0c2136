# SPDX-License-Identifier: Apache-2.0
"""The built parts: what is there, what is whole, and making what is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import NotFoundError, PermanentError
from sbx.image import runtime, tools
from sbx.image.cache import Shelf
from sbx.image.layers import KIND as LAYERS
from sbx.image.layers import LayerShelf
from sbx.image.recipe import guest_source
from sbx.image.space import check_space
from sbx.image.template import SHELL, TemplateShelf
from sbx.sandbox.parts import GuestTools, Layer, RuntimeBundle, Template
from sbx.system.files import private_folder
from sbx.system.progress import Progress

_KINDS = (runtime.KIND, tools.BASE_KIND, tools.KIND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Everything that a machine is made of."""

    runtime: RuntimeBundle
    tools: GuestTools
    template: Template


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

    def template(self, name: str) -> Template | None:
        """The template, or None if it is absent or damaged."""
        return TemplateShelf(self._cache).find(name)

    def layer(self, digest: str) -> Layer | None:
        """A layer by its digest, whatever template it belongs to, or None if absent or damaged."""
        return LayerShelf(self._cache).find(digest)

    def templates(self) -> tuple[Template, ...]:
        """All whole templates, by name."""
        shelf = TemplateShelf(self._cache)
        found = (shelf.find(name) for name in shelf.names())
        return tuple(each for each in found if each is not None)

    def prepare(self, progress: Progress, *, template: str = SHELL) -> Prepared:
        """Everything a machine needs, built where missing; others that want it meanwhile wait.

        Raises:
            NotFoundError: there is no such template.
            TransientError, HostError, PermanentError: as `debian.bootstrap`.
        """
        stack = self.template(template)
        if stack is None and template != SHELL:
            raise NotFoundError(f'template not found: "{template}"', hint="Run: sbx template ls")
        bundle, image = self.prepare_machine(progress)
        if stack is None:
            stack = TemplateShelf(self._cache).make_shell(bundle, progress)
        return Prepared(runtime=bundle, tools=image, template=stack)

    def add_layer(
        self, base: Template, key: str, write_archive: Callable[[Path], None]
    ) -> Template:
        """A template of the name and layers of `base` and one more, made of a tar archive.

        `key` are its inputs. The archive may be anybody's: it is packed in the jail, unread by us.

        Raises:
            PermanentError: the archive cannot be packed.
            HostError: there is no space.
        """
        bundle = self.runtime()
        if bundle is None:
            raise PermanentError("the runtime bundle is missing or damaged", hint="Run: sbx setup")
        return TemplateShelf(self._cache).add_layer(base, key, bundle, write_archive)

    def take_layer(self, made: Path, *, limit_bytes: int) -> Layer:
        """A layer of an image file that a builder made (PermanentError: it is none)."""
        return LayerShelf(self._cache).take_copy(made, limit_bytes=limit_bytes)

    def verify_full(self, progress: Progress) -> tuple[str, ...]:
        """Read every byte of what new sandboxes would use; names what is absent or damaged.

        What is damaged is set aside, so that the next preparation builds it again.
        """
        progress.begin("check the images")
        progress.note("runtime bundle")
        entry = Shelf(self._cache, runtime.KIND).check(runtime.key())
        wrong = [] if entry else ["runtime bundle"]
        if entry is not None:
            progress.note("guest tools")
            key = tools.key(runtime.as_parts(entry), self._source)
            if Shelf(self._cache, tools.KIND).check(key) is None:
                wrong.append("guest tools")
        shelf = TemplateShelf(self._cache)
        for name in sorted({SHELL, *shelf.names()}):
            progress.note(f"template {name}")
            if shelf.find(name, full=True) is None:
                wrong.append(f"template `{name}`")
        progress.end()
        return tuple(wrong)

    def usage(self) -> tuple[Part, ...]:
        """What lies in the cache, for `sbx df`."""
        current = self._current()
        parts = [
            Part(kind=kind, digest=digest, size_bytes=size, current=digest in current)
            for kind in _KINDS
            for digest, size in Shelf(self._cache, kind).sizes()
        ]
        parts += [
            Part(kind=LAYERS, digest=digest, size_bytes=size, current=digest in current)
            for digest, size in LayerShelf(self._cache).sizes()
        ]
        return tuple(parts)

    def prune(self, keep: frozenset[str] = frozenset(), bases: frozenset[str] = frozenset()) -> int:
        """Remove what no new sandbox would use, except the digests in `keep`; returns bytes freed.

        `keep` are the digests that existing sandboxes and the user's templates are made of, `bases`
        those of the templates alone: what an agent has on them stays too.
        """
        TemplateShelf(self._cache).prune(bases)
        keep |= self._current()
        freed = sum(Shelf(self._cache, kind).prune(keep) for kind in _KINDS)
        return freed + LayerShelf(self._cache).prune(keep)

    def drop_layers(
        self, digests: frozenset[str], *, keep: frozenset[str], bases: frozenset[str]
    ) -> int:
        """Remove layers of templates that are gone, and of agents on them; returns bytes freed.

        `keep` and `bases` are as for `prune`.
        """
        shelf = TemplateShelf(self._cache)
        before = shelf.layer_digests()
        shelf.prune(bases)
        after = shelf.layer_digests()
        return LayerShelf(self._cache).remove((digests | (before - after)) - keep - after)

    def _current(self) -> frozenset[str]:
        layers = TemplateShelf(self._cache).layer_digests()
        bundle = self.runtime()
        if bundle is None:
            return layers
        keys = (tools.base_key(bundle), tools.key(bundle, self._source))
        found = [Shelf(self._cache, kind).find(k) for kind, k in zip(_KINDS[1:], keys, strict=True)]
        return layers | {bundle.digest} | {entry.digest for entry in found if entry}
