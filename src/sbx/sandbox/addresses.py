# SPDX-License-Identifier: Apache-2.0
"""The addresses of a sandbox's two links, identical in all sandboxes.

Each sandbox has a network namespace of its own on the host, so they never meet. The sandbox link
is what the agent sees; the management link stays in the guest root, out of the sandbox's sight.
"""

from __future__ import annotations

PREFIX_LENGTH = 24

GATEWAY = "192.168.127.1"
GATEWAY_NAME = "gateway.docker.internal"
HOST_NAME = "host.docker.internal"
GATEWAY_MAC = "52:54:00:73:62:f2"
SANDBOX = "192.168.127.2"
SANDBOX_MAC = "52:54:00:73:62:02"
SANDBOX_TAP = "sbx0"

MANAGEMENT_GATEWAY = "192.168.126.1"
MANAGEMENT_GATEWAY_MAC = "52:54:00:73:62:f1"
MANAGEMENT = "192.168.126.2"
MANAGEMENT_MAC = "52:54:00:73:62:01"
MANAGEMENT_TAP = "mgmt0"

DNS_PORT = 53  # udp and tcp, on GATEWAY
PROXY_PORT = 3128  # tcp, on GATEWAY: the explicit proxy
TRANSPARENT_PORT = 3129  # tcp, on GATEWAY: takes what the rules redirect

AGENT_PORT = 7070  # tcp, on MANAGEMENT: the guest agent's sessions
