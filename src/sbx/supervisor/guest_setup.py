# SPDX-License-Identifier: Apache-2.0
"""What the guest agent is told: who this machine is, and what the sandbox in it consists of."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from sbx.agent.control import Assembly, Identity, MountSetup
from sbx.lifecycle.identity import make_identity
from sbx.sandbox import addresses
from sbx.sandbox.spec import Mount, SandboxSpec
from sbx.supervisor.credentials import Inside

SHARE_TAG = "share"
DATA_SERIAL = "data"


_PROXY = f"http://{addresses.GATEWAY_NAME}:{addresses.PROXY_PORT}"
_DIRECT = f"localhost,127.0.0.1,::1,{addresses.GATEWAY_NAME}"
# Programs differ in the case that they look for. Without these the transparent way serves as well.
_PROXY_VARIABLES = {
    "HTTP_PROXY": _PROXY,
    "HTTPS_PROXY": _PROXY,
    "http_proxy": _PROXY,
    "https_proxy": _PROXY,
    "NO_PROXY": _DIRECT,
    "no_proxy": _DIRECT,
    "NODE_USE_ENV_PROXY": "1",  # Node.js 24 looks at them only then
}


def layer_serial(number: int) -> str:
    """The virtio-blk serial of a template's layer, counted from the lowest."""
    return f"layer{number}"


def identity(spec: SandboxSpec, session_key: bytes) -> Identity:
    """What makes a machine this sandbox's, and no twin of another one (docs/security.md, I13)."""
    machine_id = uuid.UUID(spec.id).hex  # machine-id(5): the same at every start
    return make_identity(hostname=spec.name, machine_id=machine_id, session_key=session_key)


def assembly(
    spec: SandboxSpec,
    mounts: Sequence[Mount],
    inside: Inside,
    *,
    data_is_new: bool,
    memory_growth_bytes: int,
    memory_awaited_bytes: int,
) -> Assembly:
    """What the sandbox consists of."""
    return Assembly(
        layers=tuple(layer_serial(number) for number in range(len(spec.layers))),
        data=DATA_SERIAL,
        data_is_new=data_is_new,
        share=SHARE_TAG if mounts else None,
        mounts=tuple(
            MountSetup(
                index=index,
                target=str(mount.target),
                read_only=mount.read_only,
                is_file=mount.is_file,
            )
            for index, mount in enumerate(mounts)
        ),
        user=spec.user,
        workdir=spec.workdir,
        env=_environment(spec, inside),
        trust=inside.trust,
        memory_growth_bytes=memory_growth_bytes,
        memory_awaited_bytes=memory_awaited_bytes,
    )


def _git_settings(spec: SandboxSpec) -> dict[str, str]:
    """For a repository that host and sandbox both use, see git(1) on GIT_CONFIG_COUNT.

    Its index holds owners and change times, which differ inside: git would read every file again
    each time the other side has written the index. Sizes and times of the contents are the same.
    Branch and clone mode have these in a configuration of their own.
    """
    if spec.git is not None or not spec.mounts:
        return {}
    settings = {"core.checkStat": "minimal", "core.trustCtime": "false"}
    found = {"GIT_CONFIG_COUNT": str(len(settings))}
    for number, (key, value) in enumerate(settings.items()):
        found |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return found


def _environment(spec: SandboxSpec, inside: Inside) -> dict[str, str]:
    """What every command in the sandbox finds; a variable that the user set beats a placeholder."""
    return {
        **inside.environment,
        **_git_settings(spec),
        **spec.env,
        **_PROXY_VARIABLES,
        "SANDBOX_ID": spec.id,
        "SANDBOX_NAME": spec.name,
        "SANDBOX_VM_ID": spec.id,
        "WORKSPACE_DIR": spec.workdir,
    }
