# SPDX-License-Identifier: Apache-2.0
"""The stored policy: one versioned JSON file in the configuration folder, read strictly.

Fails closed (docs/security.md, I1). No file: nothing was chosen yet, everything is denied. A file
that cannot be read: a supervisor keeps the last good one that it has, everybody else denies all;
either says so. Changes are made under a lock, atomically, never to a file that is not understood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sbx.errors import ConflictError, PermanentError, UserError
from sbx.policy.engine import Policy, closed_policy
from sbx.policy.hosts import Protocol
from sbx.policy.paths import parse_glob
from sbx.policy.patterns import parse_resource
from sbx.policy.presets import Preset
from sbx.policy.rules import METHODS, CreatedVia, DenyKind, Effect, HttpMatch, Origin, Rule
from sbx.policy.ruleset import Removed, RuleSet, drop_sandbox, drop_session
from sbx.store.documents import read_document, write_document
from sbx.store.paths import POLICY, Paths, make_private
from sbx.system.files import sync_folder
from sbx.system.locks import hold_lock

_VERSION = 1
_LIMIT_BYTES = 64 << 20  # 100 000 rules are about 30 MB
_LOCK = "policy.lock"
NOT_INITIALIZED = "global network policy has not been initialized"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHttp:
    """The requests of an HTTP rule."""

    methods: tuple[str, ...]  # empty: any
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRule:
    """A rule, its patterns as text."""

    id: str
    name: str
    effect: Effect
    resources: tuple[str, ...]
    protocols: tuple[Protocol, ...]
    http: StoredHttp | None = None
    sandbox: str | None = None
    origin: Origin = Origin.LOCAL
    created_via: CreatedVia = CreatedVia.ADDED
    private: bool = False
    note: str = ""
    until_stop: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPolicy:
    """The file, without its version."""

    preset: Preset
    removed: tuple[Removed, ...] = ()
    rules: tuple[StoredRule, ...] = ()


def read_policy(where: Paths) -> RuleSet | None:
    """The stored rules, or None where no posture has been chosen.

    Raises:
        PermanentError: the file is damaged, of a newer version, or holds a rule that is none.
    """
    path = where.config / POLICY
    stored = read_document(
        path, StoredPolicy, version=_VERSION, limit_bytes=_LIMIT_BYTES, damaged=_damaged
    )
    if stored is None:
        return None
    try:
        return RuleSet(
            preset=stored.preset,
            removed=stored.removed,
            added=_unique(tuple(map(_to_rule, stored.rules))),
        )
    except UserError as error:
        raise _damaged(path, str(error)) from error


def need_policy(where: Paths) -> RuleSet:
    """The stored rules.

    Raises:
        UserError: no posture has been chosen.
        PermanentError: as `read_policy`.
    """
    rules = read_policy(where)
    if rules is None:
        raise UserError(
            NOT_INITIALIZED, hint="Run: sbx policy init balanced (or allow-all, or deny-all)"
        )
    return rules


def init_policy(where: Paths, preset: Preset, extra: tuple[Rule, ...] = ()) -> RuleSet:
    """Choose a posture, once; `extra` are rules that come with it.

    Raises:
        ConflictError: one was chosen before.
        PermanentError: as `read_policy`.
        HostError: the file cannot be written.
    """
    make_private(where)
    with hold_lock(where.config / _LOCK):
        if (old := read_policy(where)) is not None:
            raise ConflictError(
                f'a global network policy is already set: "{old.preset}"',
                hint="To choose again, run: sbx policy reset",
            )
        rules = RuleSet(preset=preset, added=_unique(extra))
        _write(where, rules)
    return rules


def change_policy(where: Paths, change: Callable[[RuleSet], tuple[RuleSet, T]]) -> T:
    """Change the stored rules by a function of `sbx.policy.ruleset`; if it raises, nothing is.

    Raises:
        UserError: no posture has been chosen.
        PermanentError: as `read_policy`.
        HostError: the file cannot be written.
    """
    make_private(where)
    with hold_lock(where.config / _LOCK):
        rules, result = change(need_policy(where))
        _write(where, rules)
    return result


def delete_policy(where: Paths) -> bool:
    """Forget posture and rules, also those that cannot be read; returns whether there were any."""
    make_private(where)
    with hold_lock(where.config / _LOCK):
        try:
            (where.config / POLICY).unlink()
        except FileNotFoundError:
            return False
        sync_folder(where.config)
    return True


def forget_sandbox(where: Paths, sandbox: str) -> None:
    """Remove the rules of a sandbox that goes, so that a later one of its name has none of them.

    Raises:
        PermanentError: as `read_policy`.
        HostError: the file cannot be written.
    """
    _tidy(where, lambda rules: drop_sandbox(rules, sandbox))


def forget_session(where: Paths, sandbox: str) -> None:
    """Remove the rules that a sandbox had until it stopped (raises as `forget_sandbox`)."""
    _tidy(where, lambda rules: drop_session(rules, sandbox))


def _tidy(where: Paths, change: Callable[[RuleSet], RuleSet]) -> None:
    """Change the rules if there are any and the change makes a difference."""
    if not (where.config / POLICY).exists():
        return
    with hold_lock(where.config / _LOCK):
        rules = read_policy(where)
        if rules is not None and (kept := change(rules)) != rules:
            _write(where, kept)


class PolicySource:
    """The policy of one sandbox as its supervisor has it: current, or the last good one."""

    def __init__(self, where: Paths, sandbox: str) -> None:
        self._path = where.config / POLICY
        self._where = where
        self._sandbox = sandbox
        self._seen: tuple[int, ...] | None = None
        self.policy: Policy = closed_policy(DenyKind.UNREADABLE, "the policy was not read yet")
        self.problem: PermanentError | None = None  # why the file is not the policy in force
        self._good = False

    def refresh(self) -> bool:
        """Read the file if it changed; returns whether the policy in force is another one now."""
        facts = self._facts()
        if facts == self._seen:
            return False
        try:
            rules = read_policy(self._where)
        except PermanentError as error:
            return self._keep(error, facts)
        # Read under no lock: a file that was replaced meanwhile has other facts, and is read again.
        self._seen = facts
        self.problem = None
        if rules is None:
            self._good = False
            self.policy = closed_policy(DenyKind.UNINITIALIZED, NOT_INITIALIZED)
        else:
            self._good = True
            self.policy = rules.compile(self._sandbox)
        return True

    def _keep(self, error: PermanentError, facts: tuple[int, ...]) -> bool:
        transient = isinstance(error.__cause__, OSError)  # no descriptor free, say: look again
        self._seen = None if transient else facts
        self.problem = error
        if self._good:
            return False
        self.policy = closed_policy(DenyKind.UNREADABLE, error.message)
        return True

    def _facts(self) -> tuple[int, ...]:
        """What differs between two versions of the file: each is a new file, see `write_atomic`."""
        try:
            found = self._path.stat()
        except OSError as error:
            return (error.errno or 0,)
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _to_rule(stored: StoredRule) -> Rule:
    http = None
    if stored.http is not None:
        if unknown := set(stored.http.methods) - set(METHODS):
            raise UserError(f"rule `{stored.id}`: unknown method {sorted(unknown)[0]!r}")
        http = HttpMatch(methods=frozenset(stored.http.methods), path=parse_glob(stored.http.path))
    if stored.until_stop and stored.sandbox is None:
        raise UserError(f"rule `{stored.id}`: only one sandbox stops, not all")
    if not stored.id or not stored.resources or not stored.protocols:
        raise UserError(f"rule `{stored.id}` is about nothing")
    if http is not None and Protocol.UDP in stored.protocols:
        raise UserError(f"rule `{stored.id}`: HTTP is tcp")
    return Rule(
        id=stored.id,
        name=stored.name,
        effect=stored.effect,
        resources=tuple(map(parse_resource, stored.resources)),
        protocols=frozenset(stored.protocols),
        http=http,
        sandbox=stored.sandbox,
        origin=stored.origin,
        created_via=stored.created_via,
        private=stored.private,
        note=stored.note,
        until_stop=stored.until_stop,
    )


def _to_stored(rule: Rule) -> StoredRule:
    http = None
    if rule.http is not None:
        methods = tuple(m for m in METHODS if m in rule.http.methods)
        http = StoredHttp(methods=methods, path=str(rule.http.path))
    return StoredRule(
        id=rule.id,
        name=rule.name,
        effect=rule.effect,
        resources=tuple(map(str, rule.resources)),
        protocols=tuple(p for p in Protocol if p in rule.protocols),
        http=http,
        sandbox=rule.sandbox,
        origin=rule.origin,
        created_via=rule.created_via,
        private=rule.private,
        note=rule.note,
        until_stop=rule.until_stop,
    )


def _unique(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
    if len({rule.id for rule in rules}) != len(rules):
        raise UserError("two rules have the same id")
    return rules


def _write(where: Paths, rules: RuleSet) -> None:
    stored = StoredPolicy(
        preset=rules.preset, removed=rules.removed, rules=tuple(map(_to_stored, rules.added))
    )
    write_document(where.config / POLICY, stored, version=_VERSION)


def _damaged(path: Path, why: str) -> PermanentError:
    return PermanentError(
        f"cannot read the policy `{path}`: {why}",
        hint="Correct it, or start again with: sbx policy reset. Until then nothing new is allowed",
    )
