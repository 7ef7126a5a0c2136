# SPDX-License-Identifier: Apache-2.0
"""The services that are known by name: hosts, headers and variables, as data.

Hosts and variables are those of docs/credentials.md; `source` is where the header is described.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sbx.credential.places import Place, Style
from sbx.errors import UserError
from sbx.system.text import printable

# The value of the variables inside. It says that a credential exists, and stands for none.
PROXY_MANAGED = "proxy-managed"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One service."""

    name: str
    variables: tuple[str, ...]  # of the sandbox, set to `PROXY_MANAGED`
    places: tuple[Place, ...]
    source: str  # a document of the service


def _bearer(*hosts: str) -> Place:
    return Place(hosts=hosts)


def _key(header: str, *hosts: str) -> Place:
    return Place(hosts=hosts, header=header, format="%s")


SERVICES: tuple[Service, ...] = (
    Service(
        name="anthropic",
        variables=("ANTHROPIC_API_KEY",),
        places=(
            _key(
                "x-api-key",
                "api.anthropic.com", "console.anthropic.com", "claude.ai",
                "mcp-proxy.anthropic.com",
            ),
        ),
        source="Anthropic API overview: authentication by the header x-api-key",
    ),
    Service(
        name="cursor",
        variables=("CURSOR_API_KEY",),
        places=(_bearer("api2.cursor.sh", "api3.cursor.sh", "repo42.cursor.sh", "cursor.com"),),
        source="Cursor CLI: authentication by CURSOR_API_KEY",
    ),
    Service(
        name="devin",
        variables=("DEVIN_API_KEY",),
        places=(_bearer("api.devin.ai"),),
        source="Devin API: authentication by bearer token",
    ),
    Service(
        name="droid",
        variables=("FACTORY_API_KEY",),
        places=(_bearer("api.factory.ai", "app.factory.ai", "relay.factory.ai"),),
        source="Factory CLI: authentication by FACTORY_API_KEY",
    ),
    Service(
        name="github",
        variables=("GH_TOKEN", "GITHUB_TOKEN"),
        places=(
            _bearer(
                "api.github.com", "raw.githubusercontent.com", "copilot.github.com",
                "api.githubcopilot.com", "api.individual.githubcopilot.com",
                "api.business.githubcopilot.com", "api.enterprise.githubcopilot.com",
            ),
            # Git over https takes a token as the password of any user name.
            Place(
                hosts=("github.com", "gist.github.com"),
                style=Style.BASIC,
                username="x-access-token",
            ),
        ),
        source="GitHub REST API: authenticating; cloning with an installation's access token",
    ),
    Service(
        name="google",
        variables=("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        places=(
            _key(
                "x-goog-api-key",
                "generativelanguage.googleapis.com", "aiplatform.googleapis.com",
                "vertexai.googleapis.com",
            ),
        ),
        source="Google Cloud: API keys, header x-goog-api-key",
    ),
    Service(
        name="groq",
        variables=("GROQ_API_KEY",),
        places=(_bearer("api.groq.com"),),
        source="Groq API reference",
    ),
    Service(
        name="mistral",
        variables=("MISTRAL_API_KEY",),
        places=(_bearer("api.mistral.ai"),),
        source="Mistral AI API: authentication",
    ),
    Service(
        name="nebius",
        variables=("NEBIUS_API_KEY",),
        places=(_bearer("api.studio.nebius.com", "api.tokenfactory.nebius.com"),),
        source="Nebius Token Factory API: authentication",
    ),
    Service(
        name="openai",
        variables=("OPENAI_API_KEY",),
        places=(_bearer("api.openai.com", "openai.com", "chatgpt.com", "www.chatgpt.com"),),
        source="OpenAI API reference: authentication",
    ),
    Service(
        name="openrouter",
        variables=("OPENROUTER_API_KEY",),
        places=(_bearer("openrouter.ai"),),
        source="OpenRouter: API authentication",
    ),
    Service(
        name="xai",
        variables=("XAI_API_KEY",),
        places=(_bearer("api.x.ai"),),
        source="xAI REST API: authentication",
    ),
)  # fmt: skip

BY_NAME = {service.name: service for service in SERVICES}
# The variables of the host whose values `sbx secret import` takes: those that are set inside.
HOST_VARIABLES = {service.name: service.variables for service in SERVICES}


def check_service_name(text: str) -> str:
    """The name of a service; a kit may have others than those in the catalogue.

    Raises:
        UserError: it is no name.
    """
    name = text.strip().lower()
    if not _NAME.fullmatch(name):
        raise UserError(
            f'not the name of a service: "{printable(text[:80])}"',
            hint=f"Known are: {', '.join(BY_NAME)}",
        )
    return name
