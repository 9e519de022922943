"""The prompt: every command, what it refuses, and when it ends."""

import errno
import io
import os
import re
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from screen_fakes import (
    AFTER,
    CONFIG,
    FakeCluster,
    FakeRunner,
    cases,
    long_set,
    progress,
    set_six,
    troubled,
    view,
)

from bank.ledger import READ, TRANSFER
from harness.cluster.nemesis import Fail, FailLeader, Heal, KillAt, LinkFault, Recover
from harness.errors import HarnessError
from harness.files.cases import CaseFile, Command, Wait
from harness.screen import lines
from harness.screen.lines import PipedLines, Refused, TerminalLines, cancelling, complete
from harness.screen.progress import ProgressLine
from harness.screen.prompt import Prompt


class Session:
    """A prompt over fakes, whose output is `text()`."""

    def __init__(self, *reports, width=100):
        reports = reports or (set_six(), long_set())
        self.stream = io.StringIO()
        self.console = Console(
            file=self.stream, width=width, highlight=False, markup=False, emoji=False
        )
        self.cluster = FakeCluster(reports)
        self.runner = FakeRunner(reports)
        line = ProgressLine(self.console, enabled=False)
        file = CaseFile("x.csv", tuple(cases(reports)))
        self.reported = []
        self.prompt = Prompt(
            self.console,
            self.runner,
            self.cluster,
            CONFIG,
            file,
            line,
            lambda path: f"run {path}",
            self.report,
        )

    def report(self, path):
        self.reported.append(path)
        if path == Path("full"):
            raise HarnessError('full: holds "thesis"')
        return path or Path("report")

    def piped(self, text):
        self.prompt.step_through(PipedLines(io.StringIO(text), self.console))
        return self.text()

    def after_one_set(self, *lines):
        self.prompt.run_next()
        self.stream.truncate(0)
        self.stream.seek(0)
        self.going = [self.prompt.obey(line) for line in lines]
        return self.text()

    def text(self):
        return self.stream.getvalue()


def test_report_writes_where_it_is_told():
    session = Session(set_six(), long_set())
    text = session.after_one_set("report", "report a folder", "REPORT ~", "report full")
    assert session.reported == [None, Path("a folder"), Path.home(), Path("full")]
    assert "1 set in report/report.html" in text
    assert "1 set in a folder/report.html" in text
    assert 'full: holds "thesis"' in text and session.going == [True] * 4


# ---- stepping ----------------------------------------------------------------------------------


def test_a_set_runs_before_the_first_command():
    text = Session().piped("quit\n")
    assert text.index("Set 6 of 10") < text.index("set 10 next [Enter]")


@pytest.mark.parametrize("word", ["\n", "next\n", "  NEXT \n"])
def test_enter_and_next_run_one_set(word):
    session = Session(set_six(), long_set(), troubled())
    session.piped(word + "quit\n")
    assert len(session.runner.reports) == 2


def test_run_runs_all_and_the_prompt_stays():
    session = Session(set_six(), long_set(), troubled())
    text = session.piped("run\nPrintDB\n")
    assert session.runner.remaining == 0
    assert "no set left, [Enter] ends, help for commands > PrintDB" in text
    assert text.rstrip().endswith("* differs from the live majority")


@pytest.mark.parametrize("text", ["", "PrintView\n", "PrintView"])
def test_the_end_of_a_pipe_runs_the_rest(text):
    session = Session()
    session.piped(text)
    assert session.runner.remaining == 0


def test_quit_stops():
    session = Session()
    session.piped("quit\nnext\n")
    assert session.runner.remaining == 1


def test_the_end_of_a_terminal_stops():
    session = Session()
    session.prompt.step_through(SimpleNamespace(runs_on=False, read=lambda prompt: None))
    assert session.runner.remaining == 1


@pytest.mark.parametrize("word", ["", "next", "run", "quit", "exit", "Q"])
def test_after_the_last_set_these_end(word):
    session = Session(set_six())
    session.after_one_set("PrintDB", word)
    assert session.going == [True, False]


def test_piped_commands_are_echoed():
    text = Session().piped("printdb N1\nquit\n")
    assert " set 10 next [Enter], help for commands > printdb N1\n" in text


def test_echoes_hide_control_codes():
    text = Session().piped("\x1b[2Jboo\nquit\n")
    assert "\x1b" not in text and "unknown command" in text


# ---- commands ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("PRINTLOG n2", "leads (2, n2)"),
        ("printlog 2", "NEW-VIEW"),
        ("PrintLog n4", "n4: no messages in this set"),
        ("PrintDB", " n5 "),
        ("PrintDB n1", "stale"),
        ("PrintDB n4, 5", " n5 "),
        ("PrintStatus 16 17", "A accepted  C committed"),
        ("PrintStatus 1,2", "  2   E"),
        ("PrintStatus", " 16   X     E"),
        ("PrintBalance A", "n5"),
        ("PrintBalance a, j", "A    J"),
        ("? PrintDB", "balances by replica"),
        ("help exit", "quit: stop"),
        ("help send", "(A, B, 3), (A), F(n3), R(n3)"),
        ("PrintStatus 15-17", " 17   A"),
        ("PrintView", "n1 n3"),
        ("PrintSlots n1", "14 "),
        ("PrintSlots n1 3-4", "  4   E executed"),
        ("PrintSlots n1 16-99", " 17   A accepted"),
        ("PrintSlots n1 16-99", "the last slot is 17"),
        ("PrintSlots n1 50-99", "no such slots: the last slot is 17"),
        ("PrintStatus 16-99", "the last slot is 17"),
        ("PrintStatus 50 60-99", "no such slots: the last slot is 17"),
        ("PrintSteps 2-99", "the last step is 6"),
        ("PrintSteps 50", "no such steps: the last step is 6"),
        ("PrintSteps", "(E, J, 2)"),
        ("Performance", "p90"),
        ("timeline", "n1 disconnected (LF)"),
        ("timeline", "n2 leads (2, n2)"),
        ("explain 16", "n2   proposes "),
        ("explain 16", "answered after 403 ms"),
        ("explain 17", "nobody knows it to be committed"),
        ("diff n1 n2", "n1 is 2 slots behind"),
        ("DIFF 3 4", "n3 and n4 do not differ"),
        ("help", "PrintStatus [12 20-29]"),
        ("help", "fail n3, recover n3"),
        ("help signs", "was too small"),
        ("help FAIL", "before COMMIT"),
        ("help recover", "recover n3: bring one back."),
    ],
)
def test_commands_show(line, shown):
    assert shown in Session().after_one_set(line)


def test_the_legend_is_printed_once():
    assert Session().after_one_set("PrintStatus 1", "PrintStatus 1").count("A accepted") == 1


def test_print_steps_unfolds():
    text = Session(long_set()).after_one_set("PrintSteps")
    assert text.count("(C, D, 1)") == 49


def test_long_logs_show_their_end():
    report = set_six()
    views = (view(1, AFTER, upto=100), *report.views[1:])
    session = Session()
    session.cluster.views = lambda: views
    text = session.after_one_set("PrintSlots n1")
    assert " 61   E" in text and " 60   E" not in text and "PrintSlots n1 1-60" in text


def test_times_count_from_the_start_of_the_set():
    session = Session()
    assert " 1.4 " in session.after_one_set("PrintLog n1")


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("(A, B, 2)", Command(TRANSFER, "A", "B", 2)),
        (" ( a,b , 2 ) ", Command(TRANSFER, "A", "B", 2)),
        ("(A)", Command(READ, "A", "", 0)),
        ("F(n4)", Fail(4)),
        ("r (N1)", Recover(1)),
        ("fail n3", Fail(3)),
        ("recover N1", Recover(1)),
        ("fail 3", Fail(3)),
        ("fail leader", FailLeader()),
        ("fail leader before commit", FailLeader("before COMMIT")),
        ("Fail 3 BEFORE commit", KillAt(3, "before COMMIT")),
        ("cut n1 -> n2,n3", LinkFault("cut", frozenset({(1, 2), (1, 3)}))),
        ("delay n1<->n2 5 ms", LinkFault("delay", frozenset({(1, 2), (2, 1)}), 100, 5000, 5000)),
        ("lose n1->n2 30 %", LinkFault("lose", frozenset({(1, 2)}), 30)),
        ("heal", Heal()),
        ("wait 20 ms", Wait(20_000)),
        ("LF", FailLeader()),
        ("send a B 3", Command(TRANSFER, "A", "B", 3)),
        ("send (A, B, 3)", Command(TRANSFER, "A", "B", 3)),
        ("read j", Command(READ, "J", "", 0)),
    ],
)
def test_pokes(line, action):
    session = Session()
    session.after_one_set(line)
    assert [poke.action for poke in session.runner.poked] == [action]


@pytest.mark.parametrize(
    ("line", "actions"),
    [
        ("LF; (A, B, 1)", [FailLeader(), Command(TRANSFER, "A", "B", 1)]),
        ("(A, B, 1), (b)", [Command(TRANSFER, "A", "B", 1), Command(READ, "B", "", 0)]),
        ("F(n4),lf", [Fail(4), FailLeader()]),
        ("fail n3;PrintDB; read a;", [Fail(3), Command(READ, "A", "", 0)]),
        ("cut n1->n2, n3->n4; heal", [LinkFault("cut", frozenset({(1, 2), (3, 4)})), Heal()]),
        ('"(A)"', [Command(READ, "A", "", 0)]),
        ("fail n4; fail n1; read A", [Fail(4)]),
        ("read A; quit; read B", [Command(READ, "A", "", 0)]),
    ],
)
def test_several_commands_in_a_line(line, actions):
    session = Session()
    session.after_one_set(line)
    assert [poke.action for poke in session.runner.poked] == actions


def test_what_came_after_a_command_that_cannot_be_done_is_told():
    text = Session().after_one_set("fail n1; read A;PrintDB")
    assert "n1 is disconnected already (left out: read A; PrintDB)" in text


def test_a_remark_does_nothing():
    session = Session()
    assert session.after_one_set("# next; read A", "#") == ""
    assert session.going == [True, True] and len(session.runner.reports) == 1


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("read A # why", ["read A"]),
        ("(A, B, 1); # why; next", ["(A, B, 1)"]),
        ("read A#1", ["read A#1"]),
        ('save "my #1.csv"  # kept', ["save my #1.csv"]),
        ("  # all of it", []),
    ],
)
def test_a_remark_ends_its_line_and_no_name(line, read):
    assert [text.strip() for text in lines.commands(line)] == read


def test_a_name_in_quotes_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = Session()
    session.after_one_set("save \"my; file.yaml\"; report 'a folder'")
    assert [path.name for path in tmp_path.iterdir()] == ["my; file.yaml"]
    assert session.reported == [Path("a folder")]


def test_pokes_are_listed_by_print_steps_until_the_next_set():
    session = Session()
    assert session.after_one_set("send A B 3", "PrintSteps").count("(A, B, 3)") == 2
    session.prompt.obey("next")
    session.stream.truncate(0)
    session.prompt.obey("PrintSteps")
    assert "(A, B, 3)" not in session.text()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("PritLog n1", 'unknown command "PritLog" (did you mean PrintLog?)'),
        ("qiut", "(did you mean quit?)"),
        ("exot", "(did you mean exit?)"),
        ("w", 'unknown command "w"; help'),
        ("xyzzy", 'unknown command "xyzzy"; help lists all commands'),
        ("PrintLog", "PrintLog: expected PrintLog n1"),
        ("PrintLog n1 n2", "expected PrintLog n1"),
        ("PrintLog n9", 'unknown replica "n9", expected n1..n5'),
        ("(A, B", 'unknown step "(A, B"'),
        ("(A, Z, 2)", 'unknown account "Z"'),
        ("F(n9)", 'unknown replica "n9"'),
        ("PrintBalance", "expected PrintBalance A"),
        ("PrintBalance Z", 'unknown account "Z"'),
        ("exist", 'unknown command "exist" (did you mean exit?); help'),
        ("PrintStatus x", '"x" is no slot, expected a number'),
        ("PrintStatus 0", '"0" is no slot'),
        ("PrintStatus 5-4", "5-4 is empty"),
        ("PrintStatus 1-9999999", "9999999 slots, expected at most 1000"),
        ("PrintSlots n1 1-5000", "5000 slots"),
        ("PrintSlots n1 1-999999999999", "999999999999 slots, expected at most 1000"),
        ("send A B", "expected send A B 3"),
        ("send A Z 3", 'unknown account "Z"'),
        ("send A B 0", "not positive"),
        ("help x", 'no command "x"'),
        ("fail n1", "n1 is disconnected already"),
        ("fail n9", 'unknown replica "n9"'),
        ("fail leader before lunch", 'no point "before lunch"'),
        ("cut n1", 'found "n1", expected links'),
        ("cut", "expected cut n1->n3"),
        ("wait", "expected wait 200 ms"),
        ("wait for it", 'found "for it", expected 0.001 ms to 86400 s, as in wait 200 ms'),
        ("wait 60", 'found "60", expected 0.001 ms to 86400 s'),
        ("read A; PritLog n1", 'unknown command "PritLog" (did you mean PrintLog?)'),
        ("read A; (A, Z, 2)", 'unknown account "Z"'),
        ("(A, B, 1) (B, C, 2)", "nothing between them, expected (A, B, 1); (B, C, 2)"),
        ("(A)F(n3)", "2 steps with nothing between them, expected (A); F(n3)"),
        ("A, B, 1", 'unknown command "A" (did you mean (A, B, 1)?)'),
        ("F n3", 'unknown command "F" (did you mean F(n3)?)'),
        ("fail n1 n2", "2 replicas, expected one, as in fail n1"),
        ("[n1, n2]", "[n1, n2]: whom a set begins with stands in its file, expected fail or"),
        ("lf n3", "lf: expected lf alone"),
        (";", 'found ";", expected a command; help lists all'),
        ("save ''", "save '': an empty name"),
        ('report ""; quit', "an empty name, expected one between the quotes"),
        ("PrintSteps 0", '"0" is no step'),
        ("save", "expected save FILE"),
        ("save x.txt", "expected a name that ends in .csv or .yaml"),
        ("save /nowhere/x.csv", "cannot be written (No such file or directory)"),
        ("recover n2", "n2 is live already"),
        ("next 3", "expected next alone"),
        ("explain", "expected explain 12"),
        ("explain 1-2", "2 slots, expected one at a time"),
        ("diff n1", "expected diff n1 n5"),
        ("diff n1 1", "n1 twice"),
    ],
)
def test_refusals_take_one_line(line, told):
    session = Session(width=200)
    text = session.after_one_set(line)
    assert told in text and len(text.splitlines()) == 1
    assert session.going == [True] and not session.runner.poked


def test_a_full_disk_leaves_what_was_saved_before(tmp_path, monkeypatch):
    path = tmp_path / "mine.yaml"
    path.write_text("sets: earlier\n")

    def full(new, text, encoding):
        with new.open("w") as stream:
            stream.write(text[:9])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    text = Session(width=200).after_one_set(f"save! {path}", f"save {path.parent / 'new.yaml'}")
    assert text.count("cannot be written (No space left on device)") == 2
    assert path.read_text() == "sets: earlier\n" and list(tmp_path.iterdir()) == [path]


def test_who_stopped_by_itself_is_not_recovered():
    session = Session(troubled())
    assert "n5 stopped by itself" in session.after_one_set("recover n5")


def test_every_word_does_something(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for word in lines.WORDS:
        example = word.usage.replace("FILE", "x.csv").split(" [")[0]
        if word.name == "recover":
            example = "recover n1"
        text = Session().after_one_set(example)
        assert "expected" not in text and "unknown" not in text, example


# ---- completion --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "word", "offered"),
    [
        ("", "printl", ["PrintLog "]),
        ("", "PrintS", ["PrintStatus ", "PrintSlots ", "PrintSteps "]),
        ("", "Q", ["quit"]),
        ("PrintLog ", "", ["n1", "n2", "n3", "n4", "n5"]),
        ("printlog ", "N3", ["n3"]),
        ("PrintLog n1 ", "", []),
        ("PrintSlots n1 ", "", []),
        ("send ", "a", ["A"]),
        ("send A ", "j", ["J"]),
        ("diff n1 ", "n5", ["n5"]),
        ("fail ", "l", ["leader"]),
        ("fail n3 ", "before", ["before the write", "before COMMIT"]),
        ("fail n3 before ", "", []),
        ("cut ", "n1", ["n1->"]),
        ("cut ", "n1->N2", ["n1->n2"]),
        ("lose ", "n1<->n5", ["n1<->n5"]),
        ("help ", "sig", ["signs"]),
        ("help ", "printd", ["PrintDB"]),
        ("", "save", ["save ", "save! "]),
        ("", "rep", ["report "]),
        ("quit ", "", []),
        ("bogus ", "", []),
    ],
)
def test_completion(before, word, offered):
    assert complete(CONFIG, before, word) == offered


def test_completion_of_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.csv").touch()
    (tmp_path / "once").mkdir()
    assert complete(CONFIG, "save ", "on") == ["once/", "one.csv"]
    assert complete(CONFIG, "save! ", "one") == ["one.csv"]
    assert complete(CONFIG, "save ", "[") == []


class FakeReadline(SimpleNamespace):
    def __init__(self, doc, line):
        self.bound, self.line = [], line
        super().__init__(
            __doc__=doc,
            set_completer_delims=lambda delims: None,
            parse_and_bind=self.bound.append,
            get_line_buffer=lambda: line,
            get_begidx=lambda: line.rfind(" ") + 1,
            set_completer=lambda completer: setattr(self, "completer", completer),
        )


@pytest.mark.parametrize(
    ("doc", "bound"),
    [
        ("GNU readline", ["set completion-ignore-case on", "tab: complete"]),
        ("libedit readline", ["bind ^I rl_complete"]),
        (None, ["set completion-ignore-case on", "tab: complete"]),
    ],
)
def test_readline_is_bound(monkeypatch, doc, bound):
    fake = FakeReadline(doc, "printlog n")
    monkeypatch.setitem(sys.modules, "readline", fake)
    TerminalLines(
        lambda before, word: [before, word], bold=True, console=Console(file=io.StringIO())
    )
    assert fake.bound == bound
    assert [fake.completer("n", state) for state in range(3)] == ["printlog ", "n", None]


@pytest.mark.parametrize("bold", [True, False])
def test_codes_in_the_prompt_are_marked_for_readline(monkeypatch, bold):
    monkeypatch.setitem(sys.modules, "readline", FakeReadline("GNU", ""))
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "run")
    lines = TerminalLines(lambda before, word: [], bold, console=Console(file=io.StringIO()))
    assert lines.read("next > ") == "run"
    assert asked == ["\001\033[1m\002next > \001\033[0m\002" if bold else "next > "]


def test_without_readline_there_are_no_codes(monkeypatch):
    monkeypatch.setitem(sys.modules, "readline", None)
    asked = []
    monkeypatch.setattr("builtins.input", lambda prompt: asked.append(prompt) or "")
    TerminalLines(lambda before, word: [], True, console=Console(file=io.StringIO())).read("> ")
    assert asked == ["> "]


class Keys:
    """Stands for `input`: a line, or Ctrl-C or Ctrl-D where an exception is."""

    def __init__(self, *typed):
        self.typed, self.asked = list(typed), []

    def __call__(self, prompt):
        self.asked.append(prompt)
        key = self.typed.pop(0)
        if isinstance(key, str):
            return key
        raise key


def read(monkeypatch, *typed):
    stream, keys = io.StringIO(), Keys(*typed)
    monkeypatch.setattr("builtins.input", keys)
    lines = TerminalLines(lambda before, word: [], False, Console(file=stream, width=80))
    return lines, keys, stream


def test_ctrl_c_takes_back_a_line_and_says_how_to_end(monkeypatch):
    lines, keys, stream = read(monkeypatch, KeyboardInterrupt, "next")
    assert lines.read("> ") == "next" and keys.asked == ["> ", "> "]
    assert "Ctrl-C again ends the run" in stream.getvalue()


def test_a_second_ctrl_c_in_a_row_ends(monkeypatch):
    lines, _, _ = read(monkeypatch, KeyboardInterrupt, "help", *[KeyboardInterrupt] * 2)
    assert lines.read("> ") == "help"
    with pytest.raises(KeyboardInterrupt):
        lines.read("> ")


def test_the_end_of_a_terminal(monkeypatch):
    def end(prompt):
        raise EOFError

    monkeypatch.setattr("builtins.input", end)
    lines = TerminalLines(lambda before, word: [], False, Console(file=io.StringIO()))
    assert lines.read("> ") is None


# ---- Ctrl-C and where the output goes -----------------------------------------------------------


def test_ctrl_c_ends_a_wait_and_the_prompt_goes_on():
    before, session = signal.getsignal(signal.SIGINT), Session()
    asked = []

    def poke(action, is_cancelled):
        asked.append(is_cancelled())
        os.kill(os.getpid(), signal.SIGINT)
        asked.append(is_cancelled())
        return ()

    session.runner.poke = poke
    typed = iter(["wait 10 s; read A; quit", "quit"])
    session.prompt.step_through(
        SimpleNamespace(runs_on=False, read=lambda prompt: next(typed, None))
    )
    assert asked == [False, True] and signal.getsignal(signal.SIGINT) is before
    assert "Ctrl-C (left out: read A; quit)" in session.text()


def test_a_second_ctrl_c_ends_and_of_a_pipe_the_first():
    with pytest.raises(KeyboardInterrupt), cancelling(True) as is_cancelled:
        os.kill(os.getpid(), signal.SIGINT)
        assert is_cancelled()
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), cancelling(False) as is_cancelled:
        os.kill(os.getpid(), signal.SIGINT)
    assert not is_cancelled()


@pytest.mark.parametrize(
    ("typing", "seen", "steps"),
    [(True, True, True), (True, False, False), (False, False, True), (None, True, False)],
    ids=["a terminal", "a file or a pager", "a pipe", "nothing to read"],
)
def test_there_is_no_prompt_that_nobody_sees(monkeypatch, typing, seen, steps):
    stdin = None if typing is None else SimpleNamespace(isatty=lambda: typing)
    monkeypatch.setattr(sys, "stdin", stdin)
    monkeypatch.setattr(sys, "stdout", SimpleNamespace(isatty=lambda: seen))
    errors = io.StringIO()
    assert lines.may_step(Console(file=errors, width=80)) == steps
    assert ("all sets run without a stop" in errors.getvalue()) == (typing is True and not seen)


def test_clear_empties_a_terminal_and_writes_nothing_into_a_pipe():
    assert Session().after_one_set("clear") == ""
    session = Session()
    session.console.file.isatty = lambda: True
    session.console._force_terminal = True
    assert "\x1b[2J" in session.after_one_set("clear")


# ---- progress ----------------------------------------------------------------------------------


class Screen(io.StringIO):
    def isatty(self):
        return True


def test_progress_is_drawn_and_taken_away():
    stream = Screen()
    console = Console(file=stream, width=100, force_terminal=True, color_system="standard")
    line = ProgressLine(console, enabled=True)
    with line.running():
        line.show(progress(set_six()))
    assert "waits: LF in step 2" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[2K") or "\x1b[?25h" in stream.getvalue()


def test_ctrl_c_has_room_behind_the_progress():
    """Blanks would take it as much as words do."""
    stream = Screen()
    line = ProgressLine(Console(file=stream, width=60, force_terminal=True), enabled=True)
    with line.running():
        line.show(progress(set_six()))
    (shown,) = (part for part in stream.getvalue().splitlines() if "answ" in part)
    plain = re.sub(r"\x1b\[[?0-9;]*[a-zA-Z]", "", shown)
    assert plain.endswith("…") and len(plain) <= 60 - 3


def test_no_progress_in_pipes():
    stream = io.StringIO()
    line = ProgressLine(Console(file=stream, force_terminal=True), enabled=False)
    with line.running():
        line.show(progress(set_six()))
    assert stream.getvalue() == ""


def test_parse_refuses_with_the_usage():
    with pytest.raises(Refused, match="PrintLog: expected PrintLog n1"):
        lines.parse("printlog")
    assert lines.parse("") == ("next", [])
