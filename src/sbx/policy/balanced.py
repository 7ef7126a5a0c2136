# SPDX-License-Identifier: Apache-2.0
"""What the Balanced posture allows, as data: groups of hosts, each with the reason it is there.

A host is here because everyday work with a coding agent stops without it, and because what it can
carry out is limited or belongs to the work: models, packages, source code, images, certificates.
Not here: places made to receive what anybody sends (whole clouds, pastes, chat, mail, tunnels),
telemetry, and advertising. A forge or a registry can receive too, for who has an account there:
Locked Down is for work that must not leave. `**.x` is x and everything below it (docs/policy.md).
"""

from __future__ import annotations

from dataclasses import dataclass

_HTTPS = (443,)
_BOTH = (443, 80)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Hosts that are allowed for one reason."""

    id: str
    why: str
    hosts: str  # patterns, separated by white space
    ports: tuple[int, ...] = _HTTPS


GROUPS: tuple[Group, ...] = (
    Group(
        id="ai-services",
        why="models, and the sign-in and settings services of the agents that use them",
        hosts="""
            **.anthropic.com **.claude.ai **.claude.com
            **.openai.com **.chatgpt.com **.oaistatic.com **.oaiusercontent.com
            generativelanguage.googleapis.com aiplatform.googleapis.com *-aiplatform.googleapis.com
            cloudcode-pa.googleapis.com oauth2.googleapis.com accounts.google.com
            **.githubcopilot.com
            **.cursor.com **.cursor.sh **.factory.ai **.devin.ai **.kiro.dev
            api.groq.com api.mistral.ai api.studio.nebius.com api.tokenfactory.nebius.com
            openrouter.ai api.x.ai api.perplexity.ai
            api.workos.com models.dev **.opencode.ai
        """,
    ),
    Group(
        id="package-registries",
        why="the public registries of the common languages, whole domains: indexes and files",
        hosts="""
            **.pypi.org **.pythonhosted.org **.pypa.io **.anaconda.org **.conda.io
            **.npmjs.org **.npmjs.com **.yarnpkg.com **.jsr.io **.unpkg.com **.jsdelivr.net
            **.crates.io
            **.golang.org **.go.dev **.goproxy.io
            **.rubygems.org **.packagist.org **.packagist.com **.getcomposer.org
            **.maven.org **.apache.org **.gradle.org **.spring.io **.clojars.org
            **.nuget.org **.hex.pm **.cpan.org **.metacpan.org **.haskell.org
            **.cocoapods.org **.pub.dev **.luarocks.org **.opam.ocaml.org
        """,
    ),
    Group(
        id="toolchains",
        why="compilers, run times and the installers that their projects publish",
        hosts="""
            **.nodejs.org **.nodesource.com **.bun.sh **.deno.land **.deno.com
            **.astral.sh **.python.org **.rust-lang.org **.rustup.rs
            **.ruby-lang.org **.rvm.io **.php.net **.ziglang.org **.swift.org
            **.dot.net dotnet.microsoft.com builds.dotnet.microsoft.com aka.ms
            **.adoptium.net **.eclipse.org **.java.net download.oracle.com
            dl.google.com mise.run mise-versions.jdx.dev
            releases.hashicorp.com checkpoint-api.hashicorp.com apt.releases.hashicorp.com
            binaries.prisma.sh
            cdn.playwright.dev playwright.azureedge.net playwright.download.prss.microsoft.com
        """,
    ),
    Group(
        id="os-packages",
        why="packages of Linux distributions, signed by them; their mirrors still use plain HTTP",
        hosts="""
            **.debian.org **.ubuntu.com **.launchpad.net **.launchpadcontent.net
            **.alpinelinux.org **.archlinux.org **.fedoraproject.org **.centos.org
            **.rockylinux.org **.opensuse.org
        """,
        ports=_BOTH,
    ),
    Group(
        id="os-packages-of-projects",
        why="package archives that projects keep for distributions",
        hosts="apt.llvm.org packages.microsoft.com packagecloud.io",
    ),
    Group(
        id="source-code",
        why="the large public forges: clone, fetch, releases and their interfaces",
        hosts="""
            **.github.com **.githubusercontent.com
            **.gitlab.com **.bitbucket.org **.codeberg.org **.sourceforge.net
            **.savannah.gnu.org **.kernel.org
        """,
    ),
    Group(
        id="container-images",
        why="public registries of container images, and the storage that they hand out links to",
        hosts="""
            **.docker.io **.docker.com
            docker-images-prod.6aa30f8b08e16409b46e0173d6de2f56.r2.cloudflarestorage.com
            **.ghcr.io **.gcr.io **.pkg.dev **.k8s.io
            **.quay.io **.dhi.io public.ecr.aws **.mcr.microsoft.com
        """,
    ),
    Group(
        id="editors-and-schemas",
        why="editor servers and extensions, and the schemas that editors and agents check against",
        hosts="""
            **.vscode.dev **.code.visualstudio.com
            marketplace.visualstudio.com **.gallery.vsassets.io **.gallerycdn.vsassets.io
            vscode.download.prss.microsoft.com **.open-vsx.org
            json-schema.org **.schemastore.org
        """,
    ),
    Group(
        id="certificates",
        why="is a certificate still good: revocation lists, OCSP and issuers, plain HTTP by design",
        hosts="""
            **.lencr.org **.pki.goog **.amazontrust.com **.digicert.com **.sectigo.com
            **.usertrust.com **.comodoca.com **.globalsign.com **.globalsign.net
            **.identrust.com **.entrust.net **.ssl.com **.pki.microsoft.com
            **.rekor.sigstore.dev tuf-repo-cdn.sigstore.dev fulcio.sigstore.dev
        """,
        ports=_BOTH,
    ),
)
