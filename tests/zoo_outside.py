"""Hunt the zoo from outside and write docs/zoo-outside.md: `python -m tests.zoo --stdio`.

Every mutant of the zoo runs as a program behind the line protocol, and is judged by its answers and
by what it tells, as other people's replicas are. Behind processes nothing repeats event for event:
what the page knows stays, and only what is new is hunted; words hunt those anew whose names hold
one of them, `--unseen` all that were not seen. One at a time: a hunt is five processes already.
"""

import itertools
import json
import re
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
TIMES = re.compile(r", [0-9.]+-[0-9.]+ (µs|ms|s)(?=,)")  # of operations: others in every run
SETS, REASONS = HERE / "zoo_outside.yaml", HERE / "zoo_unseen.txt"
# Sets in which a leader fails just when few have accepted what it answered.
MOMENTS = {"bad moments": HERE / "zoo_outside_late.yaml", "five": HERE / "zoo_outside_five.yaml"}
ANIMALS = [one for one in catalogue.read() if one.caught_by("swarm") or one.caught_by("live")]
FAILURES = ("disconnect", "crash", "pause")
# What one torture is made of: who fails so, and how many faults. A kill costs a start.
TORTURES = ((["disconnect", "pause", "links"], 100), (["crash", "links"], 20))
SECONDS = 60.0  # for one mutant; what takes longer is told as not seen
SEEDS = 1000  # of the swarm, for who is not seen, beside the one of docs/zoo.md
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
whether they stay up. Each is put through a file of sets in all three ways to fail, then by turns
through two files in which leaders fail at bad moments (`tests/zoo_outside_late.yaml` and
`tests/zoo_outside_five.yaml`) and through tortures (faults at random under load), for a minute at
most. *Tries* are how many of these it took, or how many saw nothing. Runs of live processes do not
repeat event for event: a further hunt may see more, or need more tries.

Whoever was not seen is put through seeds of the swarm as well, first the one in which the swarm
finds it, with a last read of every account; there too only answers, told states and ends are
judged. *Seed* is the first that shows it so, or after how many none had; it is empty for what is
wrong with a process or its file, which the simulation does not have. What is seen there can be seen
from outside, if not in the tries that these processes had.

"Ended by itself" is a replica that noticed that it was wrong, by an assertion or by what it found
in its file, and stopped; its last words are in the report. Behind the line protocol that counts
as a violation.

A file of your own takes one with `--replicas 'python tests/animal.py "the lowest ballot wins"'`.
This file is written by `python -m tests.zoo --stdio`, from the root of a checkout: what it knows
stays, words hunt those anew whose names hold one, and `--unseen` all that were not seen (`--seeds`
in seeds alone, on any machine). `tests/zoo_unseen.txt` has the reasons.
"""
ELSEWHERE = ("harness.live.worker.", "harness.live.queues.", "harness.live.waiting.")


class Sighting(NamedTuple):
    """One mutant, caught from outside; or not (`check` is empty)."""

    tries: int
    hunt: str
    check: str = ""
    said: str = ""
    seed: str = ""  # of the swarm, in which it is seen from outside, if it was not seen otherwise


def described(wrong: str, own: str = OWN, settle_ms: int = 500) -> Description:
    """The replica with this taken out, behind stdio, with numbers of its own; "": the sound one."""
    words = [sys.executable, "-B", str(HERE / "animal.py"), wrong]
    start = f"{shlex.join(words)} --config {{data}}/own.yaml"
    lines = {
        "start": start,
        "file": {"path": "{data}/own.yaml", "text": own},
        "settle_ms": settle_ms,
        "cluster": {"client_timeout_ms": 200, "progress_ms": 8000},
    }
    return description.parse(json.dumps(lines).encode(), "zoo", HERE)


# ---- hunts ---------------------------------------------------------------------------------------


def run_sets(
    animal: Description, failure: str, path: Path = SETS, seed: int = 1
) -> list[Judgement]:
    """What is found when these sets are run, with this way to fail."""
    draft = testset.read(str(path))
    flags = {"failure": failure, "seed": seed}
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
    torture.run(lambda done, doing: None)
    return list(torture.judgements)


Hunt = Callable[[str], list[Judgement]]


def hunts() -> Iterator[tuple[str, Hunt]]:
    """The sets in all ways to fail first, then bad moments and tortures by turns without an end."""
    for failure in FAILURES:
        yield f"sets, {failure}", lambda wrong, failure=failure: run_sets(described(wrong), failure)
    for seed in itertools.count(1):
        for name, path in MOMENTS.items():
            yield name, lambda wrong, seed=seed, path=path: run_moments(wrong, path, seed)
        yield "torture", lambda wrong, seed=seed: run_torture(described(wrong), seed)


def run_moments(wrong: str, path: Path, seed: int = 1) -> list[Judgement]:
    """What is found when leaders fail as soon as they have answered."""
    return run_sets(described(wrong, settle_ms=0), "disconnect", path, seed)


def hunt(wrong: str, seconds: float = SECONDS) -> Sighting:
    """Until something is found, or for so long."""
    until = time.monotonic() + seconds
    for tries, (name, one) in enumerate(hunts(), 1):
        try:
            found = [j for j in one(wrong) if j.verdict is Verdict.INVALID]
        except HarnessError as error:
            return Sighting(tries, name, "starts", error.problems[0])
        if found:
            return Sighting(tries, name, found[0].check, TIMES.sub("", found[0].reason))
        if time.monotonic() > until:
            return Sighting(tries, name)
    raise AssertionError("hunts do not end")


def seed_of(animal: Mutant) -> str:
    """The first of some seeds of the swarm that shows it from outside, or that there was none."""
    if not animal.caught_by("swarm"):
        return ""  # the simulation has a process and a disk of its own
    for seed in (zoo.seeds_in(zoo.PAGE.read_text("utf-8"))[animal.wrong], *range(SEEDS)):
        if seen_from_outside(animal, seed):
            return str(seed)
    return f"– of {SEEDS}"


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
    in_seeds = sum(one.seed.isdigit() for one in sightings.values())
    told = f"{len(seen)} of {len(sightings)} were seen, {in_seeds} more in seeds of the swarm.\n"
    lines = [HEAD, told, "## Seen", ""]
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


def is_elsewhere(animal: Mutant) -> bool:
    """The program behind the line protocol has nothing of its place."""
    return all(change.place.startswith(ELSEWHERE) for change in animal.changes)


def sought(animal: Mutant, sighting: Sighting | None) -> Sighting:
    """The same mutant, hunted anew; `sighting` of one that is to be looked for in seeds alone."""
    if is_elsewhere(animal):
        return Sighting(0, "")
    found = sighting or hunt(animal.wrong)
    return found if found.check else found._replace(seed=seed_of(animal))


def main(words: Sequence[str]) -> int:
    """1 when somebody is not seen and nobody knows why; the page has all others then.

    It is written after each hunt, so that a stop loses nothing.
    """
    before = known(PAGE.read_text("utf-8")) if PAGE.exists() else {}
    found, reasons = dict(before), unseen()
    lacking = []
    for animal in ANIMALS:
        wrong = animal.wrong
        is_unseen = wrong in before and not before[wrong].check
        if is_unseen and "--seeds" in words:
            found[wrong] = sought(animal, before[wrong])
        elif (
            wrong not in before
            or (is_unseen and "--unseen" in words)
            or any(word in wrong for word in words)
        ):
            found[wrong] = sought(animal, None)
        else:
            continue
        one = found[wrong]
        said = one.check or f"not seen, seed {one.seed}"
        sys.stderr.write(f"{wrong}: {said} after {one.tries} tries\n")
        if not one.check and wrong not in reasons:
            sys.stderr.write(f"{wrong}: not seen, and {REASONS.name} does not say why\n")
            lacking.append(wrong)
            del found[wrong]
        ordered = {a.wrong: found[a.wrong] for a in ANIMALS if a.wrong in found}
        PAGE.write_text(page(ordered), "utf-8")
    return 1 if lacking else 0
