"""What the protocol costs, held loosely against docs/performance.md: a third of the speed shows.

Whatever else this machine does only slows a run down, so the best of several says most of the code:
the best of one kind is compared with the best of the other, and no time with any. Where they are
too far from each other, more are measured: a slow minute passes, a slow program stays slow. Where
others use the processors it is no test: whoever wants to stay awake then waits for its turn, and
the floor, which sleeps, is preferred. The bounds are far from what was seen: what passes them on a
quiet machine is a defect.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import pytest

from harness import cli

pytestmark = pytest.mark.quiet

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ROW = re.compile(r"^\| process \| ([\d,]+) \| (\d\.\d+) ", re.MULTILINE)
CLIENTS = (1, 100)
PAIRS = 3
ROUNDS = 2  # of all that is measured, at the most
LEAST = 0.3  # of the documented ratio
QUIET = 0.85  # the least part of a processor that is free on a quiet machine
LEAST_OF_TEN = 0.3  # of the rate with ten accounts: 0.6 and more where it is quiet, 0.09 once
MOST_MB = 130  # a replica of a million accounts: 100 were seen, 260 once
MOST = 2.5  # times as long in one set as in ten; what grows with the square takes 10


def documented() -> dict[int, float]:
    """The median ratio by number of clients, as the table has it."""
    rows = ROW.findall(PAGE.read_text("utf-8"))
    return {int(clients.replace(",", "")): float(ratio) for clients, ratio in rows}


# Prints which part of a second this process had its processor.
SPIN = """import time
began = time.monotonic()
while time.monotonic() < began + 1: pass
print(time.process_time() / (time.monotonic() - began))"""


def processors():
    """How many this process may use."""
    has_affinity = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1


def is_missed(why):
    """More is to be measured; skips the test where others use the processors."""
    spins = [
        subprocess.Popen([sys.executable, "-c", SPIN], stdout=subprocess.PIPE, text=True)
        for _ in range(processors())
    ]
    got = [float(spin.communicate()[0]) for spin in spins]
    if min(got) < QUIET:
        pytest.skip(f"others use this machine's processors, {min(got):.2f} is left of one: {why}")
    return why


def share(pairs):
    """The best of ours, of the best of the floor."""
    ours, floor = zip(*pairs, strict=True)
    return max(ours) / max(floor)


def bench(capsys, arguments):
    """The results of one benchmark, with every run in them."""
    assert cli.main(["bench", *arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)["results"]


def test_throughput_is_not_far_below_what_is_documented_by_ratio_to_the_floor(capsys):
    arguments = ["--repeat", str(PAIRS), "--seconds", "0.4", "--warmup", "0.2"]
    least, missed = documented(), list(CLIENTS)
    pairs = defaultdict(list)
    for _ in range(ROUNDS):
        for result in bench(capsys, ["--clients", ",".join(map(str, missed)), *arguments]):
            runs = [(run["throughput"], run["floor"]["throughput"]) for run in result["runs"]]
            pairs[result["clients"]] += runs
        missed = [clients for clients in missed if share(pairs[clients]) < LEAST * least[clients]]
        if not missed:
            return
        why = is_missed(f"{LEAST} of {least} expected; ours and the floor's a second: {pairs}")
    raise AssertionError(why)


def test_a_million_accounts_cost_a_part_of_the_speed_and_no_hundreds_of_megabytes(capsys):
    arguments = ["--clients", "100", "--accounts", "10,1000000", "--repeat", "3", "--no-floor"]
    rates = [], []
    for _ in range(ROUNDS):
        results = bench(capsys, [*arguments, "--seconds", "1.5", "--warmup", "0.3"])
        for found, result in zip(rates, results, strict=True):
            found += (run["throughput"] for run in result["runs"])
        assert results[1]["resident_mb"] <= MOST_MB
        if max(rates[1]) >= LEAST_OF_TEN * max(rates[0]):
            return
        why = is_missed(f"a second, with ten accounts and with a million: {rates}")
    raise AssertionError(why)


def sets(count, transfers):
    """One with the election, then so many sets of transfers among ten accounts; all are live."""
    pairs = [("ABCDEFGHIJ"[at % 10], "BCDEFGHIJA"[at * 7 % 10]) for at in range(transfers)]
    one = "".join(f',"({sender}, {receiver}, 1)",\n' for sender, receiver in pairs)
    first = 'Set Number,Transactions,Live Nodes\n1,"(A, B, 1)",n1;n2;n3;n4;n5\n'
    return first + "".join(f"{at},,n1;n2;n3;n4;n5\n{one}" for at in range(2, count + 2))


@pytest.mark.parametrize("flags", [(), ("--sim",)], ids=["processes", "simulated"])
def test_a_set_takes_time_in_proportion_to_its_transfers(tmp_path, capsys, flags):
    """Seconds of ten sets, and of one that is ten times as long: the processor's with --sim, which
    has no other. Both take as long, so that whatever else runs slows down the one as the other.
    """
    files = {count: tmp_path / f"{count}.csv" for count in (10, 1)}
    for count, path in files.items():
        path.write_text(sets(count, 10_000 // count))
    found = {count: [] for count in files}
    for _ in range(ROUNDS):
        for count, path in files.items():
            began = time.process_time()
            assert cli.main([str(path), "--format", "json", *flags]) == 0
            used = time.process_time() - began
            taken = json.loads(capsys.readouterr().out)["sets"][1:]
            assert len(taken) == count
            found[count].append(used if flags else sum(one["seconds"] for one in taken))
        if min(found[1]) < MOST * min(found[10]):
            return
        why = is_missed(f"seconds of ten sets and of one: {found}")
    raise AssertionError(why)
