"""Going through a simulated run event by event, and back: typed through a pipe, as at a prompt."""

import io
import re
import sys
from pathlib import Path

import pictures
import pytest
from rich.console import Console

from bank.replica import Replica
from harness import cli
from harness.files import testset
from harness.files.cases import Command
from harness.run import launch
from harness.screen import step_through
from harness.screen.stepping import SteppingPrompt, complete
from harness.sim import scenario, stepper
from harness.sim.script_runner import play_text
from harness.sim.stepped_file import Sets
from harness.sim.stepper import Stepper, by_hand
from harness.sim.swarm import run_seed

ROOT = Path(__file__).parents[1]
TOUR = str(ROOT / "testsets" / "tour.csv")


def stepped(monkeypatch, *typed, file=TOUR, seed=7, width=100, **flags):
    """What is printed when these lines are typed, and the exit code."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, highlight=False, markup=False, emoji=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
    draft = testset.read(file)
    config = launch.settings({"seed": str(seed), **flags}, draft.overrides)
    code = step_through.file(console, draft.cases(config), config, "python run.py …")
    return stream.getvalue(), code


def states(text):
    """The marks of slots at n1, n2, …, each time that they are shown."""
    tables = re.findall(r"Replica .*\n((?: n\d .*\n)+)", text)
    return [[line.split()[-1] for line in table.splitlines()] for table in tables]


@pytest.fixture(autouse=True)
def soon_given_up(monkeypatch):
    """What never comes is not waited for as long as a person would."""
    monkeypatch.setattr(stepper, "MOST_EVENTS", 150)


@pytest.fixture
def half_is_enough():
    """The bug of docs/debugging-a-seed.md: a majority is one vote short."""
    with pictures.half_is_enough():
        yield


# ---- forward -------------------------------------------------------------------------------------


def test_enter_takes_one_event_after_the_other_through_the_whole_file():
    draft = testset.read(TOUR)
    config = launch.settings({"seed": "7"}, draft.overrides)
    going = Stepper("nodes 5", Sets(draft.cases(config), "disconnect"), 300, 1000)
    for _ in range(450):
        going.do(going.next())
    words = [step.words for step in going.done]
    assert "set 2: live n1 n2 n4" in words and "LF: disconnect n1" in words
    assert not going.world.open_requests()
    executed = [request[2:] for request, _ in going.world.committed.slots.values()]
    asked = [step.action for case in draft.cases(config).sets for step in case.steps]
    for command in asked:
        if isinstance(command, Command):
            assert tuple(command) in executed, command


def test_an_event_is_chosen_by_its_number_and_a_message_lost(monkeypatch):
    text, _ = stepped(monkeypatch, "", "until leads n1", "lose n1->n3", "deliver n1->n2", "99")
    assert "n1  -x n3  NEW-VIEW  (1, n1)" in text
    assert "n2  follows (1, n1)" in text
    assert "no event 99, expected 1 to " in text
    listed = text[text.rindex("Can happen next") :]
    number = re.search(r" (\d+)   n1 → n4 NEW-VIEW", listed)[1]
    text, _ = stepped(
        monkeypatch, "", "until leads n1", "lose n1->n3", "deliver n1->n2", f"lose {number}",
        "PrintLog n4",
    )  # fmt: skip
    assert "n4  -x" not in text and "n1  -x n4  NEW-VIEW  (1, n1)" in text
    assert "NEW-VIEW lost" in text[text.index("PrintLog n4") :]


def test_a_timer_runs_out_alone_and_who_fires_it_leads(monkeypatch):
    text, _ = stepped(monkeypatch, "", "until leads n1", "kill n1", "fire n4", "until leads n4")
    assert "n4  candidate in (2, n4)" in text
    assert "n4  leads (2, n4)" in text


@pytest.mark.parametrize("wanted", [1, 2, 5])
def test_until_leads_gets_whoever_is_named_there(monkeypatch, wanted):
    text, _ = stepped(monkeypatch, f"until leads n{wanted}")
    assert re.search(rf"n{wanted}  leads \(\d+, n{wanted}\)", text)


def test_until_what_never_comes_leaves_everything_where_it_was(monkeypatch):
    text, _ = stepped(
        monkeypatch, "", "kill n1", "kill n2", "kill n3", "until slot 90 chosen", "until slot 0"
    )
    assert re.search(r"slot 90 chosen: not within [\d,]+ events, so nothing was done", text)
    assert text.rstrip().endswith("4 events: no violation")
    assert 'until "slot 0": expected leads n2' in text


def test_what_follows_a_command_that_cannot_be_done_is_left_out_and_told(monkeypatch):
    text, _ = stepped(monkeypatch, "next; PritLog; next", "next")
    assert 'unknown command "PritLog"' in text and "(left out: next)" in text
    assert text.rstrip().endswith("2 events: no violation")


def test_until_chosen_stops_at_the_third_of_five_disks(monkeypatch):
    text, _ = stepped(monkeypatch, "", "until slot 1 chosen")
    assert states(text)[-1].count("A") == 3
    text, _ = stepped(monkeypatch, "", "until slot 1 executed n3", "until slot 1 executed n3")
    assert states(text)[-1][2].startswith("E")
    assert "that is so already" in text


def test_until_answered_means_those_who_ask_next_where_nobody_waits(monkeypatch):
    text, _ = stepped(monkeypatch, "until answered", "", "until answered")
    first, second = text.split("until answered")[2::2]
    assert "REPLY" in first and "REPLY" in second and "is so already" not in text


def test_until_answered_at_the_end_of_all_sets_is_so_already(monkeypatch, tmp_path):
    path = tmp_path / "one.csv"
    path.write_text('1,"(A, J, 3)","[n1, n2, n3, n4, n5]"\n')
    text, _ = stepped(monkeypatch, *["until answered"] * 2, file=str(path))
    assert text.count("▸ until answered") == 1 and "answered: that is so already" in text


def test_what_is_done_is_told_in_the_words_that_were_typed(monkeypatch):
    text, _ = stepped(
        monkeypatch, "", "until leads n2", "lose n2->n3", "fire n4", "kill n2", "deliver n2->n3"
    )
    assert all(f"▸ {words}\n" in text for words in ("lose n2->n3", "fire n4", "kill n2"))
    (shown_by,) = set(re.findall(r"left out: PrintLog (n\d) shows those of n\d", text))
    assert shown_by != "n1"


@pytest.mark.parametrize(
    ("width", "prompt"),
    [
        (80, " event 1, set 1 [Enter] next, help > quit"),
        (50, " event 1, set 1, help > quit"),
        (34, " event 1 > quit"),
    ],
)
def test_the_prompt_leaves_room_to_type(monkeypatch, width, prompt):
    text, _ = stepped(monkeypatch, "", "quit", width=width)
    assert prompt in text


def test_until_stops_where_it_is_at_ctrl_c():
    draft = testset.read(TOUR)
    config = launch.settings({"seed": "7"}, draft.overrides)
    going = Stepper("nodes 5", Sets(draft.cases(config), "disconnect"), 300, 1000)
    asked = iter((False, False, True))
    assert going.until("slot 1 chosen", lambda: next(asked)).steps == 3
    assert len(going.done) == 3 and not going.world.is_chosen(1)


# ---- back ----------------------------------------------------------------------------------------


def test_back_is_where_it_was_and_forward_is_the_same_again(monkeypatch):
    typed = ["", "until leads n1", "kill n2", "until slot 1 chosen"]
    there, _ = stepped(monkeypatch, *typed)
    again, _ = stepped(monkeypatch, *typed, "back 5", "forward 5")
    state = there[there.rindex(" Replica") : there.rindex(" event")]
    assert state in again[again.index("forward 5") :]
    back, _ = stepped(monkeypatch, *typed, "back 1000", "back 5")
    assert re.search(r"\d+ events happened, expected at most so many", back)


def test_another_way_keeps_the_one_that_was_left(monkeypatch):
    text, _ = stepped(
        monkeypatch, "", "until leads n1", "back 2", "kill n1", "branch", "branch dead", "go 1",
        "go dead", "go nowhere",
    )  # fmt: skip
    assert re.search(r"Branch +Events +Last\n 1 +\d+ ", text)
    assert "go dead comes here" in text
    after = text[text.index("> go 1") : text.index("> go dead")]
    assert " leader " in after and "crashed" not in after
    assert "n1        crashed" in text[text.index("> go dead") :]
    assert "no branch nowhere, expected one of: 1, dead" in text


def test_until_keeps_no_way_that_nobody_went(monkeypatch):
    text, _ = stepped(monkeypatch, "", "", "back 1", "until slot 9000 chosen", "branch")
    assert "no other way yet" in text


# ---- what stands beside it -----------------------------------------------------------------------


def test_tables_tell_of_this_moment(monkeypatch):
    text, _ = stepped(
        monkeypatch, "", "until slot 1 executed n2", "PrintLog n2", "PrintStatus", "PrintSlots n1",
        "PrintDB n1", "PrintBalance A", "PrintView", "timeline", "explain 1", "diff n1 n2",
    )  # fmt: skip
    for told in (
        "n2 live · ← read, → sent",
        "(A, J, 3)",
        "n1 leads (1, n1)",
        "a quorum holds it: chosen",
    ):
        assert told in text, told
    assert re.search(r"n1 +\*7 ", text)


def test_a_violation_is_told_at_once_and_taken_back(monkeypatch, half_is_enough):
    text, code = stepped(
        monkeypatch, "", "until leads n1", "lose n1->n3", "lose n1->n4", "lose n1->n5",
        "until slot 1 executed n1", "kill n1", "kill n2", "until leads n4", "until violation", "",
        failure="crash",
    )  # fmt: skip
    assert code == 1
    assert "✗ slot 1: n4 executed" in text
    assert "what must hold does not any more: back 1 takes the last event back" in text
    assert states(text)[-1] == ["E", "A", "A", "E", "A"]


def test_the_session_of_the_page_goes_as_the_page_says():
    typed = pictures.typed()
    assert len(typed) < 25 and sum(line.startswith("back ") for line in typed) == 2
    screens = pictures.session()
    plain = " ".join(" ".join(screens).split())
    shown = re.findall(r"```console\n(.*?)```", pictures.PAGE.read_text("utf-8"), re.DOTALL)
    assert shown
    for line in "\n".join(shown).splitlines():
        assert " ".join(line.split()) in plain, line


def test_the_picture_of_the_session_is_of_this_code():
    drawn = pictures.picture(pictures.session())
    assert pictures.PICTURE.read_text("utf-8") == drawn, "python -m tests.pictures draws it"
    assert max(len(screen.splitlines()) for screen in pictures.session()) <= pictures.ROWS


# ---- what is kept --------------------------------------------------------------------------------


def test_what_is_saved_as_a_script_is_played_the_same(monkeypatch, tmp_path):
    path = tmp_path / "x.txt"
    typed = (
        "",
        "until leads n1",
        "lose n1->n3",
        "kill n2",
        "until slot 1 executed",
        f"save {path}",
    )
    text, _ = stepped(monkeypatch, *typed, f"save {path}", f"save! {path}")
    assert "is there already: save!" in " ".join(text.split()), "a line may end at any word"
    saved = path.read_text("utf-8")
    assert saved.startswith("# Stepped through from: python run.py …")
    blocks = list(play_text(saved, "x.txt"))
    assert [block.expected for block in blocks] == [
        block.split("\n----\n")[1].splitlines() for block in saved.strip().split("\n\n")
    ]
    assert any("executes" in line for line in blocks[-1].expected)


def test_a_test_set_has_the_requests_and_what_was_done_by_hand(monkeypatch, tmp_path):
    path = tmp_path / "x.yaml"
    stepped(
        monkeypatch, "", "until leads n1", "kill n1", "until leads n2", "restart n1", "cut n1->n3",
        "(B, C, 1)", f"save {path}",
    )  # fmt: skip
    text = path.read_text("utf-8")
    assert 'failure: "crash"' in text
    steps = re.findall(r"- (?:- )?([(FRch].*)", text)
    assert steps[:2] == ["(A, J, 3)", "F(n1)"]
    assert "      - - (A, J, 3)\n        - F(n1)\n" in text  # nobody waited for the answer
    assert "R(n1)" in steps and "cut n1->n3" in steps and steps[-1] == "(B, C, 1)"
    draft = testset.read(str(path))
    assert draft.cases(launch.settings({}, draft.overrides))


def test_what_no_test_set_can_say_is_refused(monkeypatch, tmp_path):
    for typed, told in (
        (["kill n1", "pause n2"], "crash and pause: in a test set all fail in one way"),
        ([], "nothing of the file was submitted yet"),
    ):
        lines = [*([""] if typed else []), *typed] or ["kill n1"]
        text, _ = stepped(monkeypatch, *lines, f"save {tmp_path / 'x.yaml'}")
        assert told in text
    text, _ = stepped(monkeypatch, f"save {tmp_path / 'x.docx'}")
    assert "expected a name that ends in .txt, .yaml or .csv" in text
    assert not list(tmp_path.iterdir())


# ---- seeds ---------------------------------------------------------------------------------------


def seeded(monkeypatch, *typed, seed=3, nodes=(3,)):
    stream = io.StringIO()
    console = Console(file=stream, width=100, highlight=False, markup=False, emoji=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in typed)))
    code = step_through.seed(console, seed, scenario.SwarmOptions(nodes), "python run.py …")
    return stream.getvalue(), code


def test_a_seed_goes_as_it_went_until_somebody_chooses_otherwise(monkeypatch):
    text, code = seeded(monkeypatch, "until violation")
    ended = re.search(r"violation: not within ([\d,]+) events", text)
    assert code == 0 and ended
    text, _ = seeded(monkeypatch, "until slot 2 chosen", "back 3", "kill n1", "", "", "branch")
    assert "n1        crashed" in text
    assert re.search(r"\n 1 +\d+ ", text)


def test_a_seed_that_fails_leads_to_its_violation(monkeypatch, half_is_enough):
    outcomes = (run_seed(seed, scenario.SwarmOptions(nodes=(5,))) for seed in range(60))
    failed = next(one for one in outcomes if one.violation is not None and one.events < 3000)
    typed = ("until violation", "back 3", "", "", "")
    text, code = seeded(monkeypatch, *typed, seed=failed.seed, nodes=(5,))
    assert code == 1
    first_words = " ".join(str(failed.violation).split()[:4])
    assert text.count(f"✗ {first_words}") == 3  # twice, and at the end
    assert "fails after" in text


# ---- typed and refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("unti leads n2", 'unknown command "unti" (did you mean until?)'),
        ("deliver n1->n2", "no message is under way there"),
        ("deliver n1->n2 ACCEPT (1, n1) 4", "no ACCEPT (1, n1) 4 waits there"),
        ("deliver 1", "event 1 is no message that is under way"),
        ("fire n9", "n9"),
        ("fire", "fire: expected fire n2"),
        ("back 0", "0: expected a number from 1 on"),
        ("forward", "0 events were taken back"),
        ("until leads n9", "there is no n9, expected n1..n5"),
        ("restart n1", "n1 is running"),
        ("wake", "unknown command: wake"),
        ("(X, A, 1)", 'no account "X"'),
        ("explain x", '"x" is no slot'),
        ("help until", "its timers run out first"),
        ("?", "take the last event back"),
    ],
)
def test_a_line_that_cannot_be_done_is_refused_and_changes_nothing(monkeypatch, typed, told):
    text, code = stepped(monkeypatch, typed)
    assert told in " ".join(text.split()), text
    assert text.rstrip().endswith("0 events: no violation") and code == 0


def test_several_commands_in_a_line_up_to_one_that_cannot_be_done(monkeypatch):
    text, _ = stepped(monkeypatch, "next; fire n2;", "kill n1; back 99; next", "next; quit; next")
    assert text.rstrip().endswith("4 events: no violation")


def test_a_dead_or_absent_replica_has_no_timer(monkeypatch):
    text, _ = stepped(monkeypatch, "", "kill n1", "fire n1", "disconnect n2", "fire n2")
    assert "n1 is crashed, its timers stand still" in text
    assert "n2 is disconnected, its timers stand still" in text


def test_tab_completes_words_and_replicas():
    config = launch.settings({"seed": "1"}, {})
    assert complete(config, "", "unt") == ["until "]
    assert complete(config, "kill ", "n") == ["n1", "n2", "n3", "n4", "n5"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--replicas", "x"], "--replicas: the replicas that are stepped through are our own"),
        (["--watch"], "--watch: it shows the replicas after every event"),
        (["--format", "json"], "--format json: it is a prompt"),
        (["--durability", "memory"], "durability memory: a replica that is stepped through has a"),
        (["--unanswered", "drop"], "unanswered drop: clients ask until they are answered here"),
        (["--trace-format", "perfetto"], "--trace-format perfetto: no report is written"),
        (["--report", "r", "--no-step"], "--report: nothing is judged set by set"),
    ],
)
def test_options_that_do_not_go_with_it_are_refused(capsys, options, told):
    assert cli.main([TOUR, "--step-messages", *options]) == 2
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--seeds", "0:3"], "--step: found 3 seeds, expected one"),
        (["--seed", "3", "--trace"], "--trace: it runs to its end, leave out this or --step"),
        (["--seed", "3", "--shrink", "x"], "--shrink: it runs to its end"),
        (["--seed", "3", "--jobs", "2"], "--jobs 2: has no effect with --step, leave it out"),
        (["--seed", "3", "--seconds", "9"], "--seconds: has no effect with --step"),
    ],
)
def test_a_campaign_is_not_stepped_through(capsys, options, told):
    assert cli.main(["simulate", "--step", *options]) == 2
    assert told in capsys.readouterr().err


def test_both_are_there_from_the_command_line(capsys, monkeypatch):
    for arguments in ([TOUR, "--step-messages"], ["simulate", "--seed", "3", "--step"]):
        monkeypatch.setattr(sys, "stdin", io.StringIO("\nback\nquit\n"))
        assert cli.main(arguments) == 0
        assert "0 events: no violation" in capsys.readouterr().out


@pytest.mark.parametrize("width", [60, 80, 140])
def test_no_line_is_wider_than_the_screen(monkeypatch, width):
    text, _ = stepped(
        monkeypatch, "", "until leads n1", "until slot 1 executed n3", "back 3", "help",
        "explain 1", "PrintLog n1", width=width,
    )  # fmt: skip
    assert max(map(len, text.splitlines())) <= width


def test_a_replica_that_raises_is_a_violation_and_no_traceback(monkeypatch):
    def raises(self, *arguments):
        raise AssertionError("the log is empty")

    monkeypatch.setattr(Replica, "step", raises)
    draft = testset.read(TOUR)
    config = launch.settings({"seed": "1"}, draft.overrides)
    sets = Sets(draft.cases(config), "crash")
    going = Stepper("nodes 3", sets, 300, 1000)
    console = Console(file=io.StringIO(), width=80)
    prompt = SteppingPrompt(console, going, config, "")
    prompt.obey("")
    assert going.violation == "the log is empty"
    prompt.obey("back")
    assert going.violation is None


def test_a_replica_that_cannot_start_again_is_a_violation_too(monkeypatch):
    begins = Replica.__init__

    def starts(self, *arguments):
        if arguments[5] is not None:
            raise KeyError("rows")
        begins(self, *arguments)

    monkeypatch.setattr(Replica, "__init__", starts)
    draft = testset.read(TOUR)
    config = launch.settings({"seed": "1"}, draft.overrides)
    going = Stepper("nodes 3", Sets(draft.cases(config), "crash"), 300, 1000)
    going.do(by_hand("crash n1"))
    going.do(by_hand("restart n1"))
    assert going.violation.startswith("KeyError: 'rows'; ")
    going.back(1)
    assert going.violation is None
