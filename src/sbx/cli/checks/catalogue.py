# SPDX-License-Identifier: Apache-2.0
"""All checks of `sbx diagnose`, in the order in which they are shown."""

from __future__ import annotations

from sbx.cli.checks import host, product
from sbx.cli.checks.model import Check

ALL: tuple[Check, ...] = (
    Check(name="Python", section="Installation", find=host.check_python),
    Check(name="Environment", section="Installation", find=host.check_environment),
    Check(name="Packages", section="Installation", find=host.check_packages),
    Check(name="Jail", section="Installation", find=host.check_jail),
    Check(name="Authentication", section="Installation", find=product.check_authentication),
    # The probe boots a kernel the first time, and is itself bounded to 10 s.
    Check(name="KVM", section="Virtualisation", find=product.check_accel, timeout_s=15),
    Check(name="Cgroups", section="Virtualisation", find=host.check_cgroups),
    Check(name="User namespaces", section="Network", find=host.check_namespaces),
    Check(name="TUN device", section="Network", find=host.check_tun),
    Check(name="Firewall", section="Network", find=host.check_firewall),
    Check(name="Open files", section="Storage", find=host.check_open_files),
    Check(name="Folders", section="Storage", find=product.check_folders),
    Check(name="Settings", section="Storage", find=product.check_settings),
    Check(name="Disk space", section="Storage", find=host.check_disk),
    Check(name="Runtime", section="Images", find=product.check_runtime),
    Check(name="Guest tools", section="Images", find=product.check_tools),
    Check(name="Template", section="Images", find=product.check_template),
    Check(name="Leftovers", section="Sandboxes", find=product.check_leftovers),
)
