"""A very long set, very many accounts: every outlet is short, and says what it left out."""

import json
from dataclasses import replace

from screen_fakes import judgements, many_accounts, reported, set_six
from test_console import Session
from test_tables import render

from bank.ballot import Ballot
from bank.ledger import TRANSFER
from harness.check.expectations import describe
from harness.check.verdict import Verdict
from harness.cluster.history import Operation
from harness.files.cases import CaseFile, CaseSet, Outcomes
from harness.files.config import ClusterConfig
from harness.report import charts, html, junit, results
from harness.run.report import measured
from harness.screen import tables, verdicts

CONFIG = ClusterConfig(seed=1)
FILE = CaseFile("long.csv", (CaseSet(1, frozenset({1, 2, 3, 4, 5}), (), 1),))
BALLOT = Ballot(1, 1)


def longest(successes=4000, failed=1500, pending=1500, faults=60):
    steps = [
        reported(str(at), "(A, B, 1)", "success", None, at, BALLOT, 900, begun_us=at)
        for at in range(1, successes + 1)
    ]
    steps += [
        reported(f"{at}", "(C, D, 9)", "failed", None, at, BALLOT, 900)
        for at in range(successes + 1, successes + failed + 1)
    ]
    steps += [reported("7", "(E, F, 1)", "pending")] * pending
    steps += [reported("8", "LF", "no-leader")] * faults
    return replace(
        set_six(), number=1, position=1, total=1, steps=tuple(steps), judgements=judgements()
    )


def test_the_screen_counts_what_it_does_not_show():
    printed = render(tables.set_screen(longest(), "crash", {}), 80)
    rows = printed.splitlines()
    assert len(rows) < 80
    for row in ("✓ success × 4000", "✗ failed × 1500", "… pending × 1500"):
        assert printed.count(row) == 1
    assert "and 20 more faults; PrintSteps shows every step" in printed
    few = render(tables.set_screen(longest(failed=5, pending=3, faults=1), "crash", {}), 80)
    assert few.count("✗ failed") == 5 and few.count("… pending") == 3 and "more faults" not in few


def test_print_steps_shows_as_many_as_one_command_may_and_how_to_see_the_others():
    report = longest(900, 200, 0, 0)

    def typed(line):
        return Session(report).after_one_set(line)

    assert "PrintSteps 1001-2000 shows the next of 1,100" in typed("PrintSteps")
    assert typed("PrintSteps 1001-1003").count("(C, D, 9)") == 3
    assert "5000 steps, expected at most 1000" in typed("PrintSteps 1-5000")


def test_the_end_names_some_of_what_is_pending():
    waiting = [Operation(("A", 0, TRANSFER, "A", "B", 1), 1)] * 500
    lines = verdicts.verdict_lines(Verdict.VALID, [longest()], waiting, measured([longest()]))
    printed = render(lines, 80)
    assert printed.count("pending: (A, B, 1)") == 20 and "… 480 more requests pending" in printed


def test_results_have_what_is_no_success_first_and_count_the_rest():
    report = longest()
    waiting = [Operation(("A", 0, TRANSFER, "A", "B", 1), 1)] * 2500
    document = results.document(FILE, CONFIG, [report], waiting, Verdict.VALID)
    (of_set,) = document["sets"]
    outcomes = [step["outcome"] for step in of_set["steps"]]
    assert len(outcomes) == 2000 and of_set["steps_left_out"] == 5060
    assert (outcomes.count("failed"), outcomes.count("pending")) == (1500, 500)
    assert of_set["outcomes"] == {
        "success": 4000, "failed": 1500, "pending": 1500, "no-leader": 60
    }  # fmt: skip
    assert (len(document["pending"]), document["pending_left_out"]) == (2000, 500)
    assert len(json.dumps(document)) < 1_000_000
    short = results.document(FILE, CONFIG, [longest(5, 1, 0, 0)], [], Verdict.VALID)["sets"][0]
    assert len(short["steps"]) == 6 and short["steps_left_out"] == 0


def test_results_have_the_accounts_that_changed_when_there_are_very_many():
    names = tuple(f"account{number}" for number in range(5000))
    config = replace(CONFIG, accounts=names, initial_balance=1_000_000)
    report = many_accounts(5000, changed=12)
    of_set = results.document(FILE, config, [report], [], Verdict.VALID)["sets"][0]
    assert list(of_set["replicas"]["n2"]["balances"]) == list(names[:12])
    assert of_set["accounts_left_out"] == 4988


def test_junit_has_one_case_for_many_steps_that_came_to_nothing():
    written = junit.run(FILE, CONFIG, [longest()]).decode()
    assert written.count("<testcase ") == 5 + 200 + 1 and "1360 more steps" in written


def test_the_page_has_some_of_the_steps_and_says_of_how_many():
    page = html.page(FILE, CONFIG, [longest()], [], traces=[{}], moments=[])
    assert page.count("(C, D, 9)") <= 2 * html.MOST_STEPS and len(page) < 1_000_000
    said = "1,000 of 7,060 steps (4,000 success, 1,500 failed, 1,500 pending, 60 no-leader)"
    assert said in page


def test_a_curve_of_very_many_changes_keeps_its_extremes():
    points = [(0, 10), *((slot, 500 if slot == 7000 else slot % 9) for slot in range(1, 20_001))]
    thin = charts._thinned(points[1:], 20_000)
    assert len(thin) <= 3 * charts.PANEL_WIDTH and (7000, 500) in thin and thin[-1] == points[-1]
    panel = charts._panel(charts.Curve("A", tuple(points)), 20_000, 500, [20_000])
    assert len(panel) < 20_000 and "19,950 others, " in panel


def test_an_expectation_of_very_many_entries_is_said_in_part():
    what = Outcomes({str(at): "success" for at in range(1, 5001)})
    assert describe(what).endswith("step 50 success and 4,950 more")
