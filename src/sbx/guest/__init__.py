# SPDX-License-Identifier: Apache-2.0
"""The guest agent: runs inside the machine, imports nothing of the rest."""
