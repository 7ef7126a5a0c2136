# SPDX-License-Identifier: Apache-2.0
"""One module per command, imported when that command is used; each holds `command`."""
