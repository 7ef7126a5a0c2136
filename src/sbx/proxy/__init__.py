# SPDX-License-Identifier: Apache-2.0
"""The way out of a sandbox: DNS with stand-in addresses, the explicit and the transparent proxy."""
