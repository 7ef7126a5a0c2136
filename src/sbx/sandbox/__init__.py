# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is, as plain data: specification, record, status, names."""
