"""Exploration sees everything within its bounds, twice the same, and catches broken replicas."""

import io
from argparse import ArgumentParser

import pytest
from rich.console import Console

from bank.ballot import Ballot
from bank.messages import Accept, NewView
from bank.replica import Replica
from harness.commands import explore
from harness.errors import HarnessError
from harness.sim.explore import Explorer
from harness.sim.explore.frozen import freeze, still, thaw
from harness.sim.explore.graph import Bounds, Budget
from harness.sim.explore.schedule import script

SOUND = {
    "two requests": Bounds(),
    "a lost message": Bounds(budget=Budget(drops=1)),
    "a crash anywhere": Bounds(requests=1, budget=Budget(crashes=1)),
    "a retry": Bounds(requests=1, budget=Budget(drops=1, retries=1)),
    "turns of two messages": Bounds(requests=1, budget=Budget(drops=1, batches=1)),
    "no queues": Bounds(requests=1, budget=Budget(drops=1), reorder=True),
    "heartbeats": Bounds(requests=1, budget=Budget(drops=1, heartbeats=1)),
    "checkpoints": Bounds(budget=Budget(elections=0), elected=True, checkpoint_interval=1),
    "two replicas": Bounds(nodes=2, requests=1, budget=Budget(elections=2, crashes=1)),
    "one replica": Bounds(nodes=1, budget=Budget(elections=2, crashes=2)),
}


@pytest.mark.parametrize("bounds", SOUND.values(), ids=SOUND)
def test_no_schedule_within_the_bounds_breaks_the_replica(bounds):
    found = Explorer(bounds).run()
    assert found.violation is None
    assert found.complete
    assert found.states > 10


def test_same_bounds_same_figures():
    bounds = Bounds(requests=1, budget=Budget(drops=1, retries=1))
    first, second = Explorer(bounds).run(), Explorer(bounds).run()
    assert (first.states, first.transitions, first.depth) == (
        second.states,
        second.transitions,
        second.depth,
    )


def test_more_budget_never_means_fewer_states():
    one = Explorer(Bounds(requests=1)).run()
    two = Explorer(Bounds(requests=1, budget=Budget(drops=1))).run()
    assert two.states > one.states


def test_walk_out_of_time_is_not_complete():
    found = Explorer(Bounds(budget=Budget(drops=3, crashes=3, elections=5))).run(seconds=0.001)
    assert not found.complete
    assert found.violation is None
    assert found.waiting > 0


def test_thawed_replica_is_the_frozen_one():
    explorer = Explorer(Bounds(elected=True))
    state = explorer.graph.first_state()
    replica = explorer.graph.turns.replica(state[0])
    assert replica.role.value == "leader"
    frozen = freeze(replica)
    assert freeze(thaw(frozen)) == frozen
    still(replica)
    assert freeze(replica) == frozen


# ---- broken replicas ---------------------------------------------------------------------------


class PromiseNotStored(Replica):
    """The log reaches the disk, the promise does not."""

    def flush(self):
        effects = super().flush()
        if effects.persist is not None:
            effects.persist.promise_changed = False
        return effects


class VoteBeforeTheWrite(Replica):
    """What speaks of the disk leaves first."""

    def flush(self):
        effects = super().flush()
        effects.early += effects.durable
        effects.durable = []
        return effects


class QuorumOneShort(Replica):
    """Leads without the promise that would have told it of the others' votes."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.quorum -= 1


class CommitsOnItsOwnVote(Replica):
    """A slot counts as chosen when the leader alone holds it."""

    def _commit_chosen(self, lead):
        lead._quorum = 1
        super()._commit_chosen(lead)


class ReusesABallot(Replica):
    """Forgets at a restart which numbers it used."""

    def _recover(self, stored):
        super()._recover(stored)
        self.seen = 0

    def _campaign(self):
        self.promised = min(self.promised, Ballot(self.seen, self.replica))
        super()._campaign()


class RepliesBeforeTheCommit(Replica):
    """Tells the client as soon as the slot is proposed."""

    def _propose(self, lead):
        slot = lead.next_slot
        self._answers += [(r[0], r[1], "success", slot) for r in lead.batch]
        super()._propose(lead)


class PaysTwice(Replica):
    """Executes without a look at the clients' sessions."""

    def _on_requests(self, message):
        if self._leadership is not None:
            self._leadership.in_flight.clear()
            self._leadership.batch += message.requests
        else:
            super()._on_requests(message)

    def _commit(self, upto):
        self._machine.sessions.clear()
        super()._commit(upto)


class DeafToItsPromise(Replica):
    """Accepts below its promise: the gate is open for leaders."""

    def _admit(self, source, message):
        if not isinstance(message, NewView | Accept):
            return super()._admit(source, message)
        promised, self.promised = self.promised, min(self.promised, message.ballot)
        admitted = super()._admit(source, message)
        self.promised = max(promised, self.promised)
        return admitted


ELECTED = Bounds(budget=Budget(elections=1), elected=True)
BROKEN = {
    PromiseNotStored: (Bounds(), "on disk"),
    VoteBeforeTheWrite: (Bounds(), "on disk"),
    QuorumOneShort: (ELECTED, "slot"),
    CommitsOnItsOwnVote: (Bounds(), "which no quorum holds"),
    ReusesABallot: (Bounds(requests=1, budget=Budget(elections=2, crashes=1)), "promised"),
    RepliesBeforeTheCommit: (Bounds(), "never executed"),
    PaysTwice: (Bounds(requests=1, budget=Budget(retries=1)), "slot 2"),
    DeafToItsPromise: (ELECTED, "(1, n1)"),
}


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.__name__)
def test_broken_replica_is_caught_with_a_script(broken):
    bounds, reason = BROKEN[broken]
    explorer = Explorer(bounds, broken)
    found = explorer.run(seconds=20)
    lines = script(explorer.graph, found.schedule)
    assert found.violation is not None
    assert reason in found.violation
    numbers = [line for line in lines if line[:3].strip().isdigit() and int(line[:3])]
    assert len(numbers) == len(found.schedule)
    assert not Explorer(bounds).run(seconds=1).violation


# ---- the command -------------------------------------------------------------------------------


def command(*flags):
    parser = ArgumentParser()
    explore.add_arguments(parser)
    out = io.StringIO()
    code = explore.run(parser.parse_args(flags), Console(file=out, width=80))
    return code, out.getvalue()


def test_command_says_what_it_saw():
    code, out = command("--requests", "1")
    assert code == 0
    assert "✓ no violation: every schedule within the bounds was seen" in out
    assert "424 states, 963 transitions, depth 17" in out


def test_command_that_ran_out_of_time_says_unknown():
    code, out = command("--drops", "3", "--crashes", "2", "--elections", "4", "--seconds", "0.01")
    assert code == 3
    assert "? unknown: time ran out" in out


def test_command_prints_the_shortest_schedule(monkeypatch):
    monkeypatch.setattr(explore, "Explorer", lambda bounds: Explorer(bounds, PromiseNotStored))
    code, out = command("--requests", "1")
    assert code == 1
    assert "  1. n1 gets from client: REQUEST (A, Z, 6)" in out
    assert "✗ violation after 2 events: n1 spoke of (1, n1)" in out


def test_command_names_every_bad_flag():
    with pytest.raises(HarnessError) as error:
        command("--nodes", "0", "--drops", "-1", "--seconds", "0")
    assert [problem.split(":")[0] for problem in error.value.problems] == [
        "--nodes",
        "--drops",
        "--seconds",
    ]
