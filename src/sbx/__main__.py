# SPDX-License-Identifier: Apache-2.0
"""`python -m sbx` is `sbx`."""

from __future__ import annotations

import sys

from sbx.cli.main import main

sys.exit(main())
