# SPDX-License-Identifier: Apache-2.0
"""The verbs: create, start, stop, remove, status, prune."""
