# SPDX-License-Identifier: Apache-2.0
"""Which changed files run on the host when somebody works there as usual. Pure.

A list of names cannot be complete; it holds what common tools execute without being asked twice.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

EXECUTABLE = 0o100755
LINK = 0o120000
GITLINK = 0o160000


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedFile:
    """One path that differs between where a sandbox started and where it is."""

    path: str
    status: str  # A, D, M or T
    old_mode: int
    new_mode: int  # 0: deleted
    link_target: str | None = None  # of a symbolic link


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A changed file that deserves a look before the host uses it."""

    path: str
    reason: str


# Patterns are matched against the path and each of its ends: `x/y` finds `a/x/y`, `x/*` all below.
_RULES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("a Git hook", (".githooks/*", ".husky/*", "hooks/pre-*", "hooks/post-*", "lefthook.y*ml",
                    ".pre-commit-config.yaml")),
    ("read by Git", (".gitattributes", ".gitmodules", ".gitconfig", ".git", ".git/*")),
    ("run when a folder is entered", (".envrc", ".env", "mise.toml", ".mise.toml",
                                      ".tool-versions", "flake.nix", "shell.nix", "default.nix")),
    ("an editor's task or setting", (".vscode/*", ".idea/*", ".zed/*", ".devcontainer/*",
                                     ".devcontainer.json", "*.code-workspace", ".vimrc", ".exrc",
                                     ".nvim.lua", ".dir-locals.el", ".editorconfig")),
    ("configuration of an agent", (".claude/*", "CLAUDE.md", "AGENTS.md", "GEMINI.md", ".mcp.json",
                                   ".cursor/*", ".cursorrules", ".codex/*", ".gemini/*",
                                   ".opencode/*", "opencode.json", ".aider*", ".continue/*",
                                   ".github/copilot-instructions.md", ".windsurfrules",
                                   "sbxenv.yaml", ".sbxenv.yaml", ".sbxignore")),
    ("run by continuous integration", (".github/workflows/*", ".github/actions/*",
                                       ".gitlab-ci.yml", ".circleci/*", "Jenkinsfile",
                                       ".travis.yml", "azure-pipelines.yml", ".buildkite/*",
                                       ".drone.yml", ".woodpecker*", ".forgejo/*", ".gitea/*")),
    ("a build file", ("Makefile", "makefile", "GNUmakefile", "*.mk", "CMakeLists.txt", "*.cmake",
                      "meson.build", "SConstruct", "configure", "configure.ac", "*justfile",
                      "Justfile", "Taskfile.y*ml", "Rakefile", "build.rs", "build.zig",
                      "build.gradle*", "settings.gradle*", "gradlew*", "gradle/wrapper/*",
                      "pom.xml", "mvnw*", ".mvn/*", "build.sbt", "WORKSPACE*", "BUILD.bazel",
                      "BUILD", "*.bzl", ".bazelrc", "MODULE.bazel", "dodo.py", "tasks.py")),
    ("holds scripts of a package", ("package.json", ".npmrc", ".yarnrc*", ".yarn/*",
                                    ".pnpmfile.cjs", "pnpm-workspace.yaml", "bunfig.toml",
                                    "deno.json*", "setup.py", "setup.cfg", "pyproject.toml",
                                    "tox.ini", "noxfile.py", "conftest.py", "sitecustomize.py",
                                    "*.pth", "Gemfile", "*.gemspec", "composer.json", "Cargo.toml",
                                    ".cargo/*", "mix.exs", "Package.swift", "*.csproj",
                                    "Directory.Build.*", "gulpfile.*", "Gruntfile.*",
                                    "*.config.js", "*.config.ts", "*.config.mjs", "*.config.cjs")),
    ("builds or starts containers", ("Dockerfile*", "*.Dockerfile", "Containerfile",
                                     "docker-compose*.y*ml", "compose*.y*ml", "Vagrantfile",
                                     "Tiltfile", "skaffold.yaml")),
    ("started by the desktop or the shell", ("*.desktop", "*.service", ".bashrc", ".profile",
                                             ".zshrc", ".bash_profile", ".inputrc")),
)  # fmt: skip


def review(changed: Iterable[ChangedFile]) -> tuple[Finding, ...]:
    """The changed files that a person should look at, by path."""
    found = (_judge(file) for file in changed)
    return tuple(sorted((f for f in found if f is not None), key=lambda f: f.path))


def _judge(file: ChangedFile) -> Finding | None:
    if file.new_mode == 0:
        return None
    reason = _by_kind(file) or _by_name(file.path)
    return Finding(path=file.path, reason=reason) if reason is not None else None


def _by_kind(file: ChangedFile) -> str | None:
    if file.new_mode == GITLINK:
        return "a submodule"
    if file.new_mode == LINK and file.link_target is not None and _leads_out(file):
        return "a symbolic link out of the repository"
    return None


def _by_name(path: str) -> str | None:
    ends = _ends(path)
    for reason, patterns in _RULES:
        if any(fnmatchcase(end, pattern) for pattern in patterns for end in ends):
            return reason
    return None


def _ends(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[i:]) for i in range(len(parts))]


def _leads_out(file: ChangedFile) -> bool:
    target = file.link_target or ""
    if target.startswith("/"):
        return True
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(file.path), target))
    return joined == ".." or joined.startswith("../")
