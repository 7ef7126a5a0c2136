# SPDX-License-Identifier: Apache-2.0
"""Every way out of the command line: the sentence, the stream it is on, the status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sbx.cli.exit_status import ExitStatus
from sbx.kit.builtin import NAMES
from tests.kit.installation import ROOT
from tests.unit.cli.conftest import Call, MakeSandbox

AGENTS = ", ".join(NAMES)


def test_without_arguments_the_help_is_shown(sbx: Call) -> None:
    done = sbx()
    assert done.status == 0
    assert done.out.startswith("Run coding agents in sandboxes")
    assert done.err == ""


@pytest.mark.parametrize(
    ("args", "message", "hint"),
    [
        (["inspekt"], 'unknown command "inspekt" for "sbx"', "Did you mean: sbx inspect"),
        (["settings", "gte"], 'unknown command "gte" for "sbx settings"', "Did you mean"),
        (["zzz"], 'unknown command "zzz"', "Run: sbx --help"),
        (["ls", "--jsn"], "unknown flag: --jsn", "Did you mean: --json"),
        (["exec"], "missing SANDBOX", "Run: sbx exec --help"),
        (["exec", "x"], "missing COMMAND", "Run: sbx exec --help"),
        (["create", "shell", "-e"], "option '-e' requires an argument", "Run: sbx create --help"),
        (["inspect"], "missing SANDBOX", "Run: sbx inspect --help"),
        (["ls", "a"], "got unexpected extra argument", "Run: sbx ls --help"),
        (["ls", "--format", "xml"], "invalid value for '--format'", "Run: sbx ls --help"),
        (["ls", "--json", "-q"], "--json and --quiet cannot be used together", "--help"),
        (["ls", "--json", "--format", "table"], "cannot be used together", "--help"),
        (["attach", "x"], "`sbx attach` is not supported: sbx has no cloud", "Run: sbx --help"),
        (["volume", "ls"], "`sbx volume` is not supported", "Run: sbx --help"),
        (["--cloud", "ls"], "`--cloud` is not supported", "on this machine"),
        (["ls", "--cloud"], "`--cloud` is not supported", "on this machine"),
        (["create", "shell", "--ttl", "1h"], "`--ttl` is not supported", "on this machine"),
        (["run", "shell", "-v", "x:y"], "`-v` is not supported", "on this machine"),
        (["--app-name", "A B", "ls"], "invalid --app-name", "Use 1 to 32"),
        (["inspect", "nosuch"], 'sandbox not found: "nosuch"', "Run: sbx ls"),
        (["inspect", "../../etc"], 'sandbox not found: "../../etc"', "Run: sbx ls"),
        (["exec", "nosuch", "true"], 'sandbox not found: "nosuch"', "Run: sbx ls"),
        (["stop", "nosuch"], 'sandbox not found: "nosuch"', "Run: sbx ls"),
        (["rm", "nosuch"], 'sandbox not found: "nosuch"', "Run: sbx ls"),
        (["rm"], "name at least one sandbox", "Run: sbx rm --help"),
        (["rm", "--all", "x"], "name at least one sandbox", "Run: sbx rm --help"),
        (["run"], f"no agent named (available agents: {AGENTS})", "Run: sbx run shell ."),
        (["run", "--name", "nosuch"], 'sandbox not found: "nosuch"', "sbx run --name nosuch shell"),
        (["run", "clod"], f'agent "clod" not found (available agents: {AGENTS})', ""),
        (["run", "."], 'agent "." not found', "sbx run shell ."),
        (["run", "shell", "-d", "--rm"], "cannot be used together", "Run: sbx run --help"),
        (["run", "shell", "--json"], "--json and --format need --detach", "Run: sbx run --help"),
        (["create", "shell", "--name", "a_b"], 'invalid sandbox name: "a_b"', "Use 2 to 63"),
        (["create", "shell", "--cpus", "-1"], "invalid value for '--cpus'", "--help"),
        (["create", "shell", "--env", "=x"], "not a variable in --env", "Use KEY=VALUE"),
        (["create", "shell", "--env-file", "/nosuch"], "cannot read env file `/nosuch`", ""),
        (["exec", "-d", "x", "ls"], "`exec --detach` is not supported", "sh -c"),
        (["cp", "a", "b"], "neither side names a sandbox", "Use SANDBOX:/path"),
        (["cp", "a:/x", "b:/y"], "copying between sandboxes is not supported", "sbx cp --help"),
        (["cp", "a:x", "y"], "path in a sandbox must be absolute", "./a:x"),
        (["settings", "get", "nosuch"], 'unknown setting: "nosuch"', "Run: sbx settings ls"),
        (["prune", "--filter", "x=1"], 'invalid filter: "x=1"', "until=24h"),
        (["prune", "--filter", "until=soon"], 'invalid time in filter: "soon"', "RFC 3339"),
        (["completion", "tcsh"], "invalid value for", "Run: sbx completion --help"),
    ],
)
def test_wrong_calls_say_what_and_what_now(
    sbx: Call, args: list[str], message: str, hint: str
) -> None:
    done = sbx(*args)
    assert done.status == ExitStatus.FAILURE
    first, *rest = done.err.splitlines()
    assert first.startswith("ERROR: ")
    assert message in first
    assert not first.endswith(".") or first.endswith("shell .")
    assert hint in "\n".join(rest)
    assert "--json" in args or done.out == ""


@pytest.mark.parametrize(
    ("args", "kind"),
    [
        (["inspect", "nosuch", "--json"], "not_found"),
        (["ls", "--json", "--nosuch"], "user"),
        (["create", "--json", "shell", "-e"], "user"),
        (["--app-name", "A B", "ls", "--json"], "user"),
        (["ls", "--json", "--format=yaml"], "user"),
        (["create", "nosuch", "--json"], "not_found"),
        (["create", "shell", "/nosuch/folder", "--format", "json"], "user"),
        (["settings", "get", "nosuch", "--json"], "not_found"),
        (["prune", "--json", "--filter", "x"], "user"),
        (["cp", "--json", "a", "b"], "user"),
        (["reset", "--json"], "user"),
    ],
)
def test_json_stays_valid_on_failure(sbx: Call, args: list[str], kind: str) -> None:
    done = sbx(*args)
    assert done.status == ExitStatus.FAILURE
    document = done.json()
    assert isinstance(document, dict)
    assert document["error"]["kind"] == kind
    assert f"ERROR: {document['error']['message']}" in done.err


@pytest.mark.parametrize("verb", ["rm", "stop"])
def test_verbs_on_several_report_failures_as_actions(sbx: Call, verb: str) -> None:
    done = sbx(verb, "nosuch", "other", "nosuch", "--json")
    assert done.status == ExitStatus.FAILURE
    assert done.json() == [
        {
            "action": "failed",
            "resource": "sandbox",
            "name": name,
            "error": f'sandbox not found: "{name}"',
        }
        for name in ("nosuch", "other")
    ]


def test_a_missing_word_is_named_without_brackets(sbx: Call) -> None:
    assert sbx("exec", "x").err.splitlines()[0] == "ERROR: missing COMMAND"


def test_yaml_stays_valid_on_failure(sbx: Call) -> None:
    import yaml

    done = sbx("inspect", "nosuch", "--format", "yaml")
    assert yaml.safe_load(done.out)["error"]["message"] == 'sandbox not found: "nosuch"'


def test_a_damaged_settings_file_stops_what_needs_it_and_keeps_json_valid(
    sbx: Call, make_sandbox: MakeSandbox, tmp_path: Path
) -> None:
    make_sandbox("one")
    (tmp_path / "config/opensbx/settings.json").write_text("{")
    for args in (["ls", "--json"], ["rm", "one", "--json"], ["settings", "ls", "--json"]):
        done = sbx(*args)
        assert done.status == ExitStatus.FAILURE, args
        document = done.json()
        assert isinstance(document, dict)
        assert "cannot read settings file" in document["error"]["message"]
    assert sbx("ls", "-q").out == "one\n"


def test_hostile_words_are_escaped_in_errors(sbx: Call) -> None:
    done = sbx("inspect", "x\x1b]0;owned\x07\u202e")
    assert done.err.startswith('ERROR: sandbox not found: "x\\x1b]0;owned\\x07\\u202e"')
    assert "\x1b" not in sbx("ls\x1b[2J").err


def test_a_defect_of_ours_is_one_sentence_and_the_traceback_is_kept(
    sbx: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_where: object) -> None:
        raise ZeroDivisionError("three")

    monkeypatch.setattr("sbx.lifecycle.status.survey", broken)
    done = sbx("ls", "--json")
    kept = tmp_path / "state/opensbx/last-crash.txt"
    assert done.status == ExitStatus.FAILURE
    assert done.err == (
        f"ERROR: sbx failed unexpectedly: ZeroDivisionError: three\n  The traceback is in {kept}\n"
    )
    assert "ZeroDivisionError" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert isinstance(done.json(), dict)
    assert "Traceback" in sbx("ls", "--debug").err


def test_a_refusal_by_the_host_names_the_file(sbx: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_where: object) -> None:
        raise OSError(28, "No space left on device", "/some/file")

    monkeypatch.setattr("sbx.lifecycle.status.survey", full)
    done = sbx("ls")
    assert done.status == ExitStatus.FAILURE
    assert done.err.startswith("ERROR: the host refused: `/some/file`: No space left on device\n")


def test_an_interrupt_is_130(sbx: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_where: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sbx.lifecycle.status.survey", interrupted)
    done = sbx("ls", "--json")
    assert done.status == ExitStatus.INTERRUPTED
    assert "Traceback" not in done.err


def run_sbx(
    *args: str, tmp_path: Path, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    return subprocess.run(
        [sys.executable, "-m", "sbx", *args], env=env, stdout=stdout, stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip


def test_a_reader_that_went_away_is_quiet(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = run_sbx("--help", tmp_path=tmp_path, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (ExitStatus.BROKEN_PIPE, b"")


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_closed_standard_streams_are_no_error(tmp_path: Path, closed: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    command = f'exec "$0" -m sbx ls {closed}'
    done = subprocess.run(["sh", "-c", command, sys.executable], env=env, check=False)
    assert done.returncode == 0


def test_sigterm_ends_with_143(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "import sbx.lifecycle.status as status\n"
        "status.survey = lambda where: os.kill(os.getpid(), signal.SIGTERM)\n"
        "from sbx.cli.main import main\n"
        "sys.exit(main(['ls']))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (ExitStatus.TERMINATED, b"")


@pytest.mark.parametrize("args", [["--help"], ["version"], ["ls"], ["ls", "--json"]])
def test_a_short_way_imports_little(tmp_path: Path, args: list[str]) -> None:
    """These are called by prompts and scripts all the time: what is slow to import stays out."""
    code = (
        "import sys\n"
        "from sbx.cli.main import main\n"
        f"status = main({args!r})\n"
        "heavy = {'asyncio', 'subprocess', 'ssl', 'rich', 'yaml', 'pydantic', 'hypothesis'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & sys.modules.keys())))\n"
        "sys.exit(status)\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False)
    assert done.returncode == 0
    assert (
        done.stderr.decode().replace(
            "To launch one in the current folder, run: sbx run shell .\n", ""
        )
        == ""
    )


def test_json_on_standard_output_is_ascii(
    sbx: Call, make_sandbox: MakeSandbox, tmp_path: Path
) -> None:
    folder = tmp_path / "ünï\x1b[31m"
    folder.mkdir()
    make_sandbox("one", workspace=folder)
    text = sbx("ls", "--json").out
    assert text.isascii()
    assert json.loads(text)[0]["workspaces"] == [str(folder)]
    assert "\x1b" not in sbx("ls").out
    assert "\x1b" not in sbx("inspect", "one").out
