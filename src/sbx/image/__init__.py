# SPDX-License-Identifier: Apache-2.0
"""The parts a machine is made of: built from signed Debian packages, cached, checked."""
