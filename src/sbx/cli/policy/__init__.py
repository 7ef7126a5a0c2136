# SPDX-License-Identifier: Apache-2.0
"""The verbs of `sbx policy`, and the choice of a posture that other commands ask for too."""
