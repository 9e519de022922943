"""What the harness asks of replicas and when it takes them for settled, and whom `LF` hits.

Nothing is started: replicas answer what a test has them answer, in a time of its own.
"""

from contextlib import contextmanager
from pathlib import Path

import pytest
from external_runs import tiny, trouble

from bank.ballot import Ballot
from bank.status import Role
from harness.check.hearing import CutOff
from harness.cluster.journal import Liveness
from harness.cluster.nemesis import Fail, FailLeader, LinkFault, Recover
from harness.external import clients
from harness.external.asking import ASK_US, IN_VAIN, Asking
from harness.external.cluster import ExternalCluster
from harness.external.fleet import Handle
from harness.external.remarks import Remarks
from harness.external.router import Node, Router
from harness.external.seen import cut_off
from harness.external.services import ABSENT, LIN_KV, LinKvService, absent
from harness.external.speaking import dialect
from harness.external.told import State
from harness.run import launch
from harness.run.standing import Standing

ERROR_10 = {"type": "error", "code": 10, "text": "what is that?"}


class Asked:
    """Three replicas that answer by a function of (their number, what they are asked), or not."""

    def __init__(self, answer):
        self.answer, self.at, self.asked, self.remarks = answer, 10**6, [], Remarks()
        here = Path()
        self.handles = {r: Handle(r, Node(r), here, here, Liveness.LIVE) for r in (1, 2, 3)}
        for handle in self.handles.values():
            handle.node.is_ready = True
        self.asking = Asking(self.handles, self, ["A"], True, self.pump, lambda: self.at)

    def pump(self, until):
        self.at = until

    def send(self, source, node, body, at):
        self.asked.append((node.number, body["type"]))
        told = self.answer(node.number, body)
        if told is not None:
            number = body["msg_id"]
            self.asking.heard(self.handles[node.number], {"in_reply_to": number, **told})

    def states(self):
        """How many were asked for it."""
        before = len(self.asked)
        self.asking.states(self.handles.values(), ASK_US)
        return len(self.asked) - before


def state(executed=0, role="backup", **more):
    return {"type": "state_ok", "executed": executed, "role": role, **more}


# ---- what is asked -----------------------------------------------------------------------------


def test_who_does_not_know_a_question_is_not_asked_again():
    it = Asked(lambda replica, body: ERROR_10 if replica == 2 else state())
    assert [it.states(), it.states()] == [3, 2]
    assert {(t.replica, t.told) for t in it.asking.tellings if t.what == "state"} == {
        (1, True), (2, False), (3, True),
    }  # fmt: skip


def test_who_never_answers_is_asked_twice_and_who_did_once_for_ever():
    it = Asked(lambda replica, body: None if replica == 3 else state())
    assert [it.states() for _ in range(IN_VAIN + 1)] == [3, 3, 2]
    it.answer = lambda replica, body: None
    assert [it.states() for _ in range(IN_VAIN + 1)] == [2, 2, 2], "they are busy, not ignorant"


ENTRY = {"status": "C", "client": "A", "timestamp": 1, "type": "noop"}


def test_a_log_is_read_page_by_page_and_from_where_it_begins():
    def answer(replica, body):
        first = body["first_slot"]
        begins = 3 if first == 1 else first
        found = [{**ENTRY, "slot": slot} for slot in range(begins, min(begins + 2, 8))]
        more = {"next_slot": begins + 2} if begins + 2 < 8 else {}
        return {"type": "log_ok", "entries": found, **more}

    it = Asked(answer)
    it.asking.logs([it.handles[1]], ASK_US)
    known = it.handles[1].knowledge
    assert sorted(known.log) == [3, 4, 5, 6, 7] and known.log_from == 3
    assert it.asked == [(1, "log")] * 3


def test_a_log_that_goes_on_for_ever_is_left():
    it = Asked(lambda replica, body: {"type": "log_ok", "entries": [], "next_slot": 1})
    it.asking.logs([it.handles[1]], ASK_US)
    assert it.asked == [(1, "log")]


@pytest.mark.parametrize("service", ABSENT)
def test_a_service_that_is_not_here_says_so(service):
    told = absent({"type": "read", "msg_id": 7})
    assert (told["type"], told["code"], told["in_reply_to"]) == ("error", 1, 7)


def test_what_a_register_answers():
    service = LinKvService()

    def code(**body):
        told = service({"msg_id": 1, **body})
        return told.get("code", told["type"])

    assert code(type="read", key=1) == 20
    assert code(type="cas", key=1, **{"from": 0, "to": 1}) == 20
    assert code(type="write") == 12 and code(type="list", key=1) == 10
    made = {"from": 0, "to": 5, "create_if_not_exists": True}
    assert code(type="cas", key="1", **made) == "cas_ok"
    assert code(type="read", key=1) == 20, "a number is no text"
    assert code(type="cas", key="1", **{"from": 4, "to": 6}) == 22
    assert code(type="cas", key="1", **{"from": 5, "to": 6}) == "cas_ok"
    assert service({"type": "read", "key": "1", "msg_id": 3})["value"] == 6
    assert LIN_KV not in ABSENT


DEFINITE = {1, 10, 11, 12, 14, 20, 21, 22, 30}


@pytest.mark.parametrize("code", range(35))
def test_an_error_settles_its_attempt_or_leaves_it_open(code):
    """By the table of the protocol; 12 and 20 to 22 settle the request of a bank."""
    assert clients.Clients._is_definite({"type": "error", "code": code}) is (code in DEFINITE)
    assert (code in clients.REFUSALS) is (code in {12, 20, 21, 22})
    refuses = [dialect(speaks, {}).refuses for speaks in ("bank", "lin-kv", "txn-list-append")]
    assert refuses == [True, False, False]


def test_one_that_never_answers_init_does_not_start(monkeypatch):
    monkeypatch.setattr(Router, "start_seconds", 0.6)
    assert trouble(tiny("mute")) == (
        "does not answer init within 1 s: it wrote nothing, is each line flushed?"
    )


# ---- until all are equal -----------------------------------------------------------------------


def settled(it, upto, for_leader=False):
    """By what they say from now on."""
    since = it.at = it.at + 10_000
    found = [it.asking.is_equal((1, 2, 3), upto, since, for_leader) for _ in range(2)]
    assert not found[0], "nobody has answered yet"
    return found[1]


def test_they_are_settled_when_all_executed_the_same_and_enough():
    executed = {1: 4, 2: 4, 3: 4}
    it = Asked(lambda replica, body: state(executed[replica]))
    assert settled(it, 4) and not settled(it, 5)
    executed[3] = 3
    assert not settled(it, 3)
    del executed[3]
    it.answer = lambda replica, body: state(executed[replica]) if replica < 3 else state(None)
    assert not settled(it, 4), "n3 does not tell"


def test_before_a_leader_fails_one_leads():
    roles = {1: "backup", 2: "backup", 3: "backup"}
    it = Asked(lambda replica, body: state(4, roles[replica]))
    assert not settled(it, 4, for_leader=True) and settled(it, 4)
    roles[2] = "leader"
    assert settled(it, 4, for_leader=True)


@contextmanager
def cluster(settle_ms=500, nodes=3):
    """Made, and not started; replicas are called live, and time is `now[0]` µs."""
    described = tiny()
    object.__setattr__(described, "settle_ms", settle_ms)
    settings = launch.settings({"nodes": nodes, "seed": 1}, {}, description=described)
    made = ExternalCluster(described, settings)
    for handle in made.fleet.handles.values():
        handle.liveness = Liveness.LIVE
    try:
        yield made
    finally:
        made.stop()


def test_where_nobody_tells_it_settle_ms_after_the_last_answer_or_fault_is_waited_for(monkeypatch):
    with cluster(settle_ms=500) as made:
        at = [1_000_000]
        monkeypatch.setattr(made, "now", lambda: at[0])
        made.clients.last_answer_at, made.faults.done_at = 900_000, 0

        def waits():
            return not made.is_settled((1, 2, 3), 0)

        assert waits()
        at[0] = 1_399_999
        assert waits()
        at[0] = 1_400_000
        assert not waits()
        made.faults.done_at = 1_200_000
        assert waits(), "a fault is to have its effect"
        at[0] = 1_700_000
        assert not waits()


# ---- whom LF hits ------------------------------------------------------------------------------


def tells(made, replica, role, number=0, at=5):
    knowledge = made.fleet.handles[replica].knowledge
    ballot = Ballot(number, replica) if number else None
    knowledge.state, knowledge.told_at = State(role=role, ballot=ballot), at


def names(made, replica, at):
    made.clients.last_named, made.clients.named_at = replica, at


def test_whom_it_hits_says_the_highest_ballot_then_an_answer_then_who_answered():
    with cluster() as made:
        assert made.leader() is None
        assert made.faults.apply(FailLeader()) == (), "there is none"
        made.clients.last_answered = 3
        assert made.leader() == 3, "who answered last"
        names(made, 2, at=1)
        assert made.leader() == 2, "whom an answer named"
        made.fleet.handles[2].liveness = Liveness.CRASHED
        assert made.leader() == 3, "nobody who is not there"
        made.fleet.handles[2].liveness = Liveness.LIVE
        tells(made, 1, Role.LEADER)
        assert made.leader() == 1, "who says so of itself, after that answer"
        tells(made, 3, Role.LEADER, 4)
        assert made.leader() == 3
        tells(made, 1, Role.LEADER, 5)
        assert made.leader() == 1, "the highest ballot"
        names(made, 2, at=9)
        assert made.leader() == 2, "an answer that is newer than what was told"


def test_who_says_that_it_does_not_lead_is_not_hit_for_an_answer():
    with cluster() as made:
        names(made, 2, at=1)
        made.clients.last_answered = 3
        tells(made, 1, Role.FOLLOWER)
        tells(made, 2, Role.FOLLOWER)
        assert made.leader() == 3
        tells(made, 3, Role.FOLLOWER)
        assert made.leader() is None
        tells(made, 2, None)
        tells(made, 3, None)
        assert made.leader() == 2, "named, though what n1 tells is newer"


# ---- of whom progress is demanded ---------------------------------------------------------------


def able(made, *cuts):
    standing = Standing(made)
    standing.begin_set(range(1, made.replicas + 1), frozenset())
    if cuts:
        standing.links.apply(LinkFault("cut", frozenset(cuts)))
    return standing.is_able()


def test_progress_is_demanded_of_a_majority_with_every_pair_connected_both_ways():
    with cluster() as made:
        assert able(made)
        assert able(made, (1, 2)), "n2 and n3, and n1 and n3"
        assert not able(made, (1, 2), (3, 2), (1, 3)), "one way each"
    with cluster(nodes=5) as made:
        star = [(a, b) for a in range(2, 6) for b in range(2, a)]
        assert not able(made, *star), "n1 alone hears all others"
        assert able(made, *[link for link in star if link != (3, 2)]), "and n2 and n3 each other"


def test_who_ended_by_itself_is_missing_from_those_that_should_be_a_majority():
    with cluster() as made:
        made.fleet.handles[3].liveness = Liveness.STOPPED
        assert able(made) and not able(made, (1, 2))
        made.fleet.handles[2].liveness = Liveness.STOPPED
        assert not able(made)
        standing = Standing(made)
        standing.begin_set((1, 2, 3), frozenset())
        assert standing.should_be_able(), "who ended by itself should be there all the same"


# ---- who hears nobody --------------------------------------------------------------------------


def test_what_is_told_since_it_was_cut_off_is_held_against_who_is_disconnected_alone():
    with cluster() as made:
        for handle in made.fleet.handles.values():
            handle.knowledge.state, handle.knowledge.told_at = State(balances={"A": 1}), 0
        made.faults.apply(Fail(3))
        assert list(cut_off(made)) == [], "nothing was told since"
        since = made.faults.away[3]
        made.fleet.handles[3].knowledge.told_at = made.fleet.handles[2].knowledge.told_at = (
            since + 1
        )
        assert list(cut_off(made)) == [CutOff(3, since, {"A": 1})]
        made.faults.apply(Recover(3))
        assert list(cut_off(made)) == []
        made.fleet.handles[2].liveness = Liveness.DISCONNECTED
        assert list(cut_off(made)) == [], "it was asked to fail, and hears all"
