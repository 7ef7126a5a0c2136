# SPDX-License-Identifier: Apache-2.0
"""Which names of a share a guest may make, change or see, decided at each call of its server."""
