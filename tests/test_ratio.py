"""What the protocol costs, held loosely against docs/performance.md: a third of the speed shows.

Whatever else this machine does only slows a run down, so the best of several says most of the code:
the best of one kind is compared with the best of the other, and no time with any. The bounds are
far from what was seen, also on a machine that is not quiet: what passes them is a defect.
"""

import json
import re
import time
from pathlib import Path

import pytest

from harness import cli

pytestmark = pytest.mark.quiet

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ROW = re.compile(r"^\| process \| ([\d,]+) \| (\d\.\d+) ", re.MULTILINE)
CLIENTS = (1, 100)
PAIRS = 5
LEAST = 0.3  # of the documented ratio: with twenty neighbours on two cores 0.39 to 1.43 were seen
LEAST_OF_TEN = 0.3  # of the rate with ten accounts: 0.6 and more where it is quiet, 0.09 once
MOST_MB = 130  # a replica of a million accounts: 100 were seen, 260 once
MOST = 2.5  # times as long for each of ten times as many; what grows with the square takes 10


def documented() -> dict[int, float]:
    """The median ratio by number of clients, as the table has it."""
    rows = ROW.findall(PAGE.read_text("utf-8"))
    return {int(clients.replace(",", "")): float(ratio) for clients, ratio in rows}


def test_throughput_is_not_far_below_what_is_documented_by_ratio_to_the_floor(capsys):
    arguments = ["--clients", ",".join(map(str, CLIENTS)), "--repeat", str(PAIRS)]
    arguments += ["--seconds", "0.4", "--warmup", "0.2", "--format", "json"]
    assert cli.main(["bench", *arguments]) == 0
    for result in json.loads(capsys.readouterr().out)["results"]:
        clients, runs = result["clients"], result["runs"]
        bank = max(run["throughput"] for run in runs)
        floor = max(run["floor"]["throughput"] for run in runs)
        least = LEAST * documented()[clients]
        assert bank / floor >= least, (
            f"{clients} clients: {bank} a second, at least {least:.2f} of {floor} expected; "
            f"all pairs: {[(run['throughput'], run['floor']['throughput']) for run in runs]}"
        )


def test_a_million_accounts_cost_a_part_of_the_speed_and_no_hundreds_of_megabytes(capsys):
    arguments = ["--clients", "100", "--accounts", "10,1000000", "--repeat", "3", "--no-floor"]
    arguments += ["--seconds", "1.5", "--warmup", "0.3", "--format", "json"]
    assert cli.main(["bench", *arguments]) == 0
    few, many = json.loads(capsys.readouterr().out)["results"]
    rates = [max(run["throughput"] for run in result["runs"]) for result in (few, many)]
    assert rates[1] >= LEAST_OF_TEN * rates[0], f"{rates[1]} a second, {rates[0]} with ten accounts"
    assert many["resident_mb"] <= MOST_MB


def two_sets(transfers):
    """One with the election, then one of so many transfers among ten accounts; all are live."""
    pairs = [("ABCDEFGHIJ"[at % 10], "BCDEFGHIJA"[at * 7 % 10]) for at in range(transfers)]
    first = 'Set Number,Transactions,Live Nodes\n1,"(A, B, 1)",n1;n2;n3;n4;n5\n2,,n1;n2;n3;n4;n5\n'
    return first + "".join(f',"({sender}, {receiver}, 1)",\n' for sender, receiver in pairs)


@pytest.mark.parametrize("flags", [(), ("--sim",)], ids=["processes", "simulated"])
def test_a_set_takes_time_in_proportion_to_its_transfers(tmp_path, capsys, flags):
    """Seconds a transfer, of ten times as many: the processor's with --sim, which has no other."""
    found = {}
    for transfers in (1000, 10_000):
        path = tmp_path / f"{transfers}.csv"
        path.write_text(two_sets(transfers))
        taken = []
        for _ in range(3):
            began = time.process_time()
            assert cli.main([str(path), "--format", "json", *flags]) == 0
            used = time.process_time() - began
            took = json.loads(capsys.readouterr().out)["sets"][1]["seconds"]
            taken.append((used if flags else took) / transfers)
        found[transfers] = min(taken)
    assert found[10_000] < MOST * found[1000], f"seconds a transfer: {found}"
