"""Judging from outside: by clients, by what replicas tell, and by who could have reached whom.

catalogue/judges.txt names what each of these tests guards.
"""

from dataclasses import replace

import pytest

from bank.ledger import FAILED, READ, SUCCESS, TRANSFER
from bank.sessions import NOOP_REQUEST
from harness.check.hearing import CutOff
from harness.check.outside import (
    Seen,
    agreement_from_outside,
    conservation_from_outside,
    durable,
    exactly_once_from_outside,
    judge_from_outside,
    linearizable_from_outside,
    told_to_the_end,
)
from harness.check.quorum import CLIENTS, Reach, no_quorum_no_answer
from harness.check.told import Refusal, Telling, Told, ToldEntry
from harness.check.verdict import Verdict, overall
from harness.cluster.history import Operation

BALANCES = {"A": 10, "B": 10, "C": 0}
ALL = frozenset(range(1, 6))


def pay(sender, receiver, amount, invoked_at, answered_at=None, result=SUCCESS, client=None, at=1):
    request = (client or sender, at, TRANSFER, sender, receiver, amount)
    return Operation(
        request, 1, invoked_at, answered_at, result if answered_at else None, answered_by=1
    )


def look(account, balance, invoked_at, answered_at, client="x", at=1):
    request = client, at, READ, account, "", 0
    return Operation(request, 1, invoked_at, answered_at, balance, answered_by=1)


def log(*operations, results=True, status="E"):
    return [
        ToldEntry(slot, status, o.request, o.result if results else None)
        for slot, o in enumerate(operations, 1)
    ]


def reason(judgement, verdict=Verdict.INVALID):
    assert judgement.verdict is verdict, judgement
    return judgement.reason


# ---- no quorum, no answer ----------------------------------------------------------------------


def apart(*groups, clients=ALL):
    """No message passes between two of these groups, and clients reach only `clients`."""
    cut = {(a, b) for a in ALL for b in ALL if a != b}
    cut -= {(a, b) for group in groups for a in group for b in group}
    cut |= {link for r in ALL - frozenset(clients) for link in ((CLIENTS, r), (r, CLIENTS))}
    return frozenset(cut)


WHOLE = Reach(0, ALL)
MINORITY = apart({1, 2}, {3, 4, 5}, clients={1, 2})
SPLIT = apart({1, 2}, {3, 4, 5})  # by clients all are reached
PAID = [pay("A", "B", 3, 20, 30)]


def quorum(reach, history=PAID, sees_all=False, holds=False, clients_carry=False):
    return no_quorum_no_answer(
        history, reach, 5, sees_all=sees_all, holds=holds, clients_carry=clients_carry
    )


def seen(*voters):
    """What passed shows the votes of these, by the answer of n1."""
    return [replace(PAID[0], voters=frozenset(voters))]


WITH_A_MAJORITY = {
    "all is whole": [WHOLE],
    "cut off too late": [WHOLE, Reach(25, ALL, MINORITY)],
    "healed in time": [Reach(0, ALL, MINORITY), Reach(29, ALL)],
    "votes one after the other": [
        Reach(0, ALL, apart({1, 2}, clients={1})),
        Reach(22, ALL, apart({1, 3}, clients={1})),
    ],
    "through a third one": [
        Reach(0, ALL, apart({1, 2}, {3, 4, 5}, clients={1})),
        Reach(22, ALL, apart({2, 3}, clients={1})),
        Reach(24, ALL, apart({1, 3}, clients={1})),
    ],
    "a paused one reads later": [
        Reach(0, frozenset({1, 2, 3})),
        Reach(22, frozenset({1, 2}), MINORITY),
    ],
    "all that run are a majority": [Reach(0, frozenset({1, 2, 3}))],
    "before anything is known": [Reach(25, ALL, MINORITY)],
    "who answers hears the others and reaches nobody": [
        Reach(0, ALL, frozenset((1, r) for r in ALL))
    ],
}
WITHOUT_A_MAJORITY = {
    "cut off": [Reach(0, ALL, MINORITY)],
    "cut off before, healed after": [WHOLE, Reach(10, ALL, MINORITY), Reach(31, ALL)],
    "two of five run": [Reach(0, frozenset({1, 2}))],
    "others are a majority, and who answers hears none of them": [Reach(0, ALL, SPLIT)],
    "others are a majority, and are heard by who answers when it is too late": [
        Reach(0, ALL, SPLIT),
        Reach(31, ALL),
    ],
    "they hear and are not heard": [
        Reach(0, ALL, frozenset({(r, s) for r in (3, 4, 5) for s in (CLIENTS, 1, 2)}))
    ],
    "they are not heard until they have died": [
        Reach(0, ALL, frozenset({(r, s) for r in (3, 4, 5) for s in (CLIENTS, 1, 2)})),
        Reach(25, frozenset({1, 2})),
    ],
    "a vote for nothing: who votes was met before it was asked": [
        Reach(0, ALL, apart({1, 2}, clients={1})),
        Reach(22, ALL, apart({3, 4, 5}, clients={1})),
    ],
}


@pytest.mark.parametrize("reach", WITH_A_MAJORITY.values(), ids=WITH_A_MAJORITY)
def test_what_a_majority_may_have_heard_of_may_be_answered(reach):
    assert quorum(reach).verdict is Verdict.VALID


@pytest.mark.parametrize("reach", WITHOUT_A_MAJORITY.values(), ids=WITHOUT_A_MAJORITY)
def test_an_answer_without_a_majority_is_seen(reach):
    for result in (SUCCESS, FAILED):
        said = reason(quorum(reach, [replace(PAID[0], result=result)]))
        told = f"A's (A, B, 3) = {result}, 0-10 µs, by n1, when only n1, n2 of 5 can have voted"
        assert said.startswith(told)


def test_only_answers_to_transfers_are_held_against_a_majority():
    reach = [Reach(0, ALL, MINORITY)]
    assert quorum(reach, [pay("A", "B", 3, 20), look("A", 10, 20, 30)]).verdict is Verdict.VALID
    assert quorum([]).verdict is Verdict.NOT_ASKED


def test_what_is_held_on_a_cut_link_counts_where_it_is_held():
    """They vote, die, and their votes arrive once the links are whole."""
    deaf = frozenset({(r, s) for r in (3, 4, 5) for s in (CLIENTS, 1, 2)})
    reach = [Reach(0, ALL, deaf), Reach(25, frozenset({1, 2}))]
    assert quorum(reach, holds=True).verdict is Verdict.VALID
    assert quorum(reach, holds=False).verdict is Verdict.INVALID


def test_clients_count_as_a_way_only_where_they_carry_something():
    """All five hear the request and answer it, and none hears another one."""
    reach = [Reach(0, ALL, apart(clients=ALL))]
    assert quorum(reach, clients_carry=True).verdict is Verdict.VALID
    assert "when only n1 of 5 can have voted" in reason(quorum(reach))
    assert quorum([Reach(0, ALL, SPLIT)], clients_carry=True).verdict is Verdict.VALID
    deaf = [Reach(0, ALL, frozenset((r, 1) for r in (CLIENTS, *ALL)))]
    assert quorum(deaf, clients_carry=True).verdict is Verdict.VALID, "the client counts itself"
    assert "by n1, when only nobody of 5" in reason(quorum(deaf))
    said = reason(quorum([Reach(0, ALL, MINORITY)], clients_carry=True))
    assert "when only n1, n2 of 5 can have voted" in said


def test_who_answers_has_to_hear_the_votes():
    nodes = (CLIENTS, *ALL)
    every = frozenset((a, b) for a in nodes for b in nodes)
    asks = {(CLIENTS, r) for r in (1, 2, 3)}  # and n1 hears the other two, who hear nobody
    gathers = Reach(0, ALL, every - asks - {(2, 1), (3, 1)})
    reach = [gathers, Reach(25, ALL, every - {(1, CLIENTS)})]
    assert quorum(reach).verdict is Verdict.VALID
    said = reason(quorum(reach, [replace(PAID[0], answered_by=2)]))
    assert "by n2, when only n2 of 5" in said
    through = [*reach[:1], Reach(25, ALL, every - {(1, 2)})]
    assert quorum(through, [replace(PAID[0], answered_by=2)]).verdict is Verdict.VALID


def test_where_all_is_seen_that_alone_decides():
    assert quorum([], seen(1, 2, 3), sees_all=True).verdict is Verdict.VALID
    said = reason(quorum([WHOLE], seen(1, 2), sees_all=True))
    assert said.endswith("by n1, when only n1, n2 of 5 can have voted for it")
    assert "when only nobody of 5" in reason(quorum([], seen(), sees_all=True))
    assert quorum([Reach(0, ALL, MINORITY)], PAID, sees_all=True).verdict is Verdict.VALID


def test_where_some_is_seen_both_witnesses_have_to_say_so():
    cut_off = [Reach(0, ALL, MINORITY)]
    assert quorum([WHOLE], seen(1, 2)).verdict is Verdict.VALID
    assert quorum(cut_off, seen(1, 2, 3)).verdict is Verdict.VALID, "by a way that nobody knows"
    assert "when only n1, n2 of 5" in reason(quorum(cut_off, seen(1)))
    unknown = [replace(PAID[0], answered_by=None)]
    assert quorum(cut_off, unknown).verdict is Verdict.VALID


# ---- a told log as witness ---------------------------------------------------------------------

HISTORY = [pay("A", "B", 3, 0, 9), pay("B", "C", 12, 1, 8), look("A", 7, 10, 11)]


def test_a_told_order_is_a_proof_whoever_named_it():
    """Without it the search would have to look at more than it may."""
    told = [Told(1, log=log(*HISTORY[:2])), Told(2)]
    assert linearizable_from_outside(BALANCES, HISTORY, told, 0).verdict is Verdict.VALID
    assert linearizable_from_outside(BALANCES, HISTORY, told[1:], 0).verdict is Verdict.UNKNOWN


TOLD_IN_VAIN = {
    "another order": log(HISTORY[1], HISTORY[0]),
    "what nobody asked for": log(HISTORY[0], pay("C", "A", 1, 0, 1)),
    "another request": [ToldEntry(1, "E", (*HISTORY[0].request[:5], 4)), *log(HISTORY[1])[1:]],
    "not all": log(HISTORY[0]),
    "accepted only": log(*HISTORY[:2], status="A"),
    "not from the first slot on": log(*HISTORY[:2])[1:],
}


@pytest.mark.parametrize("told", TOLD_IN_VAIN.values(), ids=TOLD_IN_VAIN)
def test_a_told_order_that_explains_nothing_changes_nothing(told):
    judged = linearizable_from_outside(BALANCES, HISTORY, [Told(1, log=told)])
    assert judged.verdict is Verdict.VALID
    stale = [*HISTORY[:2], look("A", 10, 10, 11)]
    judged = linearizable_from_outside(BALANCES, stale, [Told(1, log=told)])
    assert "no order explains x's (A) = 10" in reason(judged)


def test_what_was_refused_was_not_done():
    history = [replace(pay("A", "B", 3, 0), refused="error 12"), look("A", 7, 10, 11)]
    assert "no order explains" in reason(linearizable_from_outside(BALANCES, history))


# ---- exactly once, durable ---------------------------------------------------------------------

DONE = [pay("A", "B", 3, 0, 9), pay("B", "C", 1, 10), pay("B", "C", 2, 20)]


def once(answers=(), final=None, history=DONE):
    return exactly_once_from_outside(BALANCES, history, answers, final)


@pytest.mark.parametrize("c", [0, 1, 2, 3])
def test_balances_are_explained_by_each_open_one_at_most_once(c):
    assert once(final={"A": 7, "B": 13 - c, "C": c}).verdict is Verdict.VALID
    assert once(final={"A": 7, "C": c}).verdict is Verdict.VALID


@pytest.mark.parametrize(
    ("final", "told"),
    [
        ({"A": 4, "B": 16, "C": 0}, "A is 4 at the end, and 7 when every transfer that succeeded"),
        ({"A": 10, "B": 10, "C": 0}, "A is 10 at the end"),
        ({"A": 7, "B": 9, "C": 4}, "whichever of the 2 open ones were done"),
        ({"A": 7, "B": 13, "C": 1}, "C is 1 at the end, and 0"),
    ],
)
def test_balances_that_nothing_explains_are_seen(final, told):
    assert told in reason(once(final=final))


def test_two_results_of_one_transfer_are_seen():
    key = DONE[0].request[:2]
    assert once([(key, SUCCESS), (key, SUCCESS), (("x", 1), 7)]).verdict is Verdict.VALID
    said = reason(once([(key, SUCCESS), (key, FAILED)]))
    assert said == "A's (A, B, 3) = success, 0-9 µs was answered success and failed too"


def test_many_open_transfers_that_were_not_done_are_no_reason_to_give_up():
    accounts = "ABCDEFGHIJ"
    pairs = [(s, r) for s in accounts for r in accounts if s != r]
    many = [pay(s, r, 1 + i % 5, i, client=f"c{i}") for i, (s, r) in enumerate(pairs * 5)]
    balances = dict.fromkeys(accounts, 100)
    assert exactly_once_from_outside(balances, many, (), balances).verdict is Verdict.VALID


def test_too_many_sums_are_unknown():
    many = [pay("A", "B", 1 << i, 0, client=f"c{i}") for i in range(30)]
    judged = exactly_once_from_outside({"A": 1 << 31, "B": 0}, many, (), {"A": 1, "B": 2})
    assert judged.verdict in (Verdict.UNKNOWN, Verdict.INVALID)
    many = [pay("A", "B", 100 + 7 * i * i, 0, client=f"c{i}") for i in range(40)]
    wide = {"A": 1 << 31, "B": 0}
    reason(exactly_once_from_outside(wide, many, (), {"A": 1 << 30}), Verdict.INVALID)


def lost(told=(), final=None, failed_at=(15,), history=DONE):
    return durable(BALANCES, history, told, final, failed_at)


def test_what_was_answered_is_still_there():
    assert lost(failed_at=(), final=BALANCES).verdict is Verdict.NOT_ASKED
    assert lost().verdict is Verdict.NOT_ASKED
    assert lost(final={"A": 7, "B": 12}).verdict is Verdict.VALID
    assert lost([Told(1, log=log(DONE[0]))]).verdict is Verdict.VALID
    assert lost([Told(1, log=[]), Told(2, log=log(DONE[0]))]).verdict is Verdict.VALID


def test_what_was_answered_and_is_gone_is_seen():
    said = reason(lost(final={"A": 10, "B": 8, "C": 2}))
    assert said.startswith("A's (A, B, 3) = success, 0-9 µs is not in the balances after a replica")
    said = reason(lost([Told(1, log=log(DONE[1])), Told(2)]))
    assert said == "A's (A, B, 3) = success, 0-9 µs is in no log after a replica was killed"
    # What is wrong in another way is for others to say; so is what nobody was killed since.
    assert lost(final={"A": 4, "B": 16}).verdict is Verdict.VALID
    assert lost(final={"A": 10, "B": 10}, failed_at=(5,)).verdict is Verdict.VALID


# ---- what replicas tell ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("balances", "told"),
    [
        ({"A": 7, "B": 13, "C": 1}, "n2 tells 21 in all, expected 20"),
        ({"A": -1, "B": 21, "C": 0}, "n2 tells -1 for A"),
        ({"A": 7, "B": 13}, "n2 tells no account C"),
        ({"A": 7, "B": 13, "C": 0, "D": 0}, "n2 tells an account D"),
    ],
)
def test_money_made_or_lost_is_seen(balances, told):
    assert reason(conservation_from_outside(BALANCES, [Told(1), Told(2, balances)])) == told


def test_who_tells_no_balances_is_not_asked():
    assert conservation_from_outside(BALANCES, [Told(1)]).verdict is Verdict.NOT_ASKED
    assert agreement_from_outside(BALANCES, [Told(1)]).verdict is Verdict.NOT_ASKED
    right = [Told(1), Told(2, {"A": 7, "B": 13, "C": 0}, 1)]
    assert conservation_from_outside(BALANCES, right).verdict is Verdict.VALID
    assert agreement_from_outside(BALANCES, right).verdict is Verdict.VALID


PAY = HISTORY[0].request
STATE, OTHER = {"A": 7, "B": 13, "C": 0}, {"A": 6, "B": 14, "C": 0}
NOOP = ToldEntry(1, "C", NOOP_REQUEST)
APART = {
    "other balances": ([Told(1, STATE, 1), Told(2, OTHER, 1)], "n2 tells 6 for A after slot 1, n1"),
    "other requests": (
        [Told(1, log=[ToldEntry(1, "C", PAY)]), Told(2, log=[NOOP])],
        "slot 1 holds no-op at n2, A's request 1, (A, B, 3), at n1",
    ),
    "other results": (
        [Told(1, log=[ToldEntry(2, "E", PAY, r)], log_from=2) for r in (SUCCESS, FAILED)],
        "slot 2 gave 'failed' at n1, 'success' at n1",
    ),
    "a result that its log does not give": (
        [Told(1, log=[ToldEntry(1, "E", PAY, FAILED)])],
        "slot 1 gave 'failed', executed once it gives 'success', by the log of n1",
    ),
    "balances that its log does not give": (
        [Told(1, OTHER, 1, [ToldEntry(1, "E", PAY)])],
        "n1 tells 6 for A, its log gives 7",
    ),
    "a retry that was done twice": (
        [Told(1, {"A": 4, "B": 16, "C": 0}, 2, [ToldEntry(s, "E", PAY) for s in (1, 2)])],
        "n1 tells 4 for A, its log gives 7",
    ),
}


@pytest.mark.parametrize(("told", "said"), APART.values(), ids=APART)
def test_replicas_that_differ_are_seen(told, said):
    assert said in reason(agreement_from_outside(BALANCES, told))


def test_replicas_that_agree_are_fine():
    accepted = [ToldEntry(1, "E", PAY, SUCCESS), ToldEntry(2, "A", PAY)]
    other = [ToldEntry(1, "C", PAY), ToldEntry(2, "A", NOOP_REQUEST)]
    told = [Told(1, STATE, 1, accepted), Told(2, STATE, 1, other), Told(3, BALANCES, 0)]
    told.append(Told(4, log=[accepted[0], ToldEntry(2, "A", PAY, FAILED)]))
    assert agreement_from_outside(BALANCES, told).verdict is Verdict.VALID
    short = [Told(1, {"A": 7}, 1), Told(2, STATE, 1), Told(3, {"B": 13}, 1)]
    assert agreement_from_outside(BALANCES, short).verdict is Verdict.VALID, "left out, not other"
    said = reason(agreement_from_outside(BALANCES, told, "n3 executed 0, n1 1 after 500 ms"))
    assert said.startswith("n3 executed 0")


# ---- telling less ------------------------------------------------------------------------------


def test_what_was_told_once_is_told_to_the_end():
    tellings = [Telling(1, 2, "log", True), Telling(2, 2, "log", False)]
    assert reason(told_to_the_end(tellings)) == "n2 told log in set 1 and does not in set 2"
    never = [Telling(s, r, "log", False) for s in (1, 2) for r in (1, 2)]
    assert told_to_the_end(never).verdict is Verdict.VALID
    assert told_to_the_end([Telling(1, 1, "log", True), never[1]]).verdict is Verdict.VALID
    late = [Telling(1, 2, "log", False), Telling(2, 2, "log", True)]
    assert told_to_the_end(late).verdict is Verdict.VALID


def test_what_is_required_is_told_by_everybody():
    tellings = [Telling(1, 1, "read", True), Telling(1, 2, "read", False)]
    said = reason(told_to_the_end(tellings, ["read"]))
    assert said == "read is required, and n2 does not tell it in set 1"
    said = reason(told_to_the_end(tellings[:1], ["read", "state"]))
    assert said == "state is required, and nobody was asked for it"
    assert told_to_the_end(tellings[:1], ["read"]).verdict is Verdict.VALID


# ---- what it cannot have heard -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("since", "held", "said"),
    [
        (7, BALANCES, None),
        (7, {"A": 7, "B": 13, "C": 0}, None),
        (7, {"A": 7, "B": 9, "C": 4}, "n4 holds 9 for B while it is cut off, expected at least 10"),
        (7, {"A": 7, "C": 4}, "n4 holds 4 for C while it is cut off, expected at most 0"),
        (10, {"A": 7, "B": 9, "C": 4}, None),
    ],
    ids=["nothing", "what was asked before", "too little", "too much", "asked in that moment"],
)
def test_who_is_cut_off_knows_nothing_that_was_asked_since(since, held, said):
    asked = [pay("A", "B", 3, 0, 5), pay("B", "C", 4, 10, 15), pay("C", "B", 9, None)]
    seen = Seen(BALANCES, [*asked, look("C", 4, 20, 25)], 5, cut_off=[CutOff(4, since, held)])
    (judged,) = (one for one in judge_from_outside(seen) if one.check == "answers agree")
    if said is None:
        assert judged.verdict is Verdict.VALID
    else:
        assert reason(judged) == f"{said} by all that was asked before"


# ---- all together ------------------------------------------------------------------------------

CHECKS = (
    "linearizable (clients only)", "no quorum, no answer", "exactly_once", "durable",
    "conservation", "agreement", "answers agree", "told to the end", "refused", "ended by itself",
)  # fmt: skip


def test_who_tells_nothing_is_judged_by_its_clients():
    judged = judge_from_outside(Seen(BALANCES, HISTORY, 5))
    assert tuple(j.check for j in judged) == CHECKS
    left_out = [j.check for j in judged if j.verdict is Verdict.NOT_ASKED]
    assert left_out == ["no quorum, no answer", "durable", "conservation", "agreement"]
    assert overall(judged) is Verdict.VALID and overall(judged[3:6]) is Verdict.UNKNOWN


BROKEN_RUNS = {
    "linearizable (clients only)": {"history": [look("A", 9, 0, 1)]},
    "no quorum, no answer": {"history": PAID, "reach": [Reach(0, ALL, MINORITY)]},
    "exactly_once": {"final": BALANCES},
    "durable": {"final": {"A": 10, "B": -2, "C": 12}, "failed_at": [12]},
    "conservation": {"told": [Told(1, {"A": 1, "B": 1, "C": 1})]},
    "agreement": {"told": [Told(1, STATE, 1), Told(2, OTHER, 1)]},
    "answers agree": {"contradictions": ["two lists that are no prefixes of one another"]},
    "told to the end": {"require": ["log"]},
    "refused": {"refusals": [Refusal(HISTORY[0], 3, "error 22: no")]},
    "ended by itself": {"endings": ["n3 ended with exit code 1"]},
}


@pytest.mark.parametrize(("check", "wrong"), BROKEN_RUNS.items(), ids=BROKEN_RUNS)
def test_each_judge_is_asked(check, wrong):
    judged = judge_from_outside(
        Seen(**{"balances": BALANCES, "history": HISTORY, "replicas": 5} | wrong)
    )
    against = [j.check for j in judged if j.verdict is Verdict.INVALID]
    assert check in against and set(against) <= {check, "exactly_once"}
