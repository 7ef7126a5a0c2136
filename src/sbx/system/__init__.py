# SPDX-License-Identifier: Apache-2.0
"""What the operating system offers: processes, files, locks, descriptors."""
