# SPDX-License-Identifier: Apache-2.0
"""The guest protocol as values: frames, messages and proofs. No input or output here."""
