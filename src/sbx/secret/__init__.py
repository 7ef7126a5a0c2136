# SPDX-License-Identifier: Apache-2.0
"""The user's secrets: where values are kept, what is known about them, and who gets which."""
