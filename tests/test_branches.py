"""Every branch of `bank` is reached by a script or by the explorer, but for a few: see `branches`.

What is new in `bank` belongs into a script of tests/scripts, or within bounds of `branches.walk`.
What neither can reach is named here with the test that does; what nothing needs is taken out.
"""

import json
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent
MOST = 10
# Neither damages what is on the way, asks for what nobody asks, or looks into the middle of a turn.
ELSEWHERE = {
    "catch_up._piece: not 0 <= piece < encoding.pieces True": (
        "test_catch_up.py::test_library_has_no_piece_beyond_the_last"
    ),
    "checkpoint.decode: except (ValueError, IndexError) True": (
        "test_checkpoint.py::test_foreign_bytes_are_no_checkpoint"
    ),
    "checkpoint.decode: sha256(f'{head.decode()}\\n') != seal.decode() or lines.pop() != '' True": (
        "test_checkpoint.py::test_checkpoint_cut_short_is_refused"
    ),
    "checkpoint.encode: called True": (
        "test_checkpoint.py::test_encoding_is_pages_and_sorted_sessions_below_a_sealed_head"
    ),
    "ledger.Ledger.__init__: len(cells) <= MOST_IN_A_LIST False": (
        "test_ledger.py::test_accounts_beyond_what_is_kept_as_a_list_are_paid_alike"
    ),
    "ledger.Ledger.pages: isinstance(held, array) True": (
        "test_ledger.py::test_accounts_beyond_what_is_kept_as_a_list_are_paid_alike"
    ),
    "ledger.Ledger.apply: kind == READ False": "test_ledger.py::test_command[unknown command]",
    "log.Log._status: slot <= self.committed_upto True": (
        "test_log.py::test_a_slot_is_marked_by_how_far_it_is"
    ),
    "replica.Replica.save_watermark: called True": (
        "test_catch_up.py::test_who_is_looked_at_stores_how_far_it_is_at_once"
    ),
    "replica.Replica.step: case Reply() | Elected() True": (
        "test_catch_up.py::test_what_is_said_to_clients_is_nothing_to_a_replica"
    ),
}


# Values with more accounts than any script has, and what only the harness asks them.
APART = "accounts.", "test_accounts.py"


def found():
    """What `branches` says, in a process of its own."""
    program = [sys.executable, str(TESTS / "branches.py")]
    tests = [str(TESTS / test) for test in (*ELSEWHERE.values(), APART[1])]
    done = subprocess.run([*program, *tests], capture_output=True, text=True, cwd=TESTS.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_branch_is_reached_by_a_script_or_the_explorer_or_by_the_test_that_is_named():
    outcomes = found()  # once: it takes seconds
    walked, tests = set(outcomes["walked"]), outcomes["tests"]
    apart = {outcome for outcome in outcomes["all"] if outcome.startswith(APART[0])}
    left = set(outcomes["all"]) - apart - walked
    assert left - ELSEWHERE.keys() == set(), "reach these, name a test that does, or take them out"
    assert ELSEWHERE.keys() - left == set(), "these are reached, or are no more: take them off"
    assert len(ELSEWHERE) <= MOST
    for outcome, test in ELSEWHERE.items():
        assert outcome in tests[f"tests/{test}"], (outcome, test)
    assert apart - walked.union(*tests.values()) == set()
