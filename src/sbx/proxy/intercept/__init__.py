# SPDX-License-Identifier: Apache-2.0
"""TLS that ends here: requests are read, decided one by one, and given their credentials."""
