# SPDX-License-Identifier: Apache-2.0
"""Kits: a `spec.yaml` with its files, read strictly, composed, packed, fetched and locked."""
