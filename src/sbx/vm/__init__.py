# SPDX-License-Identifier: Apache-2.0
"""The virtual machine: its size, devices, start, hot-plug, events and end. Knows no sandbox."""
