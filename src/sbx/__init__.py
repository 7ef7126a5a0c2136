# SPDX-License-Identifier: Apache-2.0
"""opensbx: microVM sandboxes for AI coding agents."""

__version__ = "0.60.0"
