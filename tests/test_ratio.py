"""What the protocol costs, held loosely against docs/performance.md: a halving of the speed shows.

Ratios to the floor of the same seconds, never times: those are the machine's. The median of several
short pairs, so that a neighbour's second on this machine decides nothing.
"""

import json
import re
from pathlib import Path

import pytest

from harness import cli

pytestmark = pytest.mark.quiet

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
ROW = re.compile(r"^\| process \| ([\d,]+) \| (\d\.\d+) ", re.MULTILINE)
CLIENTS = (1, 100)
PAIRS = 5
LEAST = 0.5  # of the documented ratio


def documented() -> dict[int, float]:
    """The median ratio by number of clients, as the table has it."""
    rows = ROW.findall(PAGE.read_text("utf-8"))
    return {int(clients.replace(",", "")): float(ratio) for clients, ratio in rows}


def test_throughput_is_no_less_than_half_of_what_is_documented_by_ratio_to_the_floor(capsys):
    arguments = ["--clients", ",".join(map(str, CLIENTS)), "--repeat", str(PAIRS)]
    arguments += ["--seconds", "0.4", "--warmup", "0.2", "--format", "json"]
    assert cli.main(["bench", *arguments]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    found = {result["clients"]: result["ratio"] for result in results}
    least = {clients: LEAST * documented()[clients] for clients in CLIENTS}
    runs = {result["clients"]: [run["ratio"] for run in result["runs"]] for result in results}
    assert all(found[clients] >= least[clients] for clients in CLIENTS), (
        f"ratios to the floor {found}, at least {least} expected; all pairs: {runs}"
    )
