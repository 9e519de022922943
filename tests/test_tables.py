"""The tables at fixed widths, word for word, and what must hold at every width.

    PAXBANK_REWRITE=1 python -m pytest tests/test_tables.py

rewrites tests/golden/*.txt; read the difference before you keep it.
"""

import io
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.text import Text
from screen_fakes import (
    AFTER,
    BEFORE,
    GONE,
    TRACE,
    FakeCluster,
    FakeRunner,
    graded,
    judgements,
    long_set,
    many_accounts,
    pending_operation,
    progress,
    render,
    reported,
    sent,
    set_six,
    snapshot,
    troubled,
    view,
)
from test_story import made_up

from bank.ballot import Ballot
from bank.messages import NewView
from bank.sessions import NOOP_REQUEST
from bank.status import Role, SlotMark, SlotStatus
from harness.check.verdict import Verdict
from harness.cluster.journal import KEPT_IN_VIEW, Way
from harness.run import points
from harness.run.report import StepReport
from harness.screen import answers, tables, verdicts, watch
from harness.screen.cells import Column, Grid, Line, Parts, cell, duration, percentile
from harness.screen.lines import WORDS, listed_words, word_named

GOLDEN = Path(__file__).parent / "golden"
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


def screen(report, before=BEFORE):
    return tables.set_screen(report, "disconnect", before)


def many_screen():
    report = many_accounts()
    return screen(report, report.views[0].status.balances)


def graded_screen() -> RenderableType:
    runner = FakeRunner([graded()])
    runner.run_next()
    end = verdicts.verdict_lines(
        runner.verdict(), runner.reports, [], runner.performance(), (2.5, 12)
    )
    return Group(screen(graded()), end)


def answers_screen() -> RenderableType:
    cluster = FakeCluster([set_six()])
    views = cluster.views()
    slots = [1, 16, 17, 99]
    marks = {v.replica: cluster.slots(v.replica, slots) for v in views}
    runner = FakeRunner([set_six()])
    runner.run_next()
    committed = cluster.committed.slots
    parts: list[RenderableType] = [
        answers.message_log(TRACE, 3, views[1], 5_000_000),
        answers.new_views({r: cluster.traces().of_set(r) for r in range(1, 6)}, 5_000_000),
        answers.slot_marks(slots, marks, views, committed, legend=True),
        answers.log_slots(views[1], cluster.slots(2, [15, 16, 17]), committed, "and more"),
        tables.Balances(views[:1], list(AFTER), among=views),
        answers.performance(runner.performance()),
        verdicts.verdict_lines(
            Verdict.VALID, runner.reports, [pending_operation()], runner.performance()
        ),
        answers.help_screen(listed_words()),
        answers.signs(),
        answers.help_word("fail n3", "fail a replica", word_named("fail").more),
        answers.refusal('unknown command "x"'),
        tables.progress_line(progress(set_six())),
    ]
    return Group(*(line for part in parts for line in (part, Text())))


def stories() -> RenderableType:
    return Group(*(line for part in made_up() for line in (part, Text())))


def watched() -> RenderableType:
    runner = FakeRunner([troubled(), set_six(), set_six()])
    for _ in range(3):
        runner.run_next()
    head = watch.sets_head(progress(set_six()), runner.reports, "ten-sets.csv")
    return watch.watch_screen(head, snapshot())


GOLDENS = {
    "watched": watched,
    "set_six": lambda: screen(set_six()),
    "troubled": lambda: screen(troubled()),
    "graded": graded_screen,
    "long_set": lambda: screen(long_set()),
    "many_accounts": many_screen,
    "answers": answers_screen,
    "stories": stories,
}


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("name", GOLDENS)
def test_golden(name, width):
    printed = render(GOLDENS[name](), width)
    path = GOLDEN / f"{name}_{width}.txt"
    if os.environ.get("PAXBANK_REWRITE"):
        path.write_text(printed, encoding="utf-8")
    assert printed == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", GOLDENS)
def test_fits_every_width(name):
    for width in range(60, 161, 5):
        for line in render(GOLDENS[name](), width).splitlines():
            assert cell_len(line) <= width, f"{width}: {line}"
            assert line == line.rstrip(), f"{width}: {line!r} ends in blanks"


@pytest.mark.parametrize("name", GOLDENS)
def test_colour_only_repeats_what_words_say(name):
    coloured = render(GOLDENS[name](), 80, color=True)
    assert "\x1b[" in coloured
    assert ESCAPES.sub("", coloured) == render(GOLDENS[name](), 80)
    codes = {
        int(c) for found in re.findall(r"\x1b\[([0-9;]+)m", coloured) for c in found.split(";")
    }
    unreadable = {33, 34, 36, 37, 93, 94, 96, 97} & codes  # on a light or a dark ground
    assert not unreadable


def test_nothing_essential_is_lost_when_narrow():
    printed = render(screen(set_six()), 60)
    assert "was leader" in printed and "stale" in printed and "disconnected" in printed
    rows = [line.split() for line in printed.splitlines() if line.startswith(" n3 ")]
    assert [row for row in rows if row[1:11] == [str(AFTER[a]) for a in "ABCDEFGHIJ"]]


def test_digest_goes_first_then_promised():
    table = tables.replica_table(set_six().views)
    heads = {width: render(table, width).splitlines()[0].split() for width in (80, 66, 56)}
    assert "Digest" in heads[80] and "Promised" in heads[80]
    assert "Digest" not in heads[66] and "Promised" in heads[66]
    assert "Digest" not in heads[56] and "Promised" not in heads[56]
    assert heads[56] == ["Replica", "State", "Role", "Commit", "Exec", "Lag"]


def test_numbers_stand_at_the_right():
    report = set_six()
    lines = render(tables.step_table(report.steps, "disconnect"), 80).splitlines()
    at = lines[0].index("Seq") + len("Seq")
    assert [line[:at].split()[-1] for line in lines[1:4]] == ["12", "13", "14"]


def test_rows_of_another_length_are_refused():
    with pytest.raises(AssertionError, match="1 cells for 2"):
        Grid([Column("a"), Column("b")], [[cell("x")]])


@pytest.mark.parametrize("width", [12, 24, 33, 40, 43, 48, 60])
def test_nothing_of_a_cell_is_cut_where_its_column_has_no_room(width):
    """As in `PrintStatus` of nine replicas on half a terminal: an amount was another amount."""
    columns = [Column(f"n{number}") for number in range(1, 10)] + [Column("Request", folds=True)]
    row = [*(cell("E") for _ in range(9)), cell("(alice, bob, 3000000000000000000)")]
    printed = render(Grid(columns, [row]), width).split()
    assert "".join(printed).endswith("E" * 9 + "(alice,bob,3000000000000000000)")


def test_data_is_never_markup():
    steps = [StepReport("1", "[n1, n2] [bold]x[/bold]", "success")]
    assert "[n1, n2] [bold]x[/bold]" in render(tables.step_table(steps, "crash"), 80)


# ---- steps -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "failure", "shown"),
    [
        (reported("1", "(A, B, 1)", "success"), "crash", "✓ success"),
        (reported("1", "(A)", "success", 0), "crash", "✓ balance 0"),
        (reported("1", "(A, B, 1)", "failed"), "crash", "✗ failed"),
        (reported("1", "(A, B, 1)", "pending"), "crash", "… pending"),
        (reported("1", "LF", "no-leader"), "crash", "– no-leader"),
        (reported("1", "LF", "done", node=2), "crash", "n2 crashed"),
        (reported("1", "F(n2)", "done", node=2), "pause", "n2 paused"),
        (reported("1", "F(n2)", "done", node=2), "disconnect", "n2 disconnected"),
        (reported("1", "F(n2)", "done", node=2), "asked", "n2 asked to fail"),
        (reported("1", "R(n2)", "done", node=2), "disconnect", "n2 returned"),
        (reported("1", "cut n1->*", "done"), "crash", "nothing arrives"),
        (reported("1", "heal n1->n2", "done"), "crash", "whole again"),
        (reported("1", "wait 5 ms", "done"), "crash", "waited"),
        (reported("1", "fail n2 after the write", "done", node=2), "pause", "n2 died"),
        (
            reported("1", "fail n2 after the write", "not-reached", node=2),
            "pause",
            "– not-reached by n2",
        ),
        (reported("1", "fail leader before COMMIT", "no-leader"), "pause", "– no-leader"),
    ],
)
def test_step_result(step, failure, shown):
    assert tables.step_result(step, failure).plain == shown


def test_fifteen_steps_are_not_folded_and_sixteen_are():
    steps = [reported(str(n), "(A, B, 1)", "success", latency_us=n) for n in range(1, 17)]
    assert "PrintSteps" not in render(tables.step_table(steps[:15], "crash", fold=True), 80)
    folded = render(tables.step_table(steps, "crash", fold=True), 80)
    assert "1-16" in folded and "16 steps" in folded and len(folded.splitlines()) == 3
    assert len(render(tables.step_table(steps, "crash"), 80).splitlines()) == 17


def test_what_failed_waits_or_broke_is_never_folded():
    steps = list(long_set().steps)
    steps[3] = reported("4", "LF", "no-leader")
    printed = render(tables.step_table(steps, "disconnect", fold=True), 80)
    assert printed.count("✗ failed") == 2
    assert "… pending" in printed and "no-leader" in printed and "n1 disconnected" in printed


def test_many_short_runs_fold_into_one_row():
    steps = long_set(failing=range(2, 50, 2)).steps
    printed = render(tables.step_table(steps, "disconnect", fold=True), 80)
    assert printed.count("✗ failed") == 23 and printed.count("✓ success") == 1


def test_fifty_transfers_leave_the_replicas_on_the_screen():
    assert len(render(screen(long_set()), 80).splitlines()) < 40


def test_a_set_without_steps():
    assert "no steps" in render(screen(replace(set_six(), steps=())), 80)


# ---- replicas and balances ---------------------------------------------------------------------


def test_lag_counts_from_what_anybody_knows_to_be_committed():
    views = (view(1, AFTER, upto=10), view(2, AFTER, GONE, upto=12))
    lines = render(tables.replica_table(views), 80).splitlines()
    assert [line.split()[-2] for line in lines[1:]] == ["2", "0"]


def test_a_leader_that_nobody_answers_is_marked():
    views = (view(1, AFTER, role=Role.LEADER, answered=False),)
    assert "leader?" in render(tables.replica_table(views), 80)


def test_checkpoints_have_a_column_once_there_are_any():
    assert "Ckpt" not in render(tables.replica_table([view(1, AFTER)]), 80)
    assert "Ckpt" in render(tables.replica_table([view(1, AFTER, checkpoint=1000)]), 80)


def test_the_majority_is_that_of_live_replicas():
    stale = [view(r, {"A": 1}, GONE) for r in (1, 2, 3)]
    assert tables.live_majority([*stale, view(4, {"A": 2})]) == {"A": 2}
    assert tables.live_majority(stale) == {}


def test_a_tie_goes_to_who_is_furthest():
    views = [view(1, {"A": 1}, upto=4), view(2, {"A": 2}, upto=5)]
    assert tables.live_majority(views) == {"A": 2}
    assert tables.live_majority(views[::-1]) == {"A": 2}


def test_only_what_differs_is_marked():
    views = [view(1, {"A": 1, "B": 5}), *(view(r, {"A": 2, "B": 5}) for r in (2, 3))]
    printed = render(tables.Balances(views, ["A", "B"]), 80)
    assert printed.count("*1") == 1 and "*5" not in printed and "*2" not in printed
    assert "* differs" in printed
    assert "*" not in render(tables.Balances(views[1:], ["A", "B"]), 80)


def test_beyond_ten_accounts_those_that_changed_are_shown():
    before = dict.fromkeys(map(str, range(11)), 10)
    after = {**before, "3": 9, "7": 11}
    views = [view(1, after), view(2, before)]
    assert tables.changed_accounts(views, before) == (["3", "7"], "9 of 11 accounts unchanged")
    shown, remark = tables.changed_accounts(views, before, most=1)
    assert shown == ["3"] and "1 more changed" in remark
    ten = dict.fromkeys("ABCDEFGHIJ", 1)
    assert tables.changed_accounts([view(1, ten)], ten) == (list(ten), "")


def test_accounts_that_do_not_fit_go_on_below():
    printed = render(many_screen(), 60)
    for number in range(12):
        assert f"account{number} " in printed or f"account{number}\n" in printed
        assert str(1_000_001 + number) in printed
    assert printed.count("Balance ") > 1 and printed.count("Sum") == 1


def test_who_stopped_by_itself_says_why():
    assert "✗ n5: n5.db: damaged: row 3 missing" in render(screen(troubled()), 80)


# ---- the rest ----------------------------------------------------------------------------------


def test_reasons_stand_on_lines_of_their_own():
    lines = render(verdicts.check_lines(troubled()), 80).splitlines()
    assert lines[0].split("  ")[0] == " ✗ agreement"
    assert lines[1] == " ✗ agreement: slot 17: n1 executed (A, B, 1), n2 (B, A, [1])"
    assert lines[2] == " ? linearizable: slots up to 10 are from an earlier run"
    assert (
        len(
            render(
                verdicts.check_lines(replace(troubled(), judgements=judgements())), 80
            ).splitlines()
        )
        == 1
    )


def test_each_expectation_that_does_not_hold_stands_where_the_file_says_it():
    printed = render(screen(graded()), 140)
    assert "✗ testsets/cut_off.yaml:21: balances: expected A 2, B 5, found B 6" in printed
    assert "✗ testsets/cut_off.yaml:23: leader: expected leader n1 or n3, found n2" in printed
    assert "cut_off.yaml:22" not in printed and "…" not in printed
    assert "2.5 of 10 points" in printed


def test_points_of_a_set_need_all_of_it():
    assert points.of_set(graded()) == (2.5, 10)
    whole = replace(graded(), judgements=judgements())
    assert points.of_set(whole) == (5, 10)
    assert points.of_set(set_six()) is None
    assert verdicts.points(1, 1) == "1 of 1 point"
    assert verdicts.points(0.1 + 0.2, 1_000_000) == "0.3 of 1000000 points"


@pytest.mark.parametrize(
    ("outcome", "leaderless_us", "told"),
    [
        ("done", 9_000, True),
        ("done", 0, False),  # nobody asked for anything
        ("success", 9_000, False),
        ("success", 120_000, True),
    ],
)
def test_time_without_a_commit_is_told_when_it_is_news(outcome, leaderless_us, told):
    steps = (reported("1", "(A)", outcome),)
    report = replace(set_six(), steps=steps, leaderless_us=leaderless_us)
    assert ("no commit for" in render(verdicts.set_timing(report), 80)) == told


@pytest.mark.parametrize(
    ("microseconds", "shown"),
    [(0, "0.00 ms"), (60, "0.06 ms"), (100, "0.1 ms"), (1_240, "1.2 ms"), (9_990, "10.0 ms"),
     (402_000, "402 ms"), (999_400, "999 ms"), (999_600, "1.00 s"), (12_500_000, "12.50 s")],
)  # fmt: skip
def test_duration(microseconds, shown):
    assert duration(microseconds) == shown


def test_percentile_is_the_nearest_rank():
    ordered = list(range(1, 101))
    assert [percentile(ordered, p) for p in (0, 50, 99, 100)] == [1, 50, 99, 100]
    assert percentile([5], 99) == 5


def test_parts_break_between_parts_only():
    parts = Parts([Text("one two"), Text("three four"), Text("five")], indent=1)
    assert render(parts, 20).splitlines() == [" one two", " three four · five"]


def test_a_new_view_is_listed_once_with_its_noops():
    traces = {r: FakeCluster([set_six()]).traces().of_set(r) for r in range(1, 6)}
    lines = render(answers.new_views(traces, 5_000_000), 100).splitlines()
    assert len(lines) == 2
    assert lines[1].split("  ")[0].strip() == "1.1"
    assert " n2 " in lines[1] and " 2 " in lines[1] and "n1 n3" in lines[1]


@pytest.mark.parametrize("fate", ["lost", "held", "doubled"])
def test_what_a_link_did_to_a_message_is_told_and_is_no_reading_of_it(fate):
    entry = sent(Way(fate), (2,), TRACE[4].event.message, TRACE[4].at)
    log = answers.message_log([entry], 0, view(3, AFTER), 5_000_000)
    assert f"n2    NEW-VIEW {fate}  " in render(log, 60)
    views = answers.new_views({2: (TRACE, 0), 3: ([entry], 0)}, 5_000_000)
    assert "n2" in render(views, 80) and "n3" not in render(views, 80)


def test_noops_that_are_not_all_shown_are_a_lower_bound():
    requests = (NOOP_REQUEST, *(("A", 1, "transfer", "A", "B", 1),) * (KEPT_IN_VIEW + 40))
    traces = {1: ([sent(Way.SENT, (), NewView(Ballot(2, 1), 1, requests, 0), 0)], 5)}
    printed = render(answers.new_views(traces, 0), 100)
    assert " 1+ " in printed and " … 41 more" in printed and "5 older messages not kept" in printed
    assert "nobody became leader" in render(answers.new_views({1: ((), 0)}, 0), 100)


def test_slots_that_differ_show_both_requests():
    cluster = FakeCluster([set_six()])
    views = cluster.views()
    marks = {v.replica: cluster.slots(v.replica, [17]) for v in views}
    printed = render(answers.slot_marks([17], marks, views, {}, legend=False), 80)
    assert printed.splitlines()[1].split()[:6] == ["17", "A", "A", "A", "X", "X"]
    assert "(A, B, 1) or no-op" in printed and "accepted" not in printed


def test_truncated_slots_print_what_was_committed():
    one = view(1, AFTER, truncated_upto=5)
    committed = {3: (("A", 7, "transfer", "A", "J", 3), "failed")}
    statuses = (SlotStatus(3, SlotMark.EXECUTED, None, None),)
    printed = render(answers.log_slots(one, statuses, committed, ""), 100)
    assert "E executed, truncated" in printed and "(A, J, 3)" in printed and "failed" in printed


def test_progress_says_who_leads():
    line = tables.progress_line(progress(set_six())).plain
    assert line.startswith("Set 6 of 10 · ○n1 ●n2 ●n3 ●n4 ●n5 · leader n2 · 3/6 answered")
    nobody = replace(set_six(), views=set_six().views[2:])
    assert "no leader" in tables.progress_line(progress(nobody)).plain


def test_the_end_lists_reasons_and_what_is_pending():
    runner = FakeRunner([troubled()])
    runner.run_next()
    printed = render(
        verdicts.verdict_lines(
            runner.verdict(), runner.reports, [pending_operation()], runner.performance()
        ),
        80,
    )
    assert "✗ invalid: a check does not hold, 1 set of 3 run" in printed
    assert "set 12, agreement: slot 17" in printed
    assert "… pending: (J, I, 1) of client J, from set 4" in printed


def test_help_has_every_sign_and_word():
    printed = render(answers.help_screen(listed_words()), 140)
    assert all(word.name in printed for word in WORDS)
    signs = render(answers.signs(), 140)
    assert all(meaning in signs for _, meaning in answers.SIGNS)


def test_help_is_one_screen():
    """Of 24 lines: one for the prompt it was asked at, one for the next, one between."""
    lines = render(answers.help_screen(listed_words()), 80).splitlines()
    assert len(lines) <= 24 - 2


LONG = [f"a_customer_with_a_long_name_000{number}" for number in range(4)]


@pytest.mark.parametrize("width", [50, 60, 72, 80, 100, 140])
def test_no_name_and_no_word_is_broken(width):
    """Those of steps and of balances, and what is said against a set."""
    base, accounts = set_six(), dict.fromkeys(LONG, 1_000_000_000)
    step = replace(base.steps[0], text=f"({LONG[0]}, {LONG[1]}, 1000000)")
    read = replace(base.steps[1], text=f"({LONG[2]})")
    report = replace(
        base,
        steps=(step, read),
        views=tuple(view(replica, accounts) for replica in range(1, 6)),
        judgements=judgements(agreement=(Verdict.INVALID, f"slot 17: n1 executed {step.text}")),
    )
    printed = render(tables.set_screen(report, "disconnect", {}), width)
    words = " ".join(printed.split())
    assert all(len(line) <= width for line in printed.splitlines())
    for name, times in zip(LONG, (3, 3, 2, 1), strict=True):
        assert words.count(name) == times, printed
    assert step.text in words and read.text in words


# ---- lines of words ------------------------------------------------------------------------------


def as_line(text, width=40, is_terminal=True):
    stream = io.StringIO()
    stream.isatty = lambda: is_terminal
    console = Console(file=stream, width=width, color_system=None, legacy_windows=False)
    console.print(Line(Text(text)), soft_wrap=True)
    return stream.getvalue()


def test_on_a_terminal_a_line_is_broken_between_words():
    told = " x.csv:2: Transactions: accounts 7, 14, 33 in 312 steps, expected A..J"
    assert as_line(told).splitlines() == [
        " x.csv:2: Transactions: accounts 7, 14,",
        "   33 in 312 steps, expected A..J",
    ]
    assert as_line("").splitlines() == [""]
    assert as_line("one\ntwo").splitlines() == ["one", "two"]
    assert as_line("四" * 15 + " " + "四" * 15).splitlines() == ["四" * 15, "  " + "四" * 15]


def test_a_path_stays_in_one_piece_and_a_pipe_gets_whole_lines():
    path = "/somewhere/" + "x" * 50 + "/n.csv:2:"
    assert as_line(f"{path} what is wrong").splitlines() == [path, "  what is wrong"]
    told = "word " * 30 + "end"
    assert as_line(told, is_terminal=False).splitlines() == [told]
