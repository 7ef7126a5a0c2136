# SPDX-License-Identifier: Apache-2.0
"""DNS without input or output: the messages, the stand-in addresses, and what is answered."""
