# SPDX-License-Identifier: Apache-2.0
"""From the word after `--template` to a template that is there, fetched or made if need be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sbx.cli import engine
from sbx.cli.app import App
from sbx.cli.creation_options import PullPolicy, Typed
from sbx.cli.output import clean, warn
from sbx.cli.progress import Steps
from sbx.errors import NotFoundError, TransientError, UserError
from sbx.image.store import ImageStore
from sbx.image.template import SHELL
from sbx.kit.builtin import ALIASES, NAMES
from sbx.kit.reference import parse_oci
from sbx.kit.registry import Credentials
from sbx.lifecycle.templates import FLAVOR, OWN, full_reference, has_registry
from sbx.store import templates
from sbx.store.templates import Origin, StoredTemplate
from sbx.system.progress import Progress

_VARIANT_ENDINGS = ("-docker", "-minimal")
_VARIANTS = {"claude-code": "claude"}


def choose(app: App, asked: str, typed: Typed, agent: str) -> str:
    """The name of a template for `create` (see `lifecycle.base.find_template`).

    Raises:
        UserError: there is none, or none that can be used here.
        SbxError: it cannot be fetched or made.
    """
    own = None if typed.pull == PullPolicy.ALWAYS else own_name(app, asked)
    if own is not None:
        return SHELL if own in (SHELL, agent) else _agent_template(app, own, typed)
    store = ImageStore(app.paths.cache)
    if "/" not in asked and store.template(asked) is not None:
        return asked  # of an agent, as `sbx version --json` shows it
    stored = _find(app, asked, typed)
    if stored.flavor not in ("", SHELL, agent) and agent != SHELL:
        warn(
            f"template {clean(asked)} is made for agent {clean(stored.flavor)}, and this sandbox "
            f"runs {clean(agent)}; for the other one: "
            f"sbx run -t {clean(asked)} {clean(stored.flavor)}"
        )
    return stored.reference


def build_bases(app: App, names: Sequence[str], progress: Progress) -> dict[str, StoredTemplate]:
    """The templates of ours and of the user that a Dockerfile starts from, by the name in it.

    Raises:
        SbxError: one of ours cannot be made.
    """
    from sbx.cli.creation import agent_request
    from sbx.lifecycle.base import find_template
    from sbx.lifecycle.save import stored_form

    found: dict[str, StoredTemplate] = {}
    for name in names:
        own = own_name(app, name)
        if own is not None:
            request = agent_request(app, own)
            made = (
                find_template(app.paths, SHELL, progress)
                if request is None
                else engine.prepare_agent(app, request, progress)
            )
            found[name] = stored_form(made, name)
            if request is not None:
                labels = {FLAVOR: own}
                found[name] = replace(found[name], labels=labels, flavor=own)
            continue
        try:
            there = templates.find(app.paths, full_reference(name))
        except UserError:  # a variable, or a stage
            continue
        if there is not None and there.origin is not Origin.PULLED:
            found[name] = there
    return found


def own_name(app: App, asked: str) -> str | None:
    """The agent, or `shell`, whose template of ours a reference means; None: it means another."""
    text = asked
    for line in app.settings.texts("template.aliases"):
        before, _equals, after = line.partition("=")
        for prefix in (before, f"docker.io/{before}"):
            if text == prefix or text.startswith(f"{prefix}:"):
                text = f"{after}/{_variant(text[len(prefix) + 1 :])}"
    name, slash, rest = text.removeprefix("docker.io/").partition("/")
    if not slash or name != OWN:
        return None
    found = rest.partition(":")[0]
    found = ALIASES.get(found, found)
    if found not in NAMES:
        raise NotFoundError(
            f'template not found: "{asked}"', hint=f"There are {OWN}/NAME for: {', '.join(NAMES)}"
        )
    return found


def _variant(tag: str) -> str:
    for ending in _VARIANT_ENDINGS:
        tag = tag.removesuffix(ending)
    return _VARIANTS.get(tag, tag) or SHELL


def _agent_template(app: App, agent: str, typed: Typed) -> str:
    """The template of an agent, its layer made if it is not there."""
    from sbx.cli.creation import agent_request

    request = agent_request(app, agent)
    if request is None:
        return SHELL
    with Steps(quiet=typed.quiet) as progress:
        return engine.prepare_agent(app, request, progress).name


def _find(app: App, asked: str, typed: Typed) -> StoredTemplate:
    image = parse_oci(asked)
    there = templates.find(app.paths, full_reference(asked))
    policy = typed.pull
    if policy is None:
        is_fixed = there is not None and (there.origin is not Origin.PULLED or bool(image.digest))
        policy = PullPolicy.MISSING if is_fixed else PullPolicy.ALWAYS
    if there is not None and (policy != PullPolicy.ALWAYS or not has_registry(asked)):
        return there
    if policy == PullPolicy.NEVER:
        raise NotFoundError(f'template not found: "{asked}"', hint="Leave out: --pull never")
    if not has_registry(asked):
        raise _unknown(app, asked)
    from sbx.lifecycle.pull import pull

    try:
        with (
            Steps(quiet=typed.quiet) as progress,
            engine.start_listener("that converts", progress) as listener,
        ):
            return pull(
                app.paths, image, registry_logins(app), progress=progress, listener=listener
            )
    except TransientError as error:
        if there is None or typed.pull is not None:
            raise
        warn(f"{clean(error.message)}; template {clean(asked)} is used as it was pulled before")
        return there


def _unknown(app: App, asked: str) -> NotFoundError:
    known = ", ".join((SHELL, *(one.reference for one in templates.read_all(app.paths))))
    return NotFoundError(
        f'template not found: "{asked}" (available templates: {known})',
        hint=f"An image of a registry is named in full: {full_reference(asked)}",
    )


def registry_logins(app: App) -> Credentials:
    """The user's stored logins of registries (`sbx secret set --registry`)."""

    def find(registry: str) -> tuple[str, str] | None:
        from sbx.secret.entries import Kind, read_entries
        from sbx.secret.store import read_value

        for entry in read_entries(app.paths):
            if entry.kind is Kind.REGISTRY and entry.name == registry and entry.sandbox is None:
                return entry.username, read_value(app.paths, entry).reveal()
        return None

    return find
