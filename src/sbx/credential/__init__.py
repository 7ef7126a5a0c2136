# SPDX-License-Identifier: Apache-2.0
"""Credentials without input or output: what is bound where, put in, and taken out again."""
