# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 without input or output: heads of requests, and what is sent on."""
