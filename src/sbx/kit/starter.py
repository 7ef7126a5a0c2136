# SPDX-License-Identifier: Apache-2.0
"""The spec.yaml that `kit init` writes: short, valid, with the keys that most kits need."""

from __future__ import annotations

from sbx.kit.model import Kind

_HEAD = """\
# yaml-language-server: $schema=./spec.schema.json
# The schema for the editor: sbx kit schema > spec.schema.json
schemaVersion: "2"
kind: {kind}
name: {name}
description: What it is, in a sentence
"""
_SANDBOX = """
# It builds on another agent; `sandbox.image` and `sandbox.entrypoint` make one of your own.
extends: shell
"""
_MIXIN = """
# With this, the kit is for one agent only:
# requires:
#   agent: claude
"""
_TAIL = """
permissions:
  network:
    allow:
      - example.com       # port 443
      # - example.com:80

environment:
  variables:
    GREETING: hello

setup:
  install:                # once, as root, with `sh -c`
    - command: echo "installed" > /etc/{name}
      description: What this step is for
  # files:                # written into the sandbox; files/home and files/workspace are copied
  #   - path: /home/agent/.config/{name}.conf
  #     content: |
  #       workspace = ${{WORKDIR}}
"""


def starter(kind: Kind, name: str) -> str:
    """The text for a new kit."""
    middle = _SANDBOX if kind is Kind.SANDBOX else _MIXIN
    return _HEAD.format(kind=kind.value, name=name) + middle + _TAIL.format(name=name)
