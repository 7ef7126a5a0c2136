# SPDX-License-Identifier: Apache-2.0
"""One agent and its mixins, each with what it extends, put together in their order.

Applied in a sandbox in this order: network and environment, files/home, install, setup.files,
startup, files/workspace. Lists stand in the order base, agent, mixins as they were named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sbx.kit.args import GivenArgs
from sbx.kit.bundle import HOME, WORKSPACE, Bundle, KitFile
from sbx.kit.credentials import Credential
from sbx.kit.findings import Finding, KitError, Level
from sbx.kit.merge import extend, locked_paths
from sbx.kit.model import Arg, Install, Kind, Port, SetupFile, Spec, Startup, Volume
from sbx.kit.read import ReadSpec, read_spec
from sbx.kit.reference import is_pinned, parse_reference
from sbx.system.text import printable

MAX_PARENTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A kit as it was fetched."""

    ref: str  # as it was named
    resolved: str  # the same, pinned where that is possible: a commit, a digest
    bundle: Bundle


Fetch = Callable[[str], Source]  # of a reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """One kit with everything that it extends merged into it."""

    spec: Spec
    files: dict[str, KitFile]
    sources: tuple[Source, ...]  # its own first, then what it extends, upwards
    ancestors: tuple[str, ...]  # names of what it extends
    args: dict[str, str]  # its own
    declared: dict[tuple[str, str], Arg]  # by kit and name, those of what it extends too
    warnings: tuple[Finding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Composition:
    """What an agent gets: one sandbox kit and any number of mixins."""

    agent: Kit
    mixins: tuple[Kit, ...]

    @property
    def kits(self) -> tuple[Kit, ...]:
        return (self.agent, *self.mixins)

    @property
    def warnings(self) -> tuple[Finding, ...]:
        return tuple(one for kit in self.kits for one in kit.warnings)

    @property
    def allow(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host for kit in self.kits for host in kit.spec.allow))

    @property
    def deny(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host for kit in self.kits for host in kit.spec.deny))

    @property
    def variables(self) -> dict[str, str]:
        return {name: text for kit in self.kits for name, text in kit.spec.variables.items()}

    @property
    def ports(self) -> tuple[Port, ...]:
        return tuple(dict.fromkeys(port for kit in self.kits for port in kit.spec.ports))

    @property
    def volumes(self) -> tuple[Volume, ...]:
        return tuple({v.path: v for kit in self.kits for v in kit.spec.volumes}.values())

    @property
    def credentials(self) -> tuple[Credential, ...]:
        found = {one.service: one for kit in self.kits for one in kit.spec.credentials}
        return tuple(found.values())

    @property
    def install(self) -> tuple[Install, ...]:
        return tuple(step for kit in self.kits for step in kit.spec.steps.install)

    @property
    def startup(self) -> tuple[Startup, ...]:
        return tuple(step for kit in self.kits for step in kit.spec.steps.startup)

    @property
    def setup_files(self) -> tuple[SetupFile, ...]:
        return tuple({f.path: f for kit in self.kits for f in kit.spec.steps.files}.values())

    @property
    def home_files(self) -> dict[str, KitFile]:
        """What goes to the home folder, by path below it."""
        return self._files(HOME)

    @property
    def workspace_files(self) -> dict[str, KitFile]:
        """What goes to the workspace, by path below it."""
        return self._files(WORKSPACE)

    def launch(self, args: Sequence[str], *, terminal: bool) -> tuple[str, ...]:
        """The command line: entrypoint, the arguments for this kind of session, the user's own."""
        sandbox = self.agent.spec.sandbox
        if sandbox is None:
            return tuple(args)
        command = sandbox.command
        words = command.default if command else ()
        if terminal and command and command.interactive:
            words = command.interactive
        return (*sandbox.entrypoint, *words, *args)

    def _files(self, root: str) -> dict[str, KitFile]:
        start = f"{root}/"
        return {
            name.removeprefix(start): file
            for kit in self.kits
            for name, file in kit.files.items()
            if name.startswith(start)
        }


def load_kit(ref: str, fetch: Fetch, given: GivenArgs) -> Kit:
    """A kit with everything that it extends.

    Raises:
        KitError: it or something it extends is invalid, or extends too much or in a circle.
    """
    return _load(ref, fetch, given, ())


def compose(agent: Kit, mixins: Iterable[Kit], given: GivenArgs) -> Composition:
    """Put an agent and its mixins together.

    Raises:
        KitError: kinds, names or `requires` do not fit.
        UserError: an argument was given that no kit has.
    """
    added = tuple(mixins)
    if agent.spec.kind is not Kind.SANDBOX:
        raise KitError(
            f'kit `{agent.spec.name}` has kind "mixin": it is not an agent',
            hint=f"Add it to one: sbx run --kit {agent.sources[0].ref} AGENT",
        )
    base = {agent.spec.name, *agent.ancestors}
    names = {agent.spec.name}
    for kit in added:
        spec = kit.spec
        if spec.kind is not Kind.MIXIN:
            raise KitError(
                f'kit `{spec.name}` has kind "sandbox": a sandbox has exactly one of them',
                hint=f"Name it instead of the agent: sbx run {kit.sources[0].ref}",
            )
        if spec.name in names:
            raise KitError(f"two kits are named `{spec.name}`")
        names.add(spec.name)
        if spec.requires is not None and spec.requires.agent not in base:
            raise KitError(
                f"kit `{spec.name}` requires agent `{spec.requires.agent}`, and this one is "
                f"`{agent.spec.name}`"
            )
    whole = Composition(agent=agent, mixins=added)
    given.check_used(key for kit in whole.kits for key in kit.declared)
    return whole


def _load(ref: str, fetch: Fetch, given: GivenArgs, below: tuple[str, ...]) -> Kit:
    if len(below) > MAX_PARENTS:
        chain = " → ".join((*below, ref))
        raise KitError(f"kit `{below[0]}` extends more than {MAX_PARENTS} levels: {chain}")
    source = fetch(ref)
    read = read_spec(source.bundle.spec, given, what=ref)
    spec = read.spec
    kit = Kit(
        spec=spec,
        files=_substituted(source.bundle, read),
        sources=(source,),
        ancestors=(),
        args=read.args,
        declared={(spec.name, name): arg for name, arg in spec.args.items()},
        warnings=read.warnings,
    )
    if spec.extends is None:
        return kit
    if source.resolved in below or spec.extends == ref:
        raise KitError(f"kit `{below[0] if below else ref}` extends itself")
    _check_pinned(spec)
    return _on(_load(spec.extends, fetch, given, (*below, source.resolved)), kit, read)


def _check_pinned(spec: Spec) -> None:
    assert spec.extends is not None
    if not is_pinned(parse_reference(spec.extends, cwd=Path())):
        raise KitError(
            f"kit `{spec.name}` extends `{printable(spec.extends)}`, which is not pinned",
            hint="Name a built-in agent, git+https://…#ref=COMMIT, or an image by its @sha256:…",
        )


def _on(parent: Kit, kit: Kit, read: ReadSpec) -> Kit:
    """The kit on top of what it extends."""
    name = kit.spec.name
    if parent.spec.kind is not Kind.SANDBOX:
        raise KitError(f"kit `{name}` extends `{parent.spec.name}`, which is a mixin")
    if name == parent.spec.name or name in parent.ancestors:
        raise KitError(f"kit `{name}` extends a kit of the same name")
    if broken := locked_paths(parent.spec.locked, read.paths):
        raise KitError(f"kit `{name}` sets `{broken[0]}`, which `{parent.spec.name}` has locked")
    spec = extend(parent.spec, kit.spec)
    return replace(
        kit,
        spec=spec,
        files={**parent.files, **kit.files},
        sources=(*kit.sources, *parent.sources),
        ancestors=(parent.spec.name, *parent.ancestors),
        declared={**parent.declared, **kit.declared},
        warnings=(*kit.warnings, *parent.warnings),
    )


def _substituted(bundle: Bundle, read: ReadSpec) -> dict[str, KitFile]:
    """The files with the values of arguments; what is not text stays as it is.

    Raises:
        KitError: a file names an argument that is not declared.
    """
    found: dict[str, KitFile] = {}
    errors: list[Finding] = []
    for name, file in bundle.files.items():
        found[name] = file
        if not name.startswith("files/") or b"${{" not in file.data:
            continue
        try:
            text = file.data.decode()
        except UnicodeDecodeError:
            continue
        before = len(read.substitution.decoder.findings.found)
        found[name] = replace(file, data=read.substitution.text(text, name).encode())
        errors += read.substitution.decoder.findings.found[before:]
    if errors:
        placed = tuple(replace(one, file=one.path, path="", level=Level.ERROR) for one in errors)
        raise KitError(f"invalid files of kit `{read.spec.name}`", findings=placed)
    return found
