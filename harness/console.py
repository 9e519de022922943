"""The prompt between sets: reads commands, asks the runner and the cluster, prints tables.

A command is refused in one line, which says what was expected, and never ends the run. Nothing
here reads the terminal or a pipe itself but `TerminalLines` and `PipedLines`; no control code is
written unless it is to a terminal.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from bank.ballot import ReplicaId, replica_name
from harness import table_answers, tables
from harness.config import ClusterConfig
from harness.driver import Cluster, Liveness, ReplicaView
from harness.errors import nearest
from harness.nemesis import Fail, FailLeader, Fault, Recover
from harness.runner import Performance, Progress, SetReport, StepReport
from harness.testset import CaseSet, Command, Names, parse_step
from harness.text_file import shown

MOST_ROWS = 1000  # slots that one command may ask for
LAST_SLOTS = 40  # that PrintSlots shows unasked
REFRESHES_PER_SECOND = 8


class Refused(Exception):
    """A command of the prompt that cannot be done; the text says why and what was expected."""


class Sets(Protocol):
    """What the prompt needs of a `harness.runner.Runner`."""

    reports: list[SetReport]

    @property
    def remaining(self) -> int:
        """Sets still to be run."""
        ...

    def run_next(self) -> SetReport:
        """Run the next set."""
        ...

    def poke(self, action: Command | Fault) -> StepReport:
        """Do one thing between sets."""
        ...

    def performance(self) -> Performance:
        """All answers so far."""
        ...


class Lines(Protocol):
    """Where commands come from."""

    runs_on: bool  # at the end of the lines: run what is left (True), or stop (False)

    def read(self, prompt: str) -> str | None:
        """The next line without its end; None when there are no more."""
        ...


@dataclass(frozen=True, slots=True)
class Word:
    """One command of the prompt."""

    name: str
    arguments: str  # as `help` shows them; [those in brackets] may be left out
    shows: str
    least: int = 0  # arguments
    most: int = 0
    takes: str = ""  # "replica" or "account": what Tab offers for an argument

    @property
    def usage(self) -> str:
        """ "PrintLog n1" """
        return f"{self.name} {self.arguments}".strip()


MANY = 10_000
WORDS = (
    Word("PrintLog", "n1", "the messages n1 sent and read in this set", 1, 1, "replica"),
    Word("PrintDB", "[n1]", "balances of all replicas, or of one", 0, 1, "replica"),
    Word("PrintStatus", "12 [13 20-29 …]", "how far these slots are at every replica", 1, MANY),
    Word("PrintView", "", "every NEW-VIEW of this set: who became leader, with what"),
    Word("PrintSlots", "n1 [1-20]", "the log of n1, slot by slot", 1, 2, "replica"),
    Word("PrintSteps", "", "every step of this set with its result"),
    Word("performance", "", "throughput and latency so far"),
    Word("next", "", "run the next set (or just Enter)"),
    Word("run", "", "run all the sets that are left"),
    Word("quit", "", "stop here; the exit code is the verdict of the sets run"),
    Word("help", "", "this, and what the signs mean"),
    Word("fail", "n3", "fail a replica, in this run's way of failing", 1, 1, "replica"),
    Word("recover", "n3", "bring a failed replica back", 1, 1, "replica"),
    Word("lf", "", "fail the current leader"),
    Word("send", "A B 3", "transfer 3 from A to B", 3, 3, "account"),
    Word("read", "A", "read the balance of A through the log", 1, 1, "account"),
)
_BY_NAME = {word.name.lower(): word for word in WORDS}


class TerminalLines:
    """Lines typed at a terminal, with history and completion where readline exists."""

    runs_on = False

    def __init__(
        self, complete: Callable[[str, str], list[str]], bold: bool, errors: Console | None
    ) -> None:
        """`complete(before, word)` gives what `word` may become after the text `before`.

        With `errors` the prompt is written there: standard output goes to a file or a pipe.
        """
        self._bold = bold
        self._errors = errors
        if errors is not None:
            return
        try:
            import readline
        except ImportError:  # no completion then, and no history
            self._bold = False
            return
        found: list[str] = []

        def completer(word: str, state: int) -> str | None:
            if state == 0:
                found[:] = complete(readline.get_line_buffer()[: readline.get_begidx()], word)
            return found[state] if state < len(found) else None

        readline.set_completer_delims(" \t,")
        readline.set_completer(completer)
        if "libedit" in (readline.__doc__ or ""):
            readline.parse_and_bind("bind ^I rl_complete")
        else:
            readline.parse_and_bind("set completion-ignore-case on")
            readline.parse_and_bind("tab: complete")

    def read(self, prompt: str) -> str | None:
        """One line; None for Ctrl-D."""
        if self._errors is not None:
            self._errors.print(Text(prompt), end="")
            prompt = ""
        # readline must know which bytes take no room, or it misplaces the cursor.
        text = f"\001\033[1m\002{prompt}\001\033[0m\002" if self._bold and prompt else prompt
        try:
            return input(text)
        except EOFError:
            return None


class PipedLines:
    """Lines of a file or a pipe, each echoed so that the output reads like a session."""

    runs_on = True

    def __init__(self, stream: TextIO, console: Console) -> None:
        self._stream, self._console = stream, console

    def read(self, prompt: str) -> str | None:
        """One line; None at the end of the stream."""
        line = self._stream.readline()
        if not line:
            return None
        self._console.print(Text(f"{prompt}{shown(line, width=200)}".rstrip()))
        return line


class ProgressLine:
    """A line about the running set that vanishes when the set is done; on terminals only."""

    def __init__(self, console: Console, enabled: bool) -> None:
        self._console, self._enabled = console, enabled
        self._latest: Progress | None = None

    def show(self, progress: Progress) -> None:
        """The runner tells how it stands; drawn at the next refresh."""
        self._latest = progress

    @contextmanager
    def running(self) -> Iterator[None]:
        """Show the line while the body runs."""
        self._latest = None
        if not self._enabled:
            yield
            return
        with Live(
            console=self._console,
            get_renderable=self._render,
            refresh_per_second=REFRESHES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield

    def _render(self) -> RenderableType:
        return Text() if self._latest is None else tables.progress_line(self._latest)


def complete(config: ClusterConfig, before: str, word: str) -> list[str]:
    """What Tab offers for `word` after the text `before`, in any letter case."""
    words = before.split()
    if not words:
        offered = [known.name + (" " if known.most else "") for known in WORDS]
    else:
        known = _BY_NAME.get(words[0].lower())
        if known is None or len(words) > known.most:
            return []
        replicas = list(map(replica_name, range(1, config.nodes + 1)))
        offered = {"replica": replicas, "account": list(config.accounts)}.get(known.takes, [])
        if known.name == "PrintSlots" and len(words) > 1:
            return []
    return [offer for offer in offered if offer.lower().startswith(word.lower())]


class Prompt:
    """Steps through the sets, or runs them; prints each, and answers commands between them."""

    def __init__(
        self,
        console: Console,
        runner: Sets,
        cluster: Cluster,
        config: ClusterConfig,
        sets: Sequence[CaseSet],
        progress: ProgressLine,
    ) -> None:
        self._console = console
        self._runner = runner
        self._cluster = cluster
        self._config = config
        self._sets = sets
        self._progress = progress
        self._names = Names(config.nodes, config.accounts)
        self._poked: list[StepReport] = []  # since the last set
        self._legend_shown = False

    # ---- sets ----------------------------------------------------------------------------------

    def step_through(self, lines: Lines) -> None:
        """Run a set, then do what the lines say; ends after the last set, or at `quit`."""
        self.run_next()
        while True:
            line = lines.read(self.prompt_text())
            if line is None:
                if lines.runs_on:
                    self.run_rest()
                else:
                    self._console.print()  # the cursor still stands behind the prompt
                return
            if not self.obey(line):
                return

    def run_rest(self) -> None:
        """Run every set that is left."""
        while self._runner.remaining:
            self.run_next()

    def run_next(self) -> None:
        """Run the next set and print it."""
        before = self._config.balances()
        if self._runner.reports:
            before = tables.live_majority(self._runner.reports[-1].views) or before
        with self._progress.running():
            report = self._runner.run_next()
        self._poked.clear()
        self._console.print(tables.set_screen(report, self._config.failure, before))
        self._console.print()

    def prompt_text(self) -> str:
        """What stands before the cursor."""
        done = len(self._runner.reports)
        if self._runner.remaining:
            return f" set {self._sets[done].number} next [Enter], help for commands > "
        return " no set left, [Enter] ends, help for commands > "

    # ---- commands ------------------------------------------------------------------------------

    def obey(self, line: str) -> bool:
        """Do one command; False when the prompt is to end."""
        try:
            word, arguments = parse(line)
            return self._do(word, arguments)
        except Refused as refused:
            self._console.print(table_answers.refusal(str(refused)))
            return True

    def _do(self, word: str, arguments: list[str]) -> bool:
        match word:
            case "quit":
                return False
            case "next" | "run" if not self._runner.remaining:
                return False
            case "next":
                self.run_next()
            case "run":
                self.run_rest()
            case "fail" | "recover" | "lf" | "send" | "read":
                self._poke(word, arguments)
            case _:
                self._console.print(self._answer(word, arguments))
                self._console.print()
        return True

    def _answer(self, word: str, arguments: list[str]) -> RenderableType:
        match word:
            case "printlog":
                return self._message_log(self._replica(arguments[0]))
            case "printdb":
                return self._balances([self._replica(name) for name in arguments])
            case "printstatus":
                return self._slot_marks(arguments)
            case "printview":
                replicas = range(1, self._cluster.replicas + 1)
                traces = {replica: self._cluster.trace(replica) for replica in replicas}
                return table_answers.new_views(traces, self._set_began())
            case "printslots":
                return self._log_slots(self._replica(arguments[0]), arguments[1:])
            case "printsteps":
                steps = [*self._runner.reports[-1].steps, *self._poked]
                return tables.step_table(steps, self._config.failure)
            case "performance":
                return table_answers.performance(self._runner.performance())
            case "help":
                return table_answers.help_screen([(word.usage, word.shows) for word in WORDS])
        raise AssertionError(f"{word} is in WORDS and does nothing")

    def _message_log(self, replica: ReplicaId) -> RenderableType:
        lines, dropped = self._cluster.trace(replica)
        return table_answers.message_log(lines, dropped, self._view(replica), self._set_began())

    def _set_began(self) -> int:
        """Times of messages count from the first one of this set at any replica."""
        traces = (self._cluster.trace(r)[0] for r in range(1, self._cluster.replicas + 1))
        return min((lines[0].at for lines in traces if lines), default=0)

    def _balances(self, replicas: Sequence[ReplicaId]) -> RenderableType:
        views = self._cluster.views()
        wanted = [view for view in views if not replicas or view.replica in replicas]
        accounts, remark = tables.changed_accounts(wanted, self._config.balances())
        return tables.Balances(wanted, accounts, remark, among=views)

    def _slot_marks(self, arguments: Sequence[str]) -> RenderableType:
        wanted = [_slots(argument) for argument in arguments]
        _refuse_too_many(sum(map(len, wanted)))
        slots = list(dict.fromkeys(slot for some in wanted for slot in some))
        views = self._cluster.views()
        marks = {view.replica: self._cluster.slots(view.replica, slots) for view in views}
        legend, self._legend_shown = not self._legend_shown, True
        committed = self._cluster.committed.slots
        return table_answers.slot_marks(slots, marks, views, committed, legend)

    def _log_slots(self, replica: ReplicaId, wanted: Sequence[str]) -> RenderableType:
        view = self._view(replica)
        left_out = ""
        if wanted:
            slots = _slots(wanted[0])
            _refuse_too_many(len(slots))
        else:
            last = view.status.last_slot
            first = max(1, last - LAST_SLOTS + 1)
            slots = range(first, last + 1)
            if first > 1:
                left_out = f"PrintSlots {replica_name(replica)} 1-{first - 1} shows the others"
        statuses = self._cluster.slots(replica, list(slots)) if slots else ()
        return table_answers.log_slots(view, statuses, self._cluster.committed.slots, left_out)

    def _poke(self, word: str, arguments: Sequence[str]) -> None:
        action = self._action(word, arguments)
        if isinstance(action, Fail | Recover):
            self._refuse_repetition(action)
        with self._progress.running():
            step = self._runner.poke(action)
        self._poked.append(step)
        self._console.print(tables.step_table([step], self._config.failure))
        self._console.print()

    def _action(self, word: str, arguments: Sequence[str]) -> Command | Fault:
        """What `parse_step` makes of the same words in a file."""
        match word:
            case "lf":
                return FailLeader()
            case "fail":
                return Fail(self._replica(arguments[0]))
            case "recover":
                return Recover(self._replica(arguments[0]))
        try:
            _, action = parse_step(f"({', '.join(arguments)})", self._names)
        except ValueError as error:
            raise Refused(str(error)) from None
        return action

    def _refuse_repetition(self, fault: Fail | Recover) -> None:
        name, liveness = replica_name(fault.replica), self._cluster.liveness(fault.replica)
        if liveness is Liveness.STOPPED:
            raise Refused(f"{name} stopped by itself and stays away: PrintDB shows its state")
        if (liveness is Liveness.LIVE) == isinstance(fault, Recover):
            raise Refused(f"{name} is {liveness.value} already")

    def _replica(self, name: str) -> ReplicaId:
        try:
            return self._names.replica(f"n{name}" if name.isdigit() else name)
        except ValueError as error:
            raise Refused(str(error)) from None

    def _view(self, replica: ReplicaId) -> ReplicaView:
        return self._cluster.views()[replica - 1]


def parse(line: str) -> tuple[str, list[str]]:
    """A command in lower case and its arguments; an empty line is "next". May raise Refused."""
    words = line.replace(",", " ").replace("(", " ").replace(")", " ").split()
    if not words:
        return "next", []
    name, arguments = words[0].lower(), words[1:]
    known = _BY_NAME.get(name)
    if known is None:
        what = shown(words[0])
        raise Refused(f'unknown command "{what}"{_suggestion(what)}; help lists all commands')
    if not known.least <= len(arguments) <= known.most:
        raise Refused(f"{known.name}: expected {known.usage}")
    return name, arguments


def _suggestion(word: str) -> str:
    hint = nearest(word.lower(), list(_BY_NAME))
    for lower, known in _BY_NAME.items():
        hint = hint.replace(f" {lower}?", f" {known.name}?")
    return hint


def _slots(text: str) -> range:
    """The slots of "12" or "12-17". May raise Refused."""
    first, dash, last = text.partition("-")
    if not (_is_slot(first) and (_is_slot(last) if dash else True)):
        raise Refused(f'"{shown(text)}" is no slot, expected a number such as 12, or 12-17')
    slots = range(int(first), int(last if dash else first) + 1)
    if not slots:
        raise Refused(f"{shown(text)} is empty, expected the smaller slot first")
    return slots


def _refuse_too_many(slots: int) -> None:
    if slots > MOST_ROWS:
        raise Refused(f"{slots} slots, expected at most {MOST_ROWS} at a time")


def _is_slot(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15 and int(text) > 0
