# SPDX-License-Identifier: Apache-2.0
"""From the bytes of a spec.yaml to a typed, checked spec; every finding is reported at once."""

from __future__ import annotations

from dataclasses import dataclass

from sbx.kit import nodes
from sbx.kit.args import GivenArgs, Substitution, settle
from sbx.kit.decode import Decoder
from sbx.kit.findings import Finding, Findings, KitError
from sbx.kit.model import SCHEMA_VERSION, Arg, Spec
from sbx.kit.nodes import Scalar, Table
from sbx.kit.rules import check_spec
from sbx.kit.v1 import read_v1
from sbx.system.text import printable

_V3_LINE = b"# syntax=docker/sandbox-kit:3"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSpec:
    """A spec, how it was written, and what replaces the arguments in its files."""

    spec: Spec
    args: dict[str, str]
    paths: frozenset[str]  # the dotted paths of the keys that it sets
    warnings: tuple[Finding, ...]
    substitution: Substitution


def read_spec(data: bytes, given: GivenArgs, *, what: str) -> ReadSpec:
    """Parse, substitute, decode and check; `what` names the kit in errors.

    Raises:
        KitError: with every finding.
    """
    shown = f"`{printable(what)}`"
    if data.startswith(_V3_LINE):
        raise _too_new(shown)
    tree = nodes.parse(data, what=shown)
    version = tree.get("schemaVersion")
    number = version.text if isinstance(version, Scalar) else SCHEMA_VERSION
    if number == "3":
        raise _too_new(shown)
    findings = Findings()
    decoder = Decoder(findings)
    values = _args(tree, given, decoder)
    substitution = Substitution(values, decoder)
    replaced = substitution.tree(tree)
    assert isinstance(replaced, Table)
    spec = read_v1(replaced, decoder) if number == "1" else decoder.decode(Spec, replaced)
    check_spec(spec, decoder)
    findings.check(shown)
    return ReadSpec(
        spec=spec,
        args=values,
        paths=frozenset(decoder.marks),
        warnings=findings.warnings,
        substitution=substitution,
    )


def _args(tree: Table, given: GivenArgs, decoder: Decoder) -> dict[str, str]:
    """The values of the arguments, as far as their declarations can be read."""
    node = tree.get("args")
    name = tree.get("name")
    if not isinstance(node, Table):
        return {}
    kit = name.text if isinstance(name, Scalar) else ""
    declared: dict[str, Arg] = {}
    for key, value in node.entries:
        alone = Decoder(Findings())  # mistakes are reported when the whole is decoded
        arg = alone.decode(Arg, value)
        decoder.marks[f"args.{key.text}"] = key.mark
        # One that cannot be decoded is still declared: its uses are no further mistakes.
        declared[key.text] = Arg(default="") if alone.findings.failed else arg
    return settle(declared, kit, given, decoder)


def _too_new(shown: str) -> KitError:
    return KitError(
        f"kit {shown} is of schemaVersion 3, which is an image and not supported: this version "
        'reads schemaVersion "2"',
        hint="Use the kit's release for schemaVersion 2",
    )
