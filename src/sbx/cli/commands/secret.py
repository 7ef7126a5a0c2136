# SPDX-License-Identifier: Apache-2.0
"""`sbx secret`: keys that sandboxes work with and never hold."""

from __future__ import annotations

import click

from sbx.cli.group import Group
from sbx.cli.secrets import custom, importing, listing, removal, set_

_EXAMPLES = """
# Asks for the key
sbx secret set anthropic

# From a password manager, or from a variable
op read op://dev/openai/key | sbx secret set openai
sbx secret set github --command 'gh auth token'

# A key of any other service
sbx secret set-custom --host api.example.com --env EXAMPLE_KEY --command 'pass example'

sbx secret ls
"""


@click.group("secret", cls=Group, examples=_EXAMPLES)
def command() -> None:
    """Manage credentials that sandboxes use and never see.

    Values are kept in the keychain of your session, or in a file that only you can read. On the
    way out the proxy puts them into requests to the hosts they are for, and nowhere else.
    """


for verb in (set_, custom, listing, removal, importing):
    command.add_command(verb.command)
