"""Completion scripts, in the real shells on a terminal; and the examples of every command."""

import fcntl
import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from processes import PATIENCE

from harness import commands
from harness.arguments import file_parser, parsers
from harness.commands import completion
from harness.errors import HarnessError
from harness.files.config import from_flags

ROOT = Path(__file__).parents[1]
SAY = "paxbank() { printf '<%s>' \"$@\"; printf 'that is all\\n'; }"
ALL = "\033*"  # bash inserts everything that can stand here


class Shell:
    """An interactive shell on a terminal of its own, in a folder with some files."""

    def __init__(self, name, folder, setup):
        for file in ("one.csv", "two words.yaml", "three.txt", "log.jsonl"):
            (folder / file).touch()
        (folder / "sub").mkdir()
        argv = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}[name]
        ours, theirs = pty.openpty()
        environment = {**os.environ, "TERM": "dumb", "PS1": "$ ", "HOME": str(folder)}
        # In a session of its own with this terminal: else it stops everybody who started it.
        self.process = subprocess.Popen(
            argv,
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        self.terminal = ours
        script = folder / f"completion.{name}"
        done = subprocess.run(
            [sys.executable, ROOT / "run.py", "completion", name], capture_output=True, check=True
        )
        script.write_bytes(done.stdout)
        self.run(f"{setup}; {SAY}; . {script}; echo re''ady", "ready")

    def run(self, keys, wanted):
        """Type a line; what the terminal shows up to `wanted`."""
        os.write(self.terminal, keys.encode() + b"\n")
        return self.read(wanted)

    def read(self, wanted):
        seen, deadline = "", time.monotonic() + PATIENCE
        while wanted not in seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.terminal], [], [], left)[0], seen
            seen += os.read(self.terminal, 65536).decode(errors="replace")
        return seen

    def words(self, keys):
        """The arguments that the completed line gives to the command."""
        seen = self.run(keys, "that is all\r")
        said = seen[: seen.rindex("that is all")].rpartition("\n")[2]
        return said[1:-1].split("><")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


@pytest.fixture
def bash(tmp_path):
    shell = Shell("bash", tmp_path, "bind 'set enable-bracketed-paste off'")
    yield shell
    shell.close()


@pytest.fixture
def zsh(tmp_path):
    if shutil.which("zsh") is None:
        pytest.skip("no zsh on this machine")
    shell = Shell("zsh", tmp_path, "autoload -Uz compinit; compinit -u -D; PS1='$ '; unsetopt beep")
    yield shell
    shell.close()


def test_bash_completes(bash):
    for keys, words in {
        "paxbank ben\t": ["bench"],
        "paxbank on\t": ["one.csv"],
        "paxbank tw\t": ["two words.yaml"],
        "paxbank th\t": ["th"],  # no test set
        "paxbank check lo\t": ["check", "log.jsonl"],
        "paxbank one.csv --fail\tcra\t": ["one.csv", "--failure", "crash"],
        "paxbank --failure=pa\t": ["--failure=pause"],
        f"paxbank --failure {ALL}": ["--failure", "crash", "disconnect", "pause"],
        f"paxbank bench --failure {ALL}": ["bench", "--failure", "crash", "disconnect"],
        "paxbank one.csv --data s\t": ["one.csv", "--data", "sub/"],
        "paxbank --config t\t": ["--config", "two words.yaml"],
        "paxbank torture --ki\t": ["torture", "--kills"],
        f"paxbank bench --form{ALL} j\t": ["bench", "--format", "json"],
        f"paxbank completion {ALL}": ["completion", "bash", "zsh"],
        "paxbank --seed o\t": ["--seed", "o"],  # nothing is known of it
    }.items():
        assert bash.words(keys) == words, keys


def test_bash_offers_all_options_of_every_command(bash):
    for name, parser in parsers().items():
        offered = bash.words(f"paxbank {name} -{ALL}")
        known = {option for action in parser._actions for option in action.option_strings}
        assert set(offered) - {name} == known


def test_zsh_completes(zsh):
    for keys, words in {
        "paxbank ben\t": ["bench"],
        "paxbank on\t": ["one.csv"],
        "paxbank check lo\t": ["check", "log.jsonl"],
        "paxbank one.csv --failu\tcra\t": ["one.csv", "--failure=crash"],
        "paxbank bench --failure dis\t": ["bench", "--failure", "disconnect"],
        "paxbank --config tw\t": ["--config", "two words.yaml"],
        "paxbank torture --ki\t 3": ["torture", "--kills", "3"],
        "paxbank completion z\t": ["completion", "zsh"],
    }.items():
        assert zsh.words(keys) == words, keys


def test_zsh_tells_what_options_do(zsh):
    os.write(zsh.terminal, b"paxbank bench --\t")
    seen = zsh.read("--warmup")
    assert "closed-loop clients" in seen and "command not found" not in seen


# ---- parsers -----------------------------------------------------------------------------------


BY_PARSER = ("--color", "--format", "--trace-format")  # it refuses other words itself


def test_what_is_offered_is_understood():
    """A metavar that lists values lists those that are taken, and no others."""
    for argument in completion._arguments(file_parser()):
        if argument.takes == "one of" and argument.names[0] not in BY_PARSER:
            key = argument.names[0].removeprefix("--")
            for value in argument.values:
                assert str(from_flags({key: value})[key].value) == value
            with pytest.raises(HarnessError) as told:
                from_flags({key: "bogus"})
            assert all(value in str(told.value) for value in argument.values)


@pytest.mark.parametrize("name", ["", *commands.names()])
def test_every_command_has_examples_that_parse(name):
    parser = parsers()[name]
    assert parser.examples
    for words, says in parser.examples:
        arguments = shlex.split(words.split(" > ")[0])
        assert parser.parse(arguments) is not None and says
        assert f"{parser.prog} {words}".rstrip() in parser.format_help()
