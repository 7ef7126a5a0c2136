# SPDX-License-Identifier: Apache-2.0
"""What is read of TLS without taking part in it."""
