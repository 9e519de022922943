"""Hunt the zoo from outside and write docs/zoo-outside.md: `python -m tests.zoo --stdio [WORD…]`.

Every mutant of the zoo runs as a program behind the line protocol, and is judged by its answers and
by what it tells, as other people's replicas are. Behind processes nothing repeats event for event:
what the page knows stays, and only what is new is hunted; words hunt those anew whose names hold
one of them. One at a time: a hunt is five processes already.
"""

import itertools
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

sys.path[:0] = [str(Path(__file__).parent)]  # as `python -m` it has only the root

import catalogue  # noqa: E402
import zoo  # noqa: E402
from catalogue import Mutant  # noqa: E402
from zoo_seeds import seen_from_outside  # noqa: E402

from harness.check.verdict import Judgement, Verdict  # noqa: E402
from harness.commands.torture import Torture  # noqa: E402
from harness.errors import HarnessError  # noqa: E402
from harness.external import description  # noqa: E402
from harness.external.description import Description  # noqa: E402
from harness.files import testset  # noqa: E402
from harness.run import launch  # noqa: E402
from harness.run.runner import Runner  # noqa: E402

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "zoo-outside.md"
SETS, REASONS = HERE / "zoo_outside.yaml", HERE / "zoo_unseen.txt"
ANIMALS = [one for one in catalogue.read() if one.caught_by("swarm") or one.caught_by("live")]
FAILURES = ("disconnect", "crash", "pause")
# What one torture is made of: who fails so, and how many faults. A kill costs a start.
TORTURES = ((["disconnect", "pause", "links"], 100), (["crash", "links"], 20))
SECONDS = 60.0  # for one mutant; what takes longer is told as not seen
SEEDS = 12  # of the swarm, for who is not seen, beside the one of docs/zoo.md
# Short time-outs and logs: many elections, checkpoints and truncations in a short while.
OWN = """\
election_timeout_ms: [100, 200]
heartbeat_ms: 25
prepare_quiet_ms: 50
checkpoint_interval: 4
checkpoint_pause_ms: 1
keep_slots: 4
learn_slots: 4
"""
HEAD = """# The zoo from outside

The replicas of [the zoo](zoo.md), each with one thing wrong, as programs behind the line
protocol, and judged as anybody's are: by the answers of clients, by what replicas tell, and by
whether they stay up. Each is put through a file of sets in all three ways to fail, then through
tortures (faults at random under load), for a minute at most. *Tries* are how many of these it
took, or how many saw nothing. Runs of live processes do not repeat event for event: a further
hunt may see more, or need more tries.

Whoever was not seen is put through some seeds of the swarm as well, the one among them in which
the swarm finds it; there too only answers, told states and ends are judged. *Seed* is the first
that shows it so, – where none did: what is seen there can be seen from outside, if not in the
tries that these processes had.

"Ended by itself" is a replica that noticed that it was wrong, by an assertion or by what it found
in its file, and stopped; its last words are in the report. Behind the line protocol that counts
as a violation.

A file of your own takes one with `--replicas 'python tests/animal.py "the lowest ballot wins"'`.
This file is written by `python -m tests.zoo --stdio`, from the root of a checkout: what it knows
stays, and words hunt those anew whose names hold one. `tests/zoo_unseen.txt` has the reasons.
"""
ELSEWHERE = ("harness.live.worker.", "harness.live.queues.", "harness.live.waiting.")


class Sighting(NamedTuple):
    """One mutant, caught from outside; or not (`check` is empty)."""

    tries: int
    hunt: str
    check: str = ""
    said: str = ""
    seed: str = ""  # of the swarm, in which it is seen from outside, if it was not seen otherwise


def described(wrong: str, own: str = OWN) -> Description:
    """The replica with this taken out, behind stdio, with numbers of its own; "": the sound one."""
    words = [sys.executable, "-B", str(HERE / "animal.py"), wrong]
    start = f"{shlex.join(words)} --config {{data}}/own.yaml"
    lines = {
        "start": start,
        "file": {"path": "{data}/own.yaml", "text": own},
        "cluster": {"client_timeout_ms": 200, "progress_ms": 8000},
    }
    return description.parse(json.dumps(lines).encode(), "zoo", HERE)


# ---- hunts ---------------------------------------------------------------------------------------


def run_sets(animal: Description, failure: str, path: Path = SETS) -> list[Judgement]:
    """What is found when these sets are run, with this way to fail."""
    draft = testset.read(str(path))
    flags = {"failure": failure, "seed": 1}
    settings = launch.settings(flags, draft.overrides, description=animal)
    file = draft.cases(settings)
    with launch.cluster(settings, theirs=(animal, file, None)) as cluster:
        cluster.start()
        runner = Runner(cluster, settings, file)
        while runner.remaining and runner.verdict() is not Verdict.INVALID:
            runner.run_next()
    return [judgement for report in runner.reports for judgement in report.judgements]


def run_torture(animal: Description, seed: int) -> list[Judgement]:
    """What is found after some faults at random, with clients that ask without a pause."""
    modes, faults = TORTURES[seed % 2]
    flags = {"seed": seed, "nodes": 5 if seed % 4 < 2 else 3, "initial_balance": 100}
    torture = Torture(launch.settings(flags, {}, description=animal), modes, faults, animal)
    torture.run(lambda done: None)
    return list(torture.judgements)


Hunt = Callable[[Description], list[Judgement]]


def hunts() -> Iterator[tuple[str, Hunt]]:
    """The sets in all ways to fail first, then tortures without an end."""
    for failure in FAILURES:
        yield f"sets, {failure}", lambda animal, failure=failure: run_sets(animal, failure)
    for seed in itertools.count(1):
        yield "torture", lambda animal, seed=seed: run_torture(animal, seed)


def hunt(wrong: str, seconds: float = SECONDS) -> Sighting:
    """Until something is found, or for so long."""
    animal, until = described(wrong), time.monotonic() + seconds
    for tries, (name, one) in enumerate(hunts(), 1):
        try:
            found = [j for j in one(animal) if j.verdict is Verdict.INVALID]
        except HarnessError as error:
            return Sighting(tries, name, "starts", error.problems[0])
        if found:
            return Sighting(tries, name, found[0].check, found[0].reason)
        if time.monotonic() > until:
            return Sighting(tries, name)
    raise AssertionError("hunts do not end")


def seed_of(animal: Mutant) -> str:
    """The first of some seeds of the swarm that shows it from outside; "–" for none."""
    if any(not change.place.startswith("bank.") for change in animal.changes):
        return ""  # the simulation has a disk of its own
    for seed in (zoo.seeds_in(zoo.PAGE.read_text("utf-8"))[animal.wrong], *range(SEEDS)):
        if seen_from_outside(animal, seed):
            return str(seed)
    return "–"


# ---- the page ------------------------------------------------------------------------------------


def unseen() -> dict[str, str]:
    """Why somebody may not be seen from outside, by what is wrong."""
    found: dict[str, str] = {}
    for block in REASONS.read_text("utf-8").strip().split("\n\n"):
        lines = block.splitlines()
        why = " ".join(line for line in lines if not line.startswith("- "))
        found.update((line[2:], why) for line in lines if line.startswith("- "))
    return found


def known(text: str) -> dict[str, Sighting]:
    """What the page says, by what is wrong."""
    rows = [line[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
    found = {}
    rows = [row for row in rows if len(row) == 4]
    for wrong, hunt, tries, said in (row for row in rows if row[2].isdigit() > row[1].isdigit()):
        check, _, reason = said.replace("\\|", "|").partition(": ")
        found[wrong] = Sighting(int(tries), hunt, check, reason)
    for wrong, tries, seed, _ in (row for row in rows if row[1].isdigit()):
        found[wrong] = Sighting(int(tries), "", seed=seed)
    return found


def page(sightings: dict[str, Sighting]) -> str:
    """docs/zoo-outside.md."""
    seen = {wrong: one for wrong, one in sightings.items() if one.check}
    lines = [HEAD, f"{len(seen)} of {len(sightings)} were seen.\n", "## Seen", ""]
    lines += ["| what is wrong | where | tries | what was said |", "|---|---|---|---|"]
    for wrong, one in seen.items():
        said = f"{one.check}: {zoo.short(one.said)}"
        lines.append(zoo.row(wrong, one.hunt, str(one.tries), said))
    lines += ["", "## Not seen", "", "| what is wrong | tries | seed | why |", "|---|---|---|---|"]
    lines += [
        zoo.row(wrong, str(one.tries), one.seed, unseen()[wrong])
        for wrong, one in sightings.items()
        if not one.check
    ]
    return "\n".join([*lines, ""])


def main(words: Sequence[str]) -> int:
    """1 when somebody is not seen and nobody knows why; the page has all others then."""
    before = known(PAGE.read_text("utf-8")) if PAGE.exists() else {}
    found: dict[str, Sighting] = {}
    for animal in ANIMALS:
        wrong = animal.wrong
        if wrong in before and not any(word in wrong for word in words):
            found[wrong] = before[wrong]
        elif all(change.place.startswith(ELSEWHERE) for change in animal.changes):
            found[wrong] = Sighting(0, "")
        else:
            found[wrong] = hunt(wrong)
            if not found[wrong].check:
                found[wrong] = found[wrong]._replace(seed=seed_of(animal))
            seen = found[wrong].check or "not seen"
            sys.stderr.write(f"{wrong}: {seen} after {found[wrong].tries} tries\n")
    lacking = [w for w, one in found.items() if not one.check and w not in unseen()]
    for wrong in lacking:
        sys.stderr.write(f"{wrong}: not seen, and {REASONS.name} does not say why\n")
    PAGE.write_text(page({w: one for w, one in found.items() if w not in lacking}), "utf-8")
    return 1 if lacking else 0
