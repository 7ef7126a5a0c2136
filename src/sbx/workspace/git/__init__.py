# SPDX-License-Identifier: Apache-2.0
"""Git on the host's side: branches and clones for sandboxes, and the way back."""
