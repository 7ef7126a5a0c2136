# SPDX-License-Identifier: Apache-2.0
"""The host's authorities in the sandbox's lists of trusted ones, so that its programs accept them.

Runs inside the sandbox's root, before anything else runs there. Distributions keep one file with
all authorities, in different places; programs with lists of their own are told by variables.
"""

from __future__ import annotations

import os

from .files import make_folders, replace_file

BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # Debian, Alpine, Arch; the variables name it
_OTHERS = (
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",
)
_OWN = "/usr/local/share/ca-certificates"  # what update-ca-certificates(8) adds to the bundle
_BEGIN, _END = "# opensbx begin\n", "# opensbx end\n"
_LIMIT_BYTES = 4 << 20
_LAST = "-----END CERTIFICATE-----"


def write_trust(pem: str) -> None:
    """Add authorities in place of those that an earlier start added."""
    block = _BEGIN + pem.rstrip("\n") + "\n" + _END
    bundles = [path for path in (BUNDLE, *_OTHERS) if _is_file(path)]
    found = {path: _read(path) for path in bundles}
    if BUNDLE not in found:
        make_folders(os.path.dirname(BUNDLE))
        found[BUNDLE] = next((text for text in found.values() if text is not None), "")
    for path, text in found.items():
        if text is None:
            continue  # too large to be a list of authorities: left as it is
        wanted = _without_block(text) + block
        if path not in bundles or wanted != text:
            replace_file(path, wanted)
    if os.path.isdir(_OWN):
        _write_own(pem)


def _write_own(pem: str) -> None:
    """One file for each, as update-ca-certificates(8) wants it; the first is ours.

    The links are those that it makes: Debian's Java, when it is installed, takes over all of them.
    """
    each = [part.strip("\n") + f"\n{_LAST}\n" for part in pem.split(_LAST) if part.strip()]
    wanted = {f"opensbx{f'-host-{n}' if n else ''}.crt": text for n, text in enumerate(each)}
    for name, text in wanted.items():
        replace_file(f"{_OWN}/{name}", text)
        if not os.path.lexists(_link(name)):
            os.symlink(f"{_OWN}/{name}", _link(name))
    for name in os.listdir(_OWN):
        if name.startswith("opensbx-host-") and name not in wanted:
            os.unlink(f"{_OWN}/{name}")
            if os.path.islink(_link(name)):
                os.unlink(_link(name))


def _link(name: str) -> str:
    return f"{os.path.dirname(BUNDLE)}/{name.removesuffix('.crt')}.pem"


def _is_file(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)


def _read(path: str) -> str | None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = b""
        while len(found) <= _LIMIT_BYTES and (piece := os.read(fd, _LIMIT_BYTES)):
            found += piece
    finally:
        os.close(fd)
    return found.decode("utf-8", "surrogateescape") if len(found) <= _LIMIT_BYTES else None


def _without_block(text: str) -> str:
    before, begin, rest = text.partition(_BEGIN)
    if not begin:
        return text if not text or text.endswith("\n") else text + "\n"
    _, end, after = rest.partition(_END)
    return before + (after if end else "")
