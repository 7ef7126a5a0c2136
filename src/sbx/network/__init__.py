# SPDX-License-Identifier: Apache-2.0
"""A sandbox's network on the host."""
