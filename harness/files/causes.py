"""Many mistakes with one cause are told once: how many, where the first is, and the way out.

A file for nine replicas and another bank has hundreds of names that are unknown here, and one thing
wrong: the cluster. What would put that right is offered to who runs the file, never assumed.
"""

import re
from collections.abc import Mapping, Sequence

from harness.cluster.wording import counted
from harness.errors import HarnessError
from harness.files.config import NODES, names_listed
from harness.files.steps import Names
from harness.files.text_file import shown
from harness.files.tree import Alike, Problem, Problems

MOST = {"replica": 3, "account": 3}  # told one by one
MOST_OTHERS = 10
MOST_RUNS = 10  # of names, in a message
_NAME = re.compile("[A-Za-z0-9_]{1,32}")
SETS = ("Live Nodes", "live")  # where a problem is one of a set, not of a step


class OtherCluster(HarnessError):
    """All that is wrong with a file is that it is meant for another cluster: this one."""

    def __init__(self, *problems: str, keys: Mapping[str, str]) -> None:
        super().__init__(*problems)
        self.keys = keys  # of a configuration, as its file says them


def refuse(problems: Problems, names: Names) -> None:
    """HarnessError when there are problems, those of one cause as one."""
    groups: dict[str, list[Problem]] = {}
    for problem in sorted(problems.found, key=lambda problem: problem.line):
        if isinstance(problem.what, Alike):
            groups.setdefault(problem.what.cause, []).append(problem)
    keys: dict[str, str] = {}
    for cause, group in groups.items():
        none_known = cause == "account" and not names.used and len(group) > 1
        if none_known or len(group) > MOST.get(cause, MOST_OTHERS):
            what, put_right = _told(cause, group, names)
            keys |= put_right
            problems.found = [problem for problem in problems.found if problem not in group]
            problems.add(group[0].line, group[0].place, what)
    try:
        problems.refuse()
    except HarnessError as error:
        if len(error.problems) == len(keys):
            raise OtherCluster(*error.problems, keys=keys) from None
        raise


def _told(cause: str, group: Sequence[Problem], names: Names) -> tuple[str, Mapping[str, str]]:
    """The cause of a group, and the keys that would put it right."""
    if cause not in MOST:
        more = f"{len(group) - 1} more like it, the last in line {group[-1].line}"
        return f"{group[0].what} ({more})", {}
    words = dict.fromkeys(w for p in group if isinstance(p.what, Alike) for w in p.what.words)
    of_sets = {problem.line for problem in group if problem.place in SETS}
    steps = sum(problem.place not in SETS for problem in group)
    counts = {"set": len(of_sets), "step": steps}
    places = [counted(count, what) for what, count in counts.items() if count]
    where = f"{cause}s {_runs(list(words))} in {' and '.join(places)}"
    if cause == "account":
        accounts = _range([*names.used, *words])
        way = f"accounts: {accounts} in a file given with --config" if accounts else ""
        expected, keys = names.expected_accounts, {"accounts": accounts}
    else:
        numbers = [int(word[1:]) for word in words if re.fullmatch("n[1-9][0-9]*", word)]
        most = max(numbers) if len(numbers) == len(words) else 0
        nodes = next((nodes for nodes in NODES if nodes >= most > 0), None)
        way = f"there are at most {NODES[-1]} replicas" if most else ""
        way = f"--nodes {nodes}" if nodes else way
        expected, keys = f"n1..n{len(names.replicas)}", {"nodes": str(nodes)} if nodes else {}
    return f"{where}, expected {expected}" + (f": {way}" if way else ""), keys if way else {}


def _split(word: str) -> tuple[str, int]:
    """ "c12" as ("c", 12), "K" as ("", 75): what may be in one range with others."""
    if len(word) == 1 and word.isascii() and word.isalpha():
        return "", ord(word)
    match = re.fullmatch("([A-Za-z_]*?)(0|[1-9][0-9]{0,6})", word)
    return (f"{match[1]}#", int(match[2])) if match else (word, 0)


def _runs(words: Sequence[str]) -> str:
    """ "n6..n9", "101..104, 301, 302": in order, and not all of very many."""
    ordered = sorted(words, key=_split)
    runs: list[list[str]] = []
    for word in ordered:
        before = _split(runs[-1][-1]) if runs else ("", -1)
        kind, number = _split(word)
        if before == (kind, number - 1):
            runs[-1].append(word)
        else:
            runs.append([word])
    told = [name for run in runs for name in (run if len(run) < 3 else [f"{run[0]}..{run[-1]}"])]
    told = [
        name if _NAME.fullmatch(name.replace("..", "")) else f'"{shown(name)}"' for name in told
    ]
    more = len(told) > MOST_RUNS
    return ", ".join([*told[:MOST_RUNS], "…"] if more else told)


def _range(words: Sequence[str]) -> str:
    """As `accounts:` of a configuration says them; empty when they cannot be names."""
    if not all(map(_NAME.fullmatch, words)):
        return ""
    ordered = sorted(dict.fromkeys(words), key=_split)
    kinds = {_split(word)[0] for word in ordered}
    if len(kinds) == 1 and len(ordered) > 2:
        return f"{ordered[0]}..{ordered[-1]}"
    return f"[{names_listed(ordered)}]" if len(ordered) <= MOST_RUNS else ""
