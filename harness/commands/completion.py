"""Print a script that completes commands, options and files in bash or zsh.

Everything in it is read from the parsers themselves: what can be chosen from is what a parser
lists as choices or as "a|b|c" in a metavar, a FILE or DIR is one of those. Nothing else here knows
a command or an option.
"""

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console

EXAMPLES = (
    ("bash > ~/.paxbank.bash", "then: echo '. ~/.paxbank.bash' >> ~/.bashrc"),
    ("zsh > ~/.paxbank.zsh", "then: echo '. ~/.paxbank.zsh' >> ~/.zshrc (below compinit)"),
)
_ENDINGS = {"test set": ("csv", "yaml", "yml"), "YAML": ("yaml", "yml")}  # by words of a help


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The one argument of `completion`."""
    parser.add_argument("shell", metavar="bash|zsh", choices=tuple(_SHELLS), help="your shell")


def run(options: argparse.Namespace, console: Console) -> int:
    """Print the script."""
    parsers: Mapping[str, argparse.ArgumentParser] = options.parsers()
    arguments = {name: _arguments(parser) for name, parser in parsers.items()}
    helps = {name: parser.description or "" for name, parser in parsers.items()}
    console.out(_SHELLS[options.shell](arguments, helps), highlight=False, end="")
    return 0


@dataclass(frozen=True, slots=True)
class _Argument:
    """One option, or one positional argument."""

    names: tuple[str, ...]  # of an option; none of a positional one
    help: str
    takes: str  # "nothing", "one of", "file", "folder" or "text"
    values: tuple[str, ...] = ()  # to choose from, or the endings of files; none: any
    many: bool = False


def _arguments(parser: argparse.ArgumentParser) -> list[_Argument]:
    return [_argument(action) for action in parser._actions]


def _argument(action: argparse.Action) -> _Argument:
    metavar = action.metavar if isinstance(action.metavar, str) else ""
    told, takes, values = action.help or "", "text", tuple[str, ...]()
    if action.nargs == 0:
        takes = "nothing"
    elif action.choices is not None or "|" in metavar:
        takes, values = "one of", tuple(map(str, action.choices or metavar.split("|")))
    elif metavar == "FILE":
        endings = (endings for words, endings in _ENDINGS.items() if words in told)
        takes, values = "file", next(endings, ())
    elif metavar == "DIR":
        takes = "folder"
    return _Argument(tuple(action.option_strings), told, takes, values, action.nargs == "+")


# ---- bash --------------------------------------------------------------------------------------

_BASH = """\
# Completion of paxbank for bash.
_paxbank_words() {{
    COMPREPLY+=($(compgen -W "$*" -- "$cur"))
}}
_paxbank_files() {{  # folders, and files that match one of these
    local IFS=$'\\n' pattern
    compopt -o filenames
    COMPREPLY=($(compgen -d -- "$cur"))
    for pattern in "$@"; do
        COMPREPLY+=($(compgen -f -X "!$pattern" -- "$cur"))
    done
}}
_paxbank() {{
    local command="" cur=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
    COMPREPLY=()
    # bash cuts --color=auto into three words
    if [[ $cur == "=" ]]; then
        cur=""
    elif [[ $before == "=" ]]; then
        before=${{COMP_WORDS[COMP_CWORD-2]}}
    fi
    if ((COMP_CWORD > 1)); then
        case ${{COMP_WORDS[1]}} in
        {commands}) command=${{COMP_WORDS[1]}} ;;
        esac
    fi
    case "$command $before" in
{values}
    esac
    if [[ $cur == -* ]]; then
        case $command in
{options}
        esac
        return
    fi
    case $command in
{places}
    esac
    if ((COMP_CWORD == 1)); then
        _paxbank_words {words}
    fi
}}
complete -F _paxbank paxbank
"""


def _bash(arguments: Mapping[str, list[_Argument]], helps: Mapping[str, str]) -> str:
    values, options, places = [], [], []
    for command, found in arguments.items():
        names = " ".join(name for argument in found for name in argument.names)
        options.append(f"        {_quoted(command)}) _paxbank_words {names} ;;")
        for argument in found:
            if not argument.names:
                places.append(f"    {_quoted(command)}) {_bash_action(argument)} ;;")
            elif argument.takes != "nothing":
                after = "|".join(f'"{command} {name}"' for name in argument.names)
                values.append(f"    {after}) {_bash_action(argument)}; return ;;")
    known = [name for name in arguments if name]
    return _BASH.format(
        commands="|".join(known),
        values="\n".join(values),
        options="\n".join(options),
        places="\n".join(places),
        words=" ".join(known),
    )


def _bash_action(argument: _Argument) -> str:
    match argument.takes:
        case "one of":
            return f"_paxbank_words {' '.join(argument.values)}"
        case "file":
            patterns = [f"'*.{ending}'" for ending in argument.values] or ["'*'"]
            return f"_paxbank_files {' '.join(patterns)}"
        case "folder":
            return "_paxbank_files"
    return ":"


def _quoted(text: str) -> str:
    return f"'{text}'"


# ---- zsh ---------------------------------------------------------------------------------------

_ZSH = """\
#compdef paxbank run.py
# Completion of paxbank for zsh, and of run.py behind python.
_paxbank_first() {{
    local -a known=(
{commands}
    )
    _describe command known
    {file}
}}
_paxbank() {{
    local command=""
    if ((CURRENT > 2)) && [[ $words[2] == ({names}) ]]; then
        command=$words[2]
        shift words
        ((CURRENT--))
    fi
    case $command in
{arguments}
    esac
}}
if [[ $funcstack[1] == _paxbank ]]; then
    _paxbank "$@"
else
    compdef _paxbank paxbank run.py
fi
"""


def _zsh(arguments: Mapping[str, list[_Argument]], helps: Mapping[str, str]) -> str:
    known = [name for name in arguments if name]
    cases, first = [], ":"
    for command, found in arguments.items():
        specs = []
        for argument in found:
            if command or argument.names:
                specs += _zsh_specs(argument)
            else:
                first = _zsh_files(argument)
                specs.append("'1: :_paxbank_first'")
        listed = " \\\n        ".join(specs)
        cases.append(f"    {_quoted(command)}) _arguments \\\n        {listed} ;;")
    return _ZSH.format(
        commands="\n".join(f"        {_quoted(f'{n}:{_plain(helps[n])}')}" for n in known),
        file=first,
        names="|".join(known),
        arguments="\n".join(cases),
    )


def _zsh_specs(argument: _Argument) -> list[str]:
    match argument.takes:
        case "nothing":
            end = ""
        case "one of":
            end = f": :({' '.join(argument.values)})"
        case "file":
            end = f": :{_zsh_files(argument)}"
        case "folder":
            end = ": :_files -/"
        case _:
            end = ": : "
    if not argument.names:
        return [_doubly_quoted(("*" if argument.many else "1") + end)]
    told = f"[{_plain(argument.help)}]{end}"
    joined = "=" if end else ""  # --option=value as well as --option value
    return [_doubly_quoted(f"{n}{joined * n.startswith('--')}{told}") for n in argument.names]


def _zsh_files(argument: _Argument) -> str:
    return f"_files -g '*.({'|'.join(argument.values)})'" if argument.values else "_files"


def _doubly_quoted(text: str) -> str:
    return '"' + text.replace('"', '\\"') + '"'


def _plain(text: str) -> str:
    """A help without defaults in brackets and signs that mean something to zsh."""
    return re.sub(r"\s*\[[^][]*\]|[][`$\\'\"]", "", text).replace(":", ",").strip()


_SHELLS = {"bash": _bash, "zsh": _zsh}
