"""Processes and files that are broken on purpose: what the swarm cannot see, for it has its own.

Each is a mistake in a replica's turn, its queues or its file, and names the check of
`live_checks.py` that must fail with it.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bank.messages import Accepted, PeerDown, Prepare, Promise
from bank.sessions import Changed
from harness.live import storage, worker
from harness.live.storage import Storage
from harness.live.worker import Worker

from .kit import patched


@dataclass(frozen=True, slots=True)
class Broken:
    """One broken process or file."""

    name: str
    wrong: str  # what it does wrong, in a sentence
    comes_from: str  # the kind of mistake that leads there
    check: str  # that must fail
    patches: tuple[tuple[Any, str, Any], ...]  # owner, name, and what stands there instead

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """The process or file is the broken one for a while."""
        with ExitStack() as stack:
            for owner, name, broken in self.patches:
                stack.enter_context(patched(owner, name, broken))
            yield


PROCESSES: list[Broken] = []


def broken(
    wrong: str, comes_from: str, check: str, owner: Any, name: str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What it decorates stands in for `owner.name`; its own name is that of the mistake."""

    def register(function: Callable[..., Any]) -> Callable[..., Any]:
        species = "".join(word.capitalize() for word in function.__name__.split("_"))
        patches = ((owner, name, function),)
        PROCESSES.append(Broken(species, wrong, comes_from, check, patches))
        return function

    return register


# ---- the turn ------------------------------------------------------------------------------------

AFTER_THE_COMMIT = "what_speaks_of_the_disk_leaves_after_the_commit"
PERFORM = Worker._perform


def _hasty(kind: type, self: Worker, effects: Any) -> None:
    hasty = [send for send in effects.durable if isinstance(send.message, kind)]
    effects.durable = [send for send in effects.durable if send not in hasty]
    effects.early += hasty
    PERFORM(self, effects)


for _kind, _species in (
    (Prepare, "PrepareLeavesEarly"),
    (Promise, "AckLeavesEarly"),
    (Accepted, "AcceptedLeavesEarly"),
):
    PROCESSES.append(
        Broken(
            _species,
            f"{_kind.LABEL} is put on its queue before the turn is committed.",
            "The queue is written to where the message is made, and the file at the end of the "
            "turn.",
            AFTER_THE_COMMIT,
            ((Worker, "_perform", lambda self, effects, kind=_kind: _hasty(kind, self, effects)),),
        )
    )


@broken(
    "A write that failed is noted, and the turn goes on.",
    "An error of the disk taken for a matter of the log file: it will work next time.",
    "nothing_durable_leaves_when_the_write_fails",
    Worker,
    "_perform",
)
def failed_write_ignored(self, effects):
    try:
        PERFORM(self, effects)
    except storage.StorageError as error:
        self._control.send((worker.protocol.FAILED, str(error)))
        self._running = False
        self._say(effects.durable)


OVERSLEPT = "who_overslept_reads_its_queues_before_it_takes_silence_for_death"
TURN, WAIT = Worker._turn, Worker._wait


@broken(
    "Time-outs are looked at first, and the queues then.",
    "An event loop that runs its timers before its sockets. A process that was stopped or starved "
    "takes its own sleep for the others' silence.",
    OVERSLEPT,
    Worker,
    "_turn",
)
def ticks_before_it_reads(self):
    self._replica.tick(worker.now())
    TURN(self)


@broken(
    "The clock is read before the wait, and what is due when the wait ends has to wait again.",
    "`now` kept in a variable at the top of the loop, so that a turn has one time.",
    "what_is_due_when_the_wait_ends_is_done_in_that_turn",
    Worker,
    "_wait",
)
def clock_of_before_the_wait(self):
    began = worker.now()
    WAIT(self)
    now = worker.now

    def stale():
        worker.now = now
        return began

    worker.now = stale


LAST_WORDS = "last_words_are_read_before_their_senders_death"
LOSE = Worker._lose


@broken(
    "The notice of a death comes before what the dead process said last.",
    "The notice is put into the inbox where the end of the queue is seen, and what is left in the "
    "queue is drained then.",
    LAST_WORDS,
    Worker,
    "_lose",
)
def death_before_the_last_words(self, peer):
    before = len(self._inbox)
    LOSE(self, peer)
    self._inbox[before:] = sorted(
        self._inbox[before:], key=lambda one: not isinstance(one[1], PeerDown)
    )


@broken(
    "What a dead process said last is thrown away with its queue.",
    "“It is dead, so nothing that it says counts.” A vote that was cast counts for ever.",
    LAST_WORDS,
    Worker,
    "_lose",
)
def last_words_thrown_away(self, peer):
    before = len(self._inbox)
    LOSE(self, peer)
    self._inbox[before:] = [one for one in self._inbox[before:] if isinstance(one[1], PeerDown)]


# ---- the file ------------------------------------------------------------------------------------

SAME_AS_SIMULATED = "the_file_holds_what_the_simulated_disk_holds"
WHOLE = "a_checkpoint_is_written_with_all_of_its_turn_or_not_at_all"
OPEN, WRITE, COMMIT = Storage.__init__, Storage._write, Storage.commit
WRITE_CHECKPOINT = Storage._write_checkpoint


@broken(
    "Under `power` a commit is in the kernel's hands, and not on the disk.",
    "A database that is “durable by default”: what that means stands in a pragma.",
    "under_power_a_commit_is_not_done_before_the_disk_has_it",
    Storage,
    "__init__",
)
def nothing_is_synced(self, *arguments):
    OPEN(self, *arguments)
    self._db.execute("pragma synchronous=normal")


@broken(
    "The transaction of a turn is committed with the next turn's.",
    "Group commit on one side only: the messages do not wait for the group.",
    AFTER_THE_COMMIT,
    Storage,
    "commit",
)
def commits_a_turn_late(self, persist):
    if self._db.in_transaction:
        self._db.execute("commit")
    self._db.execute("begin")
    self._write(persist)


@broken(
    "A turn with one short run is written in one statement, and its new promise is forgotten.",
    "A short cut for the usual case, taken when it is not the usual case.",
    AFTER_THE_COMMIT,
    Storage,
    "_is_one_statement",
)
def short_cut_forgets_the_promise(self, persist):
    return len(persist.runs) == 1


@broken(
    "The head of the first checkpoint stays beside those of later ones.",
    "`insert` where `replace` was meant, in a table that holds one row by habit and not by a key.",
    SAME_AS_SIMULATED,
    Storage,
    "_write_checkpoint",
)
def first_checkpoint_stays(self, checkpoint):
    head = self._db.execute("select * from checkpoint").fetchone()
    WRITE_CHECKPOINT(self, checkpoint)
    if head is not None:
        self._db.execute("delete from checkpoint")
        self._db.execute("insert into checkpoint values (?,?,?)", head)


@broken(
    "A checkpoint writes the sessions that changed, and no accounts.",
    "The list of what changed, kept in two places and filled in one.",
    SAME_AS_SIMULATED,
    Storage,
    "_write_checkpoint",
)
def accounts_not_written(self, checkpoint):
    changed = checkpoint.changed
    if changed is not None:
        checkpoint = replace(checkpoint, changed=replace(changed, accounts=frozenset()))
    WRITE_CHECKPOINT(self, checkpoint)


@broken(
    "A checkpoint that was installed writes no rows: nothing changed since it was made.",
    "“All may differ” and “nothing differs” are both told by the absence of a list.",
    SAME_AS_SIMULATED,
    Storage,
    "_write_checkpoint",
)
def installed_checkpoint_writes_its_head_only(self, checkpoint):
    if checkpoint.changed is None:
        checkpoint = replace(checkpoint, changed=Changed())
    WRITE_CHECKPOINT(self, checkpoint)


@broken(
    "The log is truncated in one transaction, and its checkpoint written in the next.",
    "A long transaction cut in two, so that nobody waits for it. Between them the slots are gone.",
    WHOLE,
    Storage,
    "_write",
)
def truncated_before_its_checkpoint(self, persist):
    if persist.checkpoint is None or not persist.truncated_upto:
        return WRITE(self, persist)
    WRITE(self, replace(persist, checkpoint=None))
    self._db.execute("commit")
    self._db.execute("begin")
    return self._write_checkpoint(persist.checkpoint)


@broken(
    "The rows of a checkpoint are committed one after the other.",
    "A connection in autocommit mode, where every statement is a transaction of its own.",
    WHOLE,
    Storage,
    "_write_checkpoint",
)
def checkpoint_row_by_row(self, checkpoint):
    self._db.execute("commit")
    WRITE_CHECKPOINT(self, checkpoint)
    self._db.execute("begin")
