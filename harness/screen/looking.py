"""Commands that look at a cluster: what they may be asked, and the table that answers.

The prompt between sets has them, and the one that goes through a simulated run event by event.
"""

from collections.abc import Callable, Sequence

from rich.console import RenderableType
from rich.text import Text

from bank.ballot import ReplicaId, Slot, replica_name
from harness.cluster.driver import LOG, Looked, ReplicaView
from harness.files.config import ClusterConfig
from harness.files.steps import Names
from harness.files.text_file import shown
from harness.run import story
from harness.screen import answers, stories, tables
from harness.screen.cells import QUIET
from harness.screen.lines import Refused

MOST_ROWS = 1000  # slots or steps that one command may ask for
LAST_SLOTS = 40  # that PrintSlots shows unasked


class Looks:
    """See the module."""

    def __init__(
        self,
        cluster: Looked,
        config: ClusterConfig,
        done: Callable[[], Sequence[story.Done]],
        starts: story.Starts = (),
    ) -> None:
        """`done`: every set so far with its steps; `starts`, where a run has no sets: its own."""
        self._cluster, self._config, self._done = cluster, config, done
        self._starts = starts
        self._replicas = cluster.replicas
        self._names = Names(config.nodes, config.accounts)
        self._legend_shown = False

    def answer(self, word: str, arguments: Sequence[str]) -> RenderableType:
        """The table that answers; `word` in lower case. May raise Refused."""
        match word:
            case "printlog":
                return self._message_log(self.replica(arguments[0]))
            case "printdb":
                return self._balances([self.replica(name) for name in arguments])
            case "printbalance":
                return self._balances_of(arguments)
            case "printstatus":
                return self._slot_marks(arguments)
            case "printview":
                replicas = range(1, self._replicas + 1)
                of_set = self._cluster.traces().of_set
                traces = {replica: of_set(replica) for replica in replicas}
                return answers.new_views(traces, self._set_began())
            case "printslots":
                return self._log_slots(self.replica(arguments[0]), arguments[1:])
            case "timeline":
                return self._timeline()
            case "explain":
                return self._life(arguments[0])
            case "diff":
                return self._difference(*map(self.replica, arguments))
        raise AssertionError(f"{word} is in WORDS and does nothing")

    def _message_log(self, replica: ReplicaId) -> RenderableType:
        lines, dropped = self._cluster.traces().of_set(replica)
        return answers.message_log(lines, dropped, self._view(replica), self._set_began())

    def _set_began(self) -> int:
        """Times of messages count from here."""
        done = self._done()
        return done[-1][0].started_at if done else 0

    def _balances(self, replicas: Sequence[ReplicaId]) -> RenderableType:
        views = self._cluster.views()
        wanted = [view for view in views if not replicas or view.replica in replicas]
        accounts, remark = tables.changed_accounts(wanted, self._config.balances())
        return tables.Balances(wanted, accounts, remark, among=views)

    def _balances_of(self, names: Sequence[str]) -> RenderableType:
        accounts = list(dict.fromkeys(map(self._account, names)))
        return tables.Balances(self._cluster.views(), accounts)

    def _slot_marks(self, arguments: Sequence[str]) -> RenderableType:
        wanted = [slots_named(argument) for argument in arguments]
        refuse_too_many(sum(map(len, wanted)))
        slots = list(dict.fromkeys(slot for some in wanted for slot in some))
        views, left_out = self._cluster.views(), ""
        if all(LOG in view.untold for view in views):
            return Text(answers.NO_LOG, style=QUIET)
        if not wanted:
            slots, left_out = _last_slots(views, "PrintStatus")
        else:
            slots, left_out = _there(slots, views)
        marks = {view.replica: self._cluster.slots(view.replica, slots) for view in views}
        legend, self._legend_shown = not self._legend_shown, True
        committed = self._cluster.committed.slots
        return answers.slot_marks(slots, marks, views, committed, legend, left_out)

    def _log_slots(self, replica: ReplicaId, wanted: Sequence[str]) -> RenderableType:
        view = self._view(replica)
        left_out = ""
        if LOG in view.untold:
            return Text(f" {replica_name(replica)} does not tell its log", style=QUIET)
        if wanted:
            asked = slots_named(wanted[0])
            refuse_too_many(len(asked))
            slots, left_out = _there(list(asked), self._cluster.views())
        else:
            slots, left_out = _last_slots([view], f"PrintSlots {replica_name(replica)}")
        statuses = self._cluster.slots(replica, slots) if slots else ()
        return answers.log_slots(view, statuses, self._cluster.committed.slots, left_out)

    # ---- stories -------------------------------------------------------------------------------

    def _timeline(self) -> RenderableType:
        self._cluster.views()  # asked now, replicas have told all there is
        moments = story.timeline(
            self._cluster.traces().events, self._done(), self._replicas, self._starts
        )
        return stories.timeline(moments, self._replicas)

    def _life(self, wanted: str) -> RenderableType:
        slots = slots_named(wanted)
        if len(slots) > 1:
            raise Refused(f"{len(slots)} slots, expected one at a time")
        (slot,), cluster = slots, self._cluster
        telling = [view.replica for view in cluster.views() if LOG not in view.untold]
        statuses = {replica: cluster.slots(replica, slots)[0] for replica in telling}
        traces = cluster.traces()
        starts = self._starts or story.starts_of(report for report, _ in self._done())
        steps = [(r.number, s) for r, steps in self._done() for s in steps if s.slot == slot]
        return stories.life(
            slot,
            story.life(slot, traces, starts, self._replicas),
            statuses,
            cluster.committed,
            steps,
            sum(traces.of_run(replica)[1] for replica in range(1, self._replicas + 1)),
        )

    def _difference(self, one: ReplicaId, other: ReplicaId) -> RenderableType:
        if one == other:
            raise Refused(f"{replica_name(one)} twice, expected two replicas")
        views = self._cluster.views()
        left, right = views[one - 1], views[other - 1]
        compared = story.compare(left, right, self._cluster.slots)
        return stories.difference(left, right, compared)

    # ---- names ---------------------------------------------------------------------------------

    def replica(self, name: str) -> ReplicaId:
        """The replica that is meant. May raise Refused."""
        try:
            return self._names.replica(f"n{name}" if name.isdigit() else name)
        except ValueError as error:
            raise Refused(str(error)) from None

    def _account(self, name: str) -> str:
        try:
            return self._names.account(name)
        except ValueError as error:
            raise Refused(str(error)) from None

    def _view(self, replica: ReplicaId) -> ReplicaView:
        return self._cluster.views()[replica - 1]


def slots_named(text: str, what: str = "slot") -> range:
    """The slots of "12" or "12-17", or other rows that are counted. May raise Refused."""
    first, dash, last = text.partition("-")
    if not (_is_slot(first) and (_is_slot(last) if dash else True)):
        raise Refused(f'"{shown(text)}" is no {what}, expected a number such as 12, or 12-17')
    slots = range(int(first), int(last if dash else first) + 1)
    if not slots:
        raise Refused(f"{shown(text)} is empty, expected the smaller {what} first")
    return slots


def _last_slots(views: Sequence[ReplicaView], command: str) -> tuple[list[Slot], str]:
    """The last slots that these replicas know of, and how the others are asked for."""
    last = max(view.status.last_slot for view in views)
    first = max(1, last - LAST_SLOTS + 1)
    left_out = f"{command} 1-{first - 1} shows the others" if first > 1 else ""
    return list(range(first, last + 1)), left_out


def _there(asked: list[Slot], views: Sequence[ReplicaView]) -> tuple[list[Slot], str]:
    """Those of them that any replica knows of, and what is said of the others."""
    last = max(view.status.last_slot for view in views)
    found = [slot for slot in asked if slot <= last]
    if len(found) == len(asked):
        return found, ""
    return found, f"the last slot is {last}" if last else "there are none yet"


def refuse_too_many(rows: int, what: str = "slots") -> None:
    if rows > MOST_ROWS:
        raise Refused(f"{rows} {what}, expected at most {MOST_ROWS} at a time")


def _is_slot(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 15 and int(text) > 0
