"""The prompt that goes through a simulated cluster event by event, and back.

After each event it shows what happened, every replica in a line, and what can happen next. What is
refused is told in one line, and changes nothing. What commands do is `sim.stepper`'s business.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bank.ballot import ReplicaId, replica_name
from bank.status import Role
from harness.cluster.journal import Liveness
from harness.cluster.wording import counted
from harness.errors import EXIT_INVALID, EXIT_VALID, HarnessError, nearest
from harness.files.config import ClusterConfig
from harness.files.text_file import shown
from harness.screen import answers, tables
from harness.screen.cells import (
    ATTENTION,
    BAD,
    QUIET,
    STRONG,
    Column,
    Grid,
    Hanging,
    ballot_cell,
    cell,
    sentence,
)
from harness.screen.lines import (
    Lines,
    Refused,
    Word,
    cancelling,
    commands,
    completed,
    left_out,
    listed_words,
    names_of,
    save,
)
from harness.screen.looking import Looks
from harness.sim.script import ScriptError
from harness.sim.stepped import Event, Kind
from harness.sim.stepper import Done, Impossible, Step, Stepper, by_hand

MOST_LINES = 12  # of what happened, shown unasked
MOST_EVENTS = 12  # of what can happen
ROOM = 24  # characters for what is typed: "until slot 7 executed n1" among them
LAST_SLOTS = 12  # whose marks are shown
MANY = 10_000
WHOLE = ((0, 0),)  # there are no sets here that times would count from
_FAILING = "Also: disconnect and reconnect, pause and wake, cut n1->n2 and mend n1->n2."
_UNTIL = "It goes on with what Enter would do. With a replica named, its timers run out first. "
_UNTIL += "Ctrl-C stops it there."
_SAVED = "FILE ends in .txt: a script, which plays the same again; or, of a test set, in .yaml or "
_SAVED += ".csv: requests and faults so far, without which messages arrived. save! writes over one."
_SCRIPT = "So does any other command of a script (tests/scripts has many)."
WORDS = (
    Word("next", "", "the event with the arrow (or just Enter)", group="Go on", also=("run",)),
    Word("3", "", "this event of the list", joined=True),
    Word("until", "leads n2", "or slot 7 chosen, slot 7 executed n2, answered, quiet, violation", 1,
         MANY, more=_UNTIL),
    Word("deliver", "3", "this message (or n1->n2: the oldest there)", 1, MANY, group="Choose",
         more=_SCRIPT),
    Word("lose", "3", "this message is lost (or n1->n2: all there)", 1, MANY, also=("drop",)),
    Word("fire", "n2", "the timer of n2 runs out", 1, 1, "replica", also=("expire", "timeout")),
    Word("kill", "n2", "its process dies; restart n2", 1, MANY, "replica", more=_FAILING,
         also=("crash",)),
    Word("send", "A B 3", "a transfer of 3 from A to B", 3, 3, "account"),
    Word("read", "A", "a read", 1, 1, "account", joined=True),
    Word("back", "[3]", "take the last event back, or the last 3", 0, 1, group="Go back"),
    Word("forward", "[3]", "they happen again", 0, 1, joined=True),
    Word("branch", "[NAME]", "keep this way under a name, or list them", 0, 1),
    Word("go", "NAME", "to the end of another way", 1, 1, joined=True),
    Word("events", "", "all that can happen next", group="Look", also=("list",)),
    Word("PrintLog", "n1", "the messages n1 sent and read", 1, 1, "replica"),
    Word("PrintStatus", "[12 20-29]", "how far slots are at every replica", 0, MANY),
    Word("PrintSlots", "n1 [1-20]", "the log of n1, slot by slot", 1, 2, "replica"),
    Word("PrintDB", "[n1]", "balances by replica", 0, MANY, "replica"),
    Word("PrintBalance", "A", "the balance of this account", 1, MANY, "account", listed=False),
    Word("PrintView", "", "every NEW-VIEW: who led, with what"),
    Word("timeline", "", "who led when; elections, failures, returns"),
    Word("explain", "12", "the life of a slot: proposed, accepted, chosen", 1, 1),
    Word("diff", "n1 n5", "where two replicas differ", 2, 2, "replica"),
    Word("save", "FILE", "all that happened, as a script or a test set", 1, 1, "file", "Keep",
         more=_SAVED),
    Word("save!", "FILE", "over an old one", 1, 1, "file", more=_SAVED, joined=True),
    Word("quit", "", "stop; exit code 1 after a violation", also=("exit", "q"), group="End"),
    Word("help", "[until]", "this, or more on one command", 0, 1, "topic", also=("?",)),
)  # fmt: skip
_BY_NAME = {name.lower(): word for word in WORDS for name in (word.name, *word.also)}
_NAMES = names_of(WORDS)
_LOOKS = frozenset(word.name.lower() for word in WORDS if word.name.startswith("Print"))
_LOOKS |= {"timeline", "explain", "diff"}
# Of a script's commands, those that may begin a line that is not in WORDS.
_OF_SCRIPTS = ("again", "answer", "cut", "disconnect", "mend", "pause", "reconnect", "request",
               "restart", "retry", "seek", "settle", "slow", "tick", "time", "wake")  # fmt: skip


def complete(config: ClusterConfig, before: str, word: str) -> list[str]:
    """What Tab offers for `word` after the text `before`."""
    return completed(WORDS, config, before, word)


class SteppingPrompt:
    """See the module."""

    def __init__(
        self,
        console: Console,
        stepper: Stepper,
        config: ClusterConfig,
        repeat: str,
        test_set: Callable[[Sequence[Step], str], tuple[str, str]] | None = None,
    ) -> None:
        """`repeat` is the command that begins this again.

        `test_set(steps, suffix)` gives the text of a test set and how replicas fail in it,
        ValueError for what none can say.
        """
        self._console, self._stepper, self._config = console, stepper, config
        self._repeat, self._test_set = repeat, test_set
        self._cancels = False  # Ctrl-C, what `until` waits for

    def run(self, lines: Lines) -> int:
        """Do what the lines say, up to `quit` or their end; the exit code."""
        self._cancels = not lines.runs_on
        self._console.print(self._state())
        while (line := lines.read(self.prompt_text())) is not None:
            if not self._obey_all(line):
                break
        else:
            if not lines.runs_on:
                self._console.print()  # the cursor still stands behind the prompt
        stepper = self._stepper
        told = stepper.violation and f"✗ {stepper.violation}"
        events = counted(len(stepper.done), "event")
        self._console.print(Hanging(Text(f"{events}: {told or 'no violation'}")))
        return EXIT_INVALID if stepper.violation else EXIT_VALID

    def prompt_text(self) -> str:
        """What stands before the cursor, and leaves room to type behind it."""
        stepper = self._stepper
        event = f" event {len(stepper.done)}"
        at = f"{event}, {stepper.source.place(stepper.taken)}"
        texts = [f"{at} [Enter] next, help > ", f"{at}, help > ", f"{event} > "]
        fits = (text for text in texts if len(text) + ROOM <= self._console.width)
        return next(fits, texts[-1])

    # ---- commands ------------------------------------------------------------------------------

    def _obey_all(self, line: str) -> bool:
        """Do the commands of one line, up to one that cannot be; False: the prompt is to end."""
        rest: list[str] = []
        try:
            texts = commands(line)
            for place, text in enumerate(texts, 1):
                rest = texts[place:]
                if not self.obey(text):
                    return False
        except (Refused, Impossible) as refused:
            self._console.print(answers.refusal(f"{refused}{left_out(rest)}"))
        return True

    def obey(self, line: str) -> bool:
        """Do one command; False when the prompt is to end. May raise Refused or Impossible."""
        stepper = self._stepper
        word, _, rest = (line or "next").partition(" ")
        rest = rest.strip()
        if word.isdigit() and not rest:
            event, step = self._event(word)
            return self._show(event.words, stepper.do(step))
        if line.startswith("("):
            return self._ask(line)
        known = _BY_NAME.get(word.lower())
        if known is None:
            if word.lower() not in _OF_SCRIPTS:
                hint = nearest(shown(word), _NAMES)
                raise Refused(f'unknown command "{shown(word)}"{hint}; help lists all commands')
            return self._by_hand(line)
        if not known.least <= len(rest.split()) <= known.most:
            raise Refused(f"{known.name}: expected {known.usage}")
        return self._do(known.name.lower(), rest)

    def _do(self, word: str, rest: str) -> bool:
        stepper = self._stepper
        match word:
            case "quit":
                return False
            case "next":
                step = stepper.next()
                if step is None:
                    told = "nothing can happen any more"
                    if stepper.violation is not None:
                        told = "what must hold does not any more"
                    raise Refused(f"{told}: back 1 takes the last event back, quit ends")
                self._show(step.words, stepper.do(step))
            case "until":
                with cancelling(self._cancels) as is_cancelled:
                    done = stepper.until(rest, is_cancelled)
                told = " (stopped)" if is_cancelled() else ""
                self._show(f"until {rest}{told}", done)
            case "deliver" | "lose":
                self._of_message(word, rest)
            case "fire":
                self._by_hand(self._timer(self._named(rest)), f"fire {rest}")
            case "kill":
                name, _, point = rest.partition(" ")
                who = replica_name(self._named(name))
                self._by_hand(f"crash {who} {point.strip()}".strip(), f"kill {rest}")
            case "send" | "read":
                self._ask(f"({', '.join(rest.replace(',', ' ').split())})")
            case "back":
                stepper.back(_count(rest))
                self._show(f"back to event {len(stepper.done)}")
            case "forward":
                self._show("forward", stepper.forward(_count(rest)))
            case "branch" if rest:
                stepper.branch(rest)
                self._console.print(sentence(f"this way is kept: go {rest} comes here"))
            case "branch":
                self._console.print(self._branches())
            case "go":
                stepper.go(rest)
                self._show(f"branch {rest}")
            case "save" | "save!":
                self._save(rest, overwrite=word == "save!")
            case _:
                self._console.print(self._answer(word, rest))
                self._console.print()
        return True

    def _answer(self, word: str, rest: str) -> RenderableType:
        if word in _LOOKS:
            looks = Looks(self._stepper.world, self._config, tuple, WHOLE)
            return looks.answer(word, rest.replace(",", " ").split())
        if word == "events":
            return self._events(len(self._stepper.events()))
        if not rest:
            return answers.help_screen(listed_words(WORDS))
        if (known := _BY_NAME.get(rest.lower())) is None:
            raise Refused(f'no command "{shown(rest)}"{nearest(rest, _NAMES)}')
        return answers.help_word(known.usage, known.shows, known.more)

    def _named(self, name: str) -> ReplicaId:
        """May raise Refused."""
        return Looks(self._stepper.world, self._config, tuple, WHOLE).replica(name)

    def _timer(self, replica: ReplicaId) -> str:
        try:
            return self._stepper.world.timer(replica)
        except ScriptError as error:
            raise Refused(str(error)) from None

    def _event(self, number: str) -> tuple[Event, Step]:
        events = self._stepper.events()
        if not 1 <= int(number) <= len(events):
            raise Refused(f"no event {number}, expected 1 to {len(events)}: events lists them")
        return events[int(number) - 1]

    def _of_message(self, word: str, rest: str) -> None:
        if rest.isdigit():
            event, step = self._event(rest)
            if event.kind is not Kind.MESSAGE:
                raise Refused(f"event {rest} is no message that is under way")
            if word == "lose" and not event.lost:
                raise Refused("the notice of a death is the end of a queue, and never lost")
            if word == "lose":
                step = Step(f"lost: {event.words}", (event.lost,))
            self._show(step.words, self._stepper.do(step))
            return
        self._by_hand(f"{'drop' if word == 'lose' else word} {rest}", f"{word} {rest}")

    def _ask(self, text: str) -> bool:
        client = text.strip("( ").partition(",")[0].strip(") ")
        asked = f"request {self._stepper.world.believed(client)} {text}"
        if client not in self._config.accounts:
            raise Refused(
                f'no account "{shown(client)}"{nearest(client, list(self._config.accounts))}'
            )
        return self._by_hand(asked)

    def _by_hand(self, command: str, typed: str = "") -> bool:
        step = by_hand(command, typed)
        return self._show(step.words, self._stepper.do(step))

    def _save(self, name: str, overwrite: bool) -> None:
        path, steps = Path(name).expanduser(), self._stepper.done
        suffix = path.suffix.lower()
        again = "a script"
        try:
            if suffix == ".txt":
                text = self._stepper.script(f"Stepped through from: {self._repeat}")
            elif suffix in (".yaml", ".yml", ".csv") and self._test_set is not None:
                text, mode = self._test_set(steps, suffix)
                again = f"requests and faults, with --failure {mode}; not which messages arrived"
            else:
                kinds = ".txt" if self._test_set is None else ".txt, .yaml or .csv"
                raise Refused(f"{shown(name)}: expected a name that ends in {kinds}")
        except (ValueError, HarnessError) as error:
            raise Refused(f"{error}, expected a name that ends in .txt") from None
        save(name, path, text, overwrite)
        told = f"{counted(len(steps), 'event')} in {name}: {again}"
        self._console.print(sentence(told))

    # ---- what is shown -------------------------------------------------------------------------

    def _show(self, title: str, done: Done | None = None) -> bool:
        """What happened, and what is so now."""
        what: list[RenderableType] = [Hanging(Text(f"▸ {title}", STRONG), indent=0)]
        if done is not None:
            lines = done.lines
            if done.steps > 1:
                what.append(Text(f" {counted(done.steps, 'event')}", QUIET))
            if (left_out := len(lines) - MOST_LINES) > 0:
                told = f" {counted(left_out, 'line')} left out"
                acts = (line.partition(" ")[0] for line in reversed(lines[:left_out]))
                who = next((name for name in acts if re.fullmatch(r"n\d", name)), None)
                told += "" if who is None else f": PrintLog {who} shows those of {who}"
                what.append(Text(told, QUIET))
            what += [Hanging(Text(_narrow(line))) for line in lines[-MOST_LINES:]]
            what += [] if lines or not done.steps else [Text(" nobody does anything", QUIET)]
        self._console.print(Group(*what, Text(), self._state()))
        return True

    def _state(self) -> RenderableType:
        shown_: list[RenderableType] = [self._replicas(), Text()]
        violation = self._stepper.violation
        if violation is None:
            shown_.append(self._events(MOST_EVENTS))
        else:
            shown_ += [Hanging(Text(f"✗ {violation}", BAD)), Text(" back 1 takes it back", QUIET)]
        return Group(*shown_)

    def _replicas(self) -> RenderableType:
        world = self._stepper.world
        views = world.views()
        last = max(view.status.last_slot for view in views)
        slots = range(max(1, last - LAST_SLOTS + 1), last + 1)
        log = f"Slots {slots[0]}-{last}" if len(slots) > 1 else "Slot 1" if slots else "Slots"
        columns = [Column("Replica"), Column("Role"), Column("Follows"), Column("Promised"),
                   Column(log)]  # fmt: skip
        rows = []
        for view in views:
            marks = "".join(status.mark.value for status in world.slots(view.replica, slots))
            role = cell(view.liveness.value, ATTENTION)
            if view.liveness is Liveness.LIVE:
                leads = view.status.role is Role.LEADER
                role = cell(view.status.role.value, STRONG if leads else "")
            rows.append((
                cell(replica_name(view.replica)), role, ballot_cell(view.status.following),
                ballot_cell(view.status.promised), cell(marks),
            ))  # fmt: skip
        return Group(Grid(columns, rows), *tables.troubles(views))

    def _events(self, most: int) -> RenderableType:
        found, chosen = self._stepper.events(), self._stepper.next()
        columns = [Column("", right=True), Column("Can happen next", folds=True)]
        rows = []
        for number, (event, step) in enumerate(found, 1):
            is_next = chosen is not None and step.commands == chosen.commands
            sign = Text("→ " if is_next else "", STRONG)
            if number <= most or is_next:
                style = STRONG if is_next else QUIET if event.kind is Kind.TIMER else ""
                rows.append((Text.assemble(sign, str(number)), cell(event.words, style)))
        parts: list[RenderableType] = [Grid(columns, rows)]
        if (left_out := len(found) - len(rows)) > 0:
            parts.append(Text(f" {left_out} more: events shows all", QUIET))
        return Group(*parts)

    def _branches(self) -> RenderableType:
        if not self._stepper.branches:
            return Text(" no other way yet: back, and then something else, makes one", QUIET)
        columns = [Column("Branch"), Column("Events", right=True), Column("Last", folds=True)]
        rows = [
            (cell(name), cell(len(steps)), cell(steps[-1].words if steps else ""))
            for name, steps in self._stepper.branches.items()
        ]
        return Grid(columns, rows)


def _count(text: str) -> int:
    if text and not (text.isdigit() and int(text) > 0):
        raise Refused(f"{shown(text)}: expected a number from 1 on")
    return int(text or 1)


def _narrow(line: str) -> str:
    """A line of a trace without the room between its columns, which a terminal may not have."""
    return re.sub(r" {2,}", "  ", line)
