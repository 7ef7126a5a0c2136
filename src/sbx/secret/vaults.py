# SPDX-License-Identifier: Apache-2.0
"""Where values are kept: the desktop's keychain (Secret Service), else a file only we may read.

The keychain is asked through `keyring`. Its backend is named and not searched for: the search loads
every plugin that is installed, and could choose one that keeps plain text.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, cast

from sbx.credential.values import Value
from sbx.errors import HostError, PermanentError, TransientError
from sbx.secret.entries import VaultKind
from sbx.store.paths import Paths
from sbx.system import codec
from sbx.system.files import read_bounded, write_atomic
from sbx.system.session_bus import session_bus

VALUES = "secret-values.json"
NO_KEYCHAIN = "no keychain was found: secrets are kept in a file that only its permissions protect"
_LIMIT_BYTES = 8 << 20


class Vault(Protocol):
    """Keeps values under ids."""

    kind: VaultKind

    def get(self, key: str) -> Value | None: ...
    def set(self, key: str, value: Value) -> None: ...
    def delete(self, key: str) -> None: ...


class FileVault:
    """One file of mode 0600 in a folder of mode 0700. The caller holds the lock for changes."""

    kind = VaultKind.FILE

    def __init__(self, where: Paths) -> None:
        self._path = where.config / VALUES

    def get(self, key: str) -> Value | None:
        found = self._read().get(key)
        return None if found is None else Value(found)

    def set(self, key: str, value: Value) -> None:
        self._write({**self._read(), key: value.reveal()})

    def delete(self, key: str) -> None:
        values = self._read()
        if values.pop(key, None) is not None:
            self._write(values)

    def _read(self) -> dict[str, str]:
        try:
            if self._path.stat().st_mode & 0o077:
                raise PermanentError(
                    f"other users may read your secrets: `{self._path}`",
                    hint=f"Run: chmod 600 {self._path}, and change the credentials in it",
                )
            return codec.loads(dict[str, str], read_bounded(self._path, limit_bytes=_LIMIT_BYTES))
        except FileNotFoundError:
            return {}
        except (OSError, HostError, codec.CodecError) as error:
            # Without the cause: its text could quote the file.
            raise PermanentError(
                f"cannot read the values of secrets: `{self._path}`",
                hint="Set them again after: sbx secret rm --all -f",
            ) from (error if isinstance(error, OSError) else None)

    def _write(self, values: dict[str, str]) -> None:
        if values:
            write_atomic(self._path, codec.dumps(values))
        else:
            self._path.unlink(missing_ok=True)


class _Ring(Protocol):
    """What we use of a backend of `keyring`."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...
    def delete_password(self, service: str, username: str) -> None: ...


class Keychain:
    """The Secret Service of the user's session (freedesktop.org), in its default collection."""

    kind = VaultKind.KEYCHAIN

    def __init__(self, ring: _Ring, service: str) -> None:
        self._ring = ring
        self._service = service

    def get(self, key: str) -> Value | None:
        try:
            found = self._ring.get_password(self._service, key)
        except Exception as error:
            raise _refused(error) from error
        return None if found is None else Value(found)

    def set(self, key: str, value: Value) -> None:
        try:
            self._ring.set_password(self._service, key, value.reveal())
        except Exception as error:
            raise _refused(error) from error

    def delete(self, key: str) -> None:
        from keyring.errors import PasswordDeleteError  # noqa: PLC0415 - heavy

        try:
            self._ring.delete_password(self._service, key)
        except PasswordDeleteError:
            return  # it is not there
        except Exception as error:
            raise _refused(error) from error


def find_keychain(where: Paths) -> Keychain | None:
    """The keychain, if there is one; nothing is unlocked by looking."""
    address = session_bus()
    if address is None:
        return None
    os.environ["DBUS_SESSION_BUS_ADDRESS"] = address  # where the client looks
    from keyring.backends.SecretService import Keyring  # noqa: PLC0415 - heavy

    try:
        _ = Keyring.priority  # asks whether there is a service
    except RuntimeError:
        return None
    ring = cast("Callable[[], _Ring]", Keyring)()
    return Keychain(ring, where.config.name)


def open_vault(where: Paths, kind: VaultKind) -> Vault:
    """The vault that holds a value.

    Raises:
        TransientError: the keychain is not there.
    """
    if kind is VaultKind.FILE:
        return FileVault(where)
    found = find_keychain(where)
    if found is None:
        raise TransientError(
            "the keychain that holds the secret is not there now",
            hint="Start your desktop session, or set the secret again",
        )
    return found


def best_vault(where: Paths) -> Vault:
    """Where new values go."""
    return find_keychain(where) or FileVault(where)


def _refused(error: Exception) -> TransientError:
    return TransientError(
        f"the keychain does not answer: {type(error).__name__}", hint="Unlock it, then try again"
    )
