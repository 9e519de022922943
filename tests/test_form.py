"""What a `bank` answers that is not of the form that its types say: named where it comes out."""

from dataclasses import replace as changed
from random import Random

import pytest
from broken_bank import answers

from bank.ballot import Ballot
from bank.effects import Effects, Executed, Pages, Persist, Run, Send
from bank.messages import Accept, Elected, Reply
from bank.replica import Replica
from bank.settings import Settings
from bank.status import Role, SlotMark, SlotStatus
from harness.check.verdict import Verdict
from harness.cluster import form, wire
from harness.cluster.blame import WrongForm
from harness.errors import EXIT_INVALID, HarnessError
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.live import protocol
from harness.live.cluster import LiveCluster
from harness.run import launch
from harness.run.runner import Runner

ONE = '1,"(A, B, 2); (B, C, 1)","[n1, n2, n3]"\n'
B1, ASKED = Ballot(1, 1), ("A", 1, "transfer", "A", "B", 2)
ANSWER = ("A", 1, "success", 3)


def test_all_that_a_turn_may_hold_has_the_right_form():
    effects = Effects(
        persist=Persist(B1, 1, True, [Run(1, B1, [ASKED])], None, 0, 3, Pages(8, [(0, b"")])),
        early=[Send((2, 3), Accept(B1, 1, (ASKED, ASKED), 0))],
        elected=Elected(B1),
        replies=[Reply(B1, (ANSWER, ("B", 2, 7, 4)))],
        executed=[Executed(1, [ASKED], [ANSWER])],
    )
    assert form.check(Effects)(effects) == ""
    listed = Effects(replies=[Reply((1, 1), [list(ANSWER)])])  # as it arrives by the wire
    assert form.check(Effects)(listed) == ""
    marks = (SlotStatus(1, SlotMark.NONE, None, None),)
    assert form.check(tuple[SlotStatus, ...])(marks) == ""


@pytest.mark.parametrize(
    ("effects", "said"),
    [
        (None, " = None, expected Effects"),
        (Effects(replies=[Reply(None, ())]), ".replies[0].ballot = None, expected Ballot"),
        (
            Effects(replies=[Reply(B1, (ANSWER, ANSWER, ("A", 1, "success", None)))]),
            ".replies[0].answers[2][3] = None, expected int",
        ),
        (
            Effects(replies=[Reply(B1, (ANSWER, ANSWER[:3]))]),
            ".replies[0].answers[1] = ('A', 1, 'success'), expected tuple",
        ),
        (
            Effects(replies=[Reply(B1, (("A", 1, Ballot, 3),))]),
            ".replies[0].answers[0][2] = <class 'bank.ballot.Ballot'>, expected str or int",
        ),
        (Effects(replies=[Elected(B1)]), f".replies[0] = {Elected(B1)!r}, expected Reply"),
        (Effects(elected="me"), ".elected = 'me', expected Elected or None"),
        (
            Effects(early=[Send((2,), Accept(B1, 1, ({},), 0))]),
            ".early[0].message.requests[0] = {}, expected tuple",
        ),
        (Effects(executed=[Executed("x", [], [])]), ".executed[0].first_slot = 'x', expected int"),
        (Effects(executed=[(1, [], [])]), ".executed[0] = (1, [], []), expected Executed"),
        (Effects(early=[((2,), "x")]), ".early[0] = ((2,), 'x'), expected Send"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(effects, said):
    assert form.check(Effects)(effects) == said


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("role", "king", "a replica's role = 'king', expected Role"),
        ("following", None, "a replica's following = None, expected Ballot"),
        ("leads_answered", lambda self: 0.5, "a replica's leads_answered() = 0.5, expected bool"),
    ],
)
def test_what_the_harness_asks_of_every_turn_has_its_form(monkeypatch, name, value, said):
    replica = Replica(1, 3, Settings(), Random(1), {"A": 1, "B": 1})
    assert form.standing(replica) == (Role.FOLLOWER, Ballot(0, 0), False, 0)
    monkeypatch.setattr(Replica, name, value)
    with pytest.raises(WrongForm) as raised:
        form.standing(replica)
    assert str(raised.value) == said


def test_a_value_that_cannot_be_printed_is_named_by_its_type():
    class Odd:
        def __repr__(self):
            raise ValueError

    assert form.check(int)(Odd()) == " = a Odd, expected int"


# What a method gives instead, and what is said of the replica that does. By `bank.replica`, so that
# a process of its own can be broken by it, too.
WRONG = {
    "an answer without its slot": (
        "flush",
        "effects.replies = [type(r)(r.ballot, tuple(a[:3] for a in r.answers)) "
        "for r in effects.replies]",
        "flush() gave replies[0].answers[0] = ('A', 1, 'success'), expected tuple",
    ),
    "a LEADER of nobody": (
        "flush",
        "effects.elected = 'me'",
        "flush() gave elected = 'me', expected Elected or None",
    ),
    "a message to nobody": (
        "flush",
        "from bank.effects import Send\n    from bank.messages import Commit\n"
        "    effects.early = [Send((9,), Commit(self.promised, 0))]",
        "flush() sends to (9,), expected some of",
    ),
    "a time that is none": ("deadline", "effects = 'soon'", "deadline() gave 'soon', expected int"),
    "a state without a role": (
        "status",
        "from dataclasses import replace\n    effects = replace(effects, role='king')",
        "status() gave role = 'king', expected Role",
    ),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_simulated_replica_is_named_by_it(tmp_path, monkeypatch, what):
    method, statement, said = WRONG[what]
    answers(monkeypatch, method, statement)
    config = ClusterConfig(nodes=3, seed=1)
    path = tmp_path / "case.csv"
    path.write_text(ONE)
    with pytest.raises(HarnessError) as raised, launch.cluster(config, simulated=True) as cluster:
        cluster.start()
        Runner(cluster, config, load(path, config)).run_next()
    assert raised.value.exit_code == EXIT_INVALID
    assert f"a replica raised in the simulation: {said}" in str(raised.value)


def test_processes_are_named_by_it_and_all_of_them_end(tmp_path, monkeypatch):
    broken = ["an answer without its slot", "a state without a role"]
    answers(monkeypatch, *(part for what in broken for part in WRONG[what][:2]))
    config = ClusterConfig(nodes=3, seed=1, patience_ms=100)
    path = tmp_path / "case.csv"
    path.write_text(ONE)
    cluster = LiveCluster(config)
    try:
        cluster.start()
        report = Runner(cluster, config, load(path, config)).run_next()
    finally:
        cluster.stop()
    (progress,) = [j for j in report.judgements if j.check == "progress"]
    assert progress.verdict is Verdict.INVALID
    troubles = [view.trouble for view in report.views]
    assert all(any(t.startswith(WRONG[what][2]) for what in broken) for t in troubles), troubles
    assert "flush() gave replies[0]" in progress.reason


def test_who_says_that_another_one_leads_is_told():
    cluster = LiveCluster(ClusterConfig(nodes=3))  # its processes are not needed for that
    try:
        cluster.on_reply(2, wire.to_plain(Elected(Ballot(7, 2))))
        assert cluster.committed.contradictions == []
        cluster.on_reply(1, wire.to_plain(Elected(Ballot(8, 2))))
        assert cluster.committed.contradictions == ["n1 says that it leads (8, n2)"]
    finally:
        cluster.stop()


def test_balances_in_another_order_are_those_of_their_accounts(replica_status):
    status, accounts = replica_status
    backwards = dict(reversed(list(status.balances.items())))
    plain = protocol.status_to_plain(changed(status, balances=backwards), accounts)
    assert protocol.status_from_plain(plain, accounts).balances == status.balances


def test_balances_of_other_accounts_are_refused(replica_status):
    status, accounts = replica_status
    for balances in ({}, {"A": 3}, {"A": 1, "B": 2, "C": 3}):
        with pytest.raises(form.WrongForm, match="not those of all accounts"):
            protocol.status_to_plain(changed(status, balances=balances), accounts)


@pytest.fixture
def replica_status():
    from random import Random

    from bank.accounts import Balances
    from bank.settings import Settings

    balances = Balances.of({"A": 1, "B": 2})
    status = Replica(1, 3, Settings(), Random(1), balances).status()
    return status, balances.accounts
