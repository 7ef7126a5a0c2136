# SPDX-License-Identifier: Apache-2.0
"""The conversation between a command line and a supervisor."""
