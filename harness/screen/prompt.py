"""The prompt between sets: obeys commands, asks the runner and the cluster, prints tables.

A command is refused in one line, which says what was expected, and never ends the run. Reading
lines is the business of `console_lines`, what tables say that of `table_answers` and its like.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from bank.ballot import replica_name
from harness.cluster.driver import Cluster
from harness.cluster.journal import Liveness
from harness.cluster.nemesis import Fail, Recover
from harness.cluster.wording import counted
from harness.errors import EXIT_USAGE, HarnessError
from harness.files import writer
from harness.files.cases import Action, CaseFile
from harness.files.config import ClusterConfig
from harness.files.steps import Names, parse_step
from harness.files.text_file import shown
from harness.run import launch, pokes, story
from harness.run.runner import Runner
from harness.screen import answers, tables
from harness.screen.cells import QUIET, Parts, cell
from harness.screen.lines import (
    STEPS,
    Lines,
    Refused,
    cancelling,
    commands,
    left_out,
    listed_words,
    parse,
    save,
    word_named,
)
from harness.screen.looking import MOST_ROWS, Looks, refuse_too_many, slots_named
from harness.screen.progress import ProgressLine, may_redraw


class Prompt:
    """Steps through the sets, or runs them; prints each, and answers commands between them."""

    def __init__(
        self,
        console: Console,
        runner: Runner,
        cluster: Cluster,
        config: ClusterConfig,
        file: CaseFile,
        progress: ProgressLine,
        again: Callable[[Path], str],
        report: Callable[[Path | None], Path],
    ) -> None:
        """`again` gives the command that runs a saved file, `report` writes one and tells where.

        Both raise a HarnessError that says why they cannot.
        """
        self._console = console
        self._runner = runner
        self._cluster = cluster
        self._config = config
        self._file = file
        self._progress = progress
        self._again = again
        self._report = report
        self._replicas = cluster.replicas
        self._names = Names(config.nodes, config.accounts)
        self._cancels = False  # Ctrl-C, what is waited for
        self._was_cancelled = False  # what was done last
        self._looks = Looks(cluster, config, self._done)

    # ---- sets ----------------------------------------------------------------------------------

    def step_through(self, lines: Lines) -> None:
        """Run a set, then do what the lines say; ends after the last set, or at `quit`."""
        self._cancels = not lines.runs_on
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
        with self._progress.running():
            self._runner.run_next()
        self._print(len(self._runner.reports) - 1)

    def run_watched(self, watched: AbstractContextManager[None]) -> None:
        """Run every set in this context, then print those that ran, whatever ended it."""
        try:
            with watched:
                while self._runner.remaining:
                    self._runner.run_next()
        finally:
            for at in range(len(self._runner.reports)):
                self._print(at)

    def _print(self, at: int) -> None:
        """The tables of one set."""
        reports = self._runner.reports
        before: Mapping[str, int] = self._config.balances()
        if at:
            before = tables.live_majority(reports[at - 1].views) or before
        self._console.print(tables.set_screen(reports[at], self._config.failure, before))
        self._console.print()

    def prompt_text(self) -> str:
        """What stands before the cursor."""
        done = len(self._runner.reports)
        if self._runner.remaining:
            return f" set {self._file.sets[done].number} next [Enter], help for commands > "
        return " no set left, [Enter] ends, help for commands > "

    # ---- commands ------------------------------------------------------------------------------

    def obey(self, line: str) -> bool:
        """Do the commands of one line; False when the prompt is to end.

        None is done where one is no command, has too few or too many arguments or is a step that
        cannot be; nor is any after one that could not be done, or that Ctrl-C ended.
        """
        self._was_cancelled = False
        try:
            texts = commands(line)
            read = list(map(self._read, texts))
        except Refused as refused:
            self._console.print(answers.refusal(str(refused)))
            return True
        for place, (word, arguments, action) in enumerate(read, 1):
            rest = left_out(texts[place:])
            try:
                if not self._do(word, arguments, action):
                    return False
            except Refused as refused:
                self._console.print(answers.refusal(f"{refused}{rest}"))
                break
            if self._was_cancelled and rest:
                self._console.print(answers.refusal(f"Ctrl-C{rest}"))
                break
        return True

    def _read(self, text: str) -> tuple[str, list[str], Action | None]:
        """A command, its arguments, and what it does where that is a step. May raise Refused."""
        word, arguments = parse(text)
        match word:
            case "send" | "read":
                return word, arguments, self._action(f"({', '.join(arguments)})")
            case "step":
                return word, arguments, self._action(arguments[0])
            case _ if word in STEPS:
                return word, arguments, self._action(f"{word} {arguments[0]}")
        return word, arguments, None

    def _do(self, word: str, arguments: list[str], action: Action | None) -> bool:
        match word:
            case _ if action is not None:
                self._poke(action)
            case "quit":
                return False
            case "next" | "run" if not self._runner.remaining:
                return False
            case "next":
                self.run_next()
            case "run":
                self.run_rest()
            case "clear":
                if may_redraw(self._console):
                    self._console.clear()
            case "save" | "save!":
                self._save(arguments[0], overwrite=word == "save!")
            case "report":
                self._write_report(Path(arguments[0]).expanduser() if arguments[0] else None)
            case _:
                self._console.print(self._answer(word, arguments))
                self._console.print()
        return True

    def _answer(self, word: str, arguments: list[str]) -> RenderableType:
        match word:
            case "printview" if self._cluster.is_external:
                return answers.told_views(launch.told_views(self._cluster))
            case "printsteps":
                return self._steps(*arguments)
            case "performance":
                return answers.performance(self._runner.performance())
            case "help":
                return self._help(*arguments)
        return self._looks.answer(word, arguments)

    def _steps(self, wanted: str = "") -> RenderableType:
        """Rows are counted from 1, what was carried over first; as many as one command may show."""
        steps = self._done()[-1][1]
        rows = range(1, min(len(steps), MOST_ROWS) + 1)
        rows = slots_named(wanted, "step") if wanted else rows
        refuse_too_many(len(rows), "steps")
        last = f"the last step is {len(steps):,}" if steps else "there are none"
        if rows.start > len(steps) and wanted:
            return Text(f" no such steps: {last}", QUIET)
        table = tables.step_table(steps[rows.start - 1 : rows.stop - 1], self._config.failure)
        if rows.stop > len(steps) + 1:
            return Group(table, Text(f" {last}", QUIET))
        if wanted or rows.stop > len(steps):
            return table
        following = f"PrintSteps {rows.stop}-{rows.stop + MOST_ROWS - 1}"
        return Group(table, Text(f" {following} shows the next of {len(steps):,}", QUIET))

    def _help(self, topic: str = "") -> RenderableType:
        if topic.lower() == "signs":
            return answers.signs()
        if topic:
            word = word_named(topic)
            return answers.help_word(word.usage, word.shows, word.more)
        return answers.help_screen(listed_words())

    # ---- stories -------------------------------------------------------------------------------

    def _done(self) -> Sequence[story.Done]:
        """Every set with its steps and those poked after it."""
        return pokes.all_steps(self._runner.reports, self._runner.poked)

    # ---- pokes ---------------------------------------------------------------------------------

    def _poke(self, action: Action) -> None:
        if isinstance(action, Fail | Recover):
            self._refuse_repetition(action)
        try:
            with self._progress.running(), cancelling(self._cancels) as is_cancelled:
                steps = self._runner.poke(action, is_cancelled)
                self._was_cancelled = is_cancelled()
        except HarnessError as error:
            if error.exit_code != EXIT_USAGE:
                raise
            raise Refused(str(error)) from None
        self._console.print(tables.step_table(steps, self._config.failure))
        self._console.print()

    def _action(self, text: str) -> Action:
        """A step as in a file; a replica may be called by its number alone."""
        word, _, rest = text.partition(" ")
        if word in ("fail", "recover") and rest[:1].isdigit():
            text = f"{word} n{rest}"
        try:
            _, action = parse_step(text, self._names)
        except ValueError as error:
            raise Refused(str(error)) from None
        return action

    def _save(self, name: str, overwrite: bool) -> None:
        """What was done so far, as a file."""
        path = Path(name).expanduser()
        try:
            text, again = self._saved(path), self._again(path)
        except (ValueError, HarnessError) as error:
            raise Refused(f"{error}, expected a name that ends in .yaml") from None
        save(name, path, text, overwrite)
        sets = counted(len(self._runner.reports), "set")
        told = [f"{sets} and {counted(len(self._runner.poked), 'poke')} in {name}"]
        if any(case.expected for case in self._file.sets):
            told.append("without what the file expects")
        if self._cluster.committed.known_before:
            told.append("without the data that it began with")
        self._console.print(Parts(map(cell, (*told, f"again: {again}")), indent=1))
        self._console.print()

    def _write_report(self, path: Path | None) -> None:
        try:
            folder = self._report(path)
        except HarnessError as error:
            raise Refused(str(error)) from None
        sets = counted(len(self._runner.reports), "set")
        self._console.print(Parts([cell(f"{sets} in {folder / 'report.html'}")], indent=1))
        self._console.print()

    def _saved(self, path: Path) -> str:
        """The text of a file of this name. ValueError for what it cannot say."""
        sets = pokes.sets_as_run(self._file, self._runner.reports, self._runner.poked)
        match path.suffix.lower():
            case ".csv":
                return writer.csv_text(sets)
            case ".yaml" | ".yml":
                return writer.yaml_text(sets, self._config, f"Saved from {self._file.path}")
        raise Refused(f"{shown(str(path))}: expected a name that ends in .csv or .yaml")

    def _refuse_repetition(self, fault: Fail | Recover) -> None:
        name, liveness = replica_name(fault.replica), self._cluster.liveness(fault.replica)
        if liveness is Liveness.STOPPED:
            raise Refused(f"{name} stopped by itself and stays away: PrintDB shows its state")
        if (liveness is Liveness.LIVE) == isinstance(fault, Recover):
            raise Refused(f"{name} is {liveness.value} already")
