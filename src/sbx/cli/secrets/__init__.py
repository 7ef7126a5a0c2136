# SPDX-License-Identifier: Apache-2.0
"""What `sbx secret` does, verb by verb."""
