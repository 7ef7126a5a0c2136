# SPDX-License-Identifier: Apache-2.0
"""The URLs of indexes and mirrors in the settings of pip, npm, apt, cargo and Go; pure.

Each reader takes the text of a file in its tool's format and is lenient as the tool is: what it
does not understand is not an index. Sources: pip.pypa.io "Configuration", docs.npmjs.com "npmrc",
sources.list(5), doc.rust-lang.org/cargo "Configuration", `go help environment`.
"""

from __future__ import annotations

import configparser
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import cast

_PIP_KEYS = ("index-url", "extra-index-url", "find-links")
_REGISTRY = re.compile(r"\s*(?:@[^:\s]+:)?registry\s*=\s*(\S+)\s*")
_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_DEB = re.compile(r"\s*deb(?:-src)?\s+(?:\[[^\]]*\]\s*)?(\S+)\s")
_OFF = ("direct", "off", "")


def pip_urls(text: str) -> list[str]:
    """Of a `pip.conf`.

    Raises:
        ValueError: it cannot be read as one.
    """
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise ValueError(str(error).splitlines()[0]) from error
    return [
        word
        for section in parser.sections()
        for key, value in parser.items(section)
        if key.replace("_", "-").lstrip("-") in _PIP_KEYS
        for word in value.split()
    ]


def npm_urls(text: str, environment: Mapping[str, str]) -> list[str]:
    """Of an `.npmrc`: the registry, and those of scopes."""
    found = (_REGISTRY.fullmatch(line) for line in text.splitlines())
    return [
        _VARIABLE.sub(lambda m: environment.get(m[1], ""), match[1].strip("\"'"))
        for match in found
        if match
    ]


def apt_list_urls(text: str) -> list[str]:
    """Of a `sources.list` with one source a line."""
    found = (_DEB.match(line + " ") for line in text.splitlines())
    return [match[1] for match in found if match]


def apt_deb822_urls(text: str) -> list[str]:
    """Of a `.sources` file: paragraphs with fields."""
    urls: list[str] = []
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields = _fields(paragraph)
        if fields.get("enabled", "yes").strip().lower() not in ("no", "false", "0", "off"):
            urls += fields.get("uris", "").split()
    return urls


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in paragraph.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            fields[name] = f"{fields.get(name, '')} {line.strip()}"
            continue
        key, _, value = line.partition(":")
        name = key.strip().lower()
        fields[name] = value.strip()
    return fields


def cargo_urls(text: str) -> list[str]:
    """Of cargo's `config.toml`: registries, and sources that replace others.

    Raises:
        ValueError: it is not TOML.
    """
    data = tomllib.loads(text)
    tables = [
        *_tables(data.get("registries")),
        *_tables(data.get("source")),
        *_tables({"": data.get("registry")}),
    ]
    found = (table.get(key) for table in tables for key in ("index", "registry"))
    return [url for url in found if isinstance(url, str)]


def _tables(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, dict):
        for table in cast("dict[str, object]", value).values():
            if isinstance(table, dict):
                yield cast("dict[str, object]", table)


def go_env(text: str) -> dict[str, str]:
    """Of Go's `env` file: the variables that it sets."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.startswith("#"))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def go_urls(variables: Mapping[str, str]) -> list[str]:
    """Of `GOPROXY` and `GOSUMDB`."""
    proxies = re.split(r"[,|]", variables.get("GOPROXY", ""))
    sums = variables.get("GOSUMDB", "").split()
    urls = [word.strip() for word in proxies if word.strip() not in _OFF]
    if sums and sums[0] not in _OFF:
        # `name`, `name+key` or `name+key URL`; without a URL the name is the host
        urls.append(sums[1] if len(sums) > 1 else f"https://{sums[0].partition('+')[0]}")
    return urls
