# SPDX-License-Identifier: Apache-2.0
"""The host's side of the guest protocol: everything that comes from the guest is hostile input."""
