# SPDX-License-Identifier: Apache-2.0
"""What may go out: names and addresses, rules, and decisions. Pure: facts in, verdicts out."""
