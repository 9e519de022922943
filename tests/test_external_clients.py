"""Clients of other people's replicas, and the dialects that they speak: no process is started."""

import itertools
import sys

import pytest
from external_runs import ALL, TINY, UNANSWERED_MS, outcomes, run

from bank.ledger import READ, TRANSFER
from harness.check.verdict import Verdict
from harness.cluster.history import Operation
from harness.external import description
from harness.external.clients import Clients
from harness.external.remarks import Remarks
from harness.external.services import LinKvService
from harness.external.speaking import dialect
from harness.external.speaking.dialect import Ask, Done
from harness.external.votes import Votes

BALANCES = {"A": 10, "B": 10}
TIMEOUT = 1_000_000


def clients(speaks="bank", retry="all"):
    words = dialect(speaks, BALANCES), retry, Remarks(), Votes(3)
    found = Clients(BALANCES, 3, TIMEOUT, *words)
    found.start()
    return found


NUMBERS = itertools.count(1)


def transfer(amount=3, sender="A", receiver="B"):
    return Operation((sender, next(NUMBERS), TRANSFER, sender, receiver, amount), 1)


def sent(found, now):
    return [(s.to, s.body["msg_id"]) for s in found.poll(now)]


def error(found, replica, number, code, now, **more):
    body = {"type": "error", "code": code, "in_reply_to": number, **more}
    return list(found.take(replica, "c1", body, now))


def answer(found, replica, number, now, result="success", **more):
    body = {"type": "transfer_ok", "result": result, "in_reply_to": number, **more}
    return list(found.take(replica, "c1", body, now))


def test_a_definite_error_is_followed_by_a_pause_and_the_named_leader():
    found, operation = clients(), transfer()
    found.submit(operation)
    assert sent(found, 0) == [(1, 1)]
    error(found, 1, 1, 11, 1000, leader="n3")
    assert sent(found, 30_999) == [] and sent(found, 31_000) == [(3, 2)]
    error(found, 3, 2, 11, 32_000)
    assert sent(found, 91_999) == [] and sent(found, 92_000) == [(1, 3)], "60 ms, the next in turn"
    for number, pause in ((3, 120), (4, 240), (5, 480), (6, 500), (7, 500)):
        now = 100_000_000 * number
        replica = found._calls[number].to
        error(found, replica, number, 11, now)
        assert found.deadline() == now + 1000 * pause
        sent(found, now + 1000 * pause)
    answer(found, found._calls[8].to, 8, 10**9)
    assert operation.result == "success" and not found.pending()


def leads(found, replica, ballot, now, **more):
    body = {"type": "leader", "ballot": ballot, **more}
    return [(s.to, s.body["type"]) for s in found.follow(replica, body, now)]


def test_who_says_that_it_leads_is_asked_at_once_in_a_new_ballot_alone():
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    assert leads(found, 2, [3, "n2"], 1000) == [(2, "transfer")]
    assert found._calls[2].body["timestamp"] == found._calls[1].body["timestamp"]
    assert (found.last_named, found.named_at) == (2, 1000)
    assert found.deadline() == 1000 + TIMEOUT
    for replica, ballot in ((2, [3, "n2"]), (1, [3, "n1"]), (3, [2, "n3"])):
        assert leads(found, replica, ballot, 2000) == []
    answer(found, 2, 2, 3000)
    assert operation.result == "success" and found.last_named == 2
    found.submit(transfer())
    assert sent(found, 4000) == [(2, 3)]


def test_who_says_that_it_leads_with_a_number_is_heard():
    found = clients()
    assert leads(found, 2, [3, "n2"], 0, msg_id=7) == [(2, "leader_ok")]
    assert leads(found, 2, [3, "n2"], 0, msg_id=8) == [(2, "leader_ok")]


@pytest.mark.parametrize("ballot", [None, 3, [3, "n1"], [3, "n9"], ["3", "n2"], [3, "n2", 1]])
def test_who_leads_without_a_ballot_of_its_own_is_not_believed(ballot):
    found = clients()
    found.submit(transfer())
    sent(found, 0)
    assert leads(found, 2, ballot, 1000, msg_id=1) == [] and found.elected is None
    assert "no leader" in found._remarks.texts()[0]


def test_between_sets_who_leads_is_remembered_and_not_asked():
    found = clients()
    found.submit(transfer())
    sent(found, 0)
    found.stop()
    assert leads(found, 2, [3, "n2"], 1000) == [] and found.deadline() is None


def test_what_is_dropped_is_asked_no_more_and_its_answer_not_heard():
    found, first, second = clients(), transfer(), transfer()
    found.submit(first)
    found.submit(second)
    assert sent(found, 0) == [(1, 1)]
    found.stop()
    found.drop_pending(50)
    assert (first.dropped_at, second.dropped_at, second.invoked_at) == (50, 50, None)
    assert found.pending() == [] and found.unanswered == 0
    found.start()
    assert sent(found, 2 * TIMEOUT) == [] and found.deadline() is None
    answer(found, 1, 1, 2 * TIMEOUT)
    assert first.result is None
    found.submit(third := transfer())
    assert len(sent(found, 3 * TIMEOUT)) == 1 and third.request[1] == 2


@pytest.mark.parametrize(("retry", "asked"), [("all", [1, 2, 3]), ("next", [2])])
def test_silence_is_followed_by_a_retry(retry, asked):
    found = clients(retry=retry)
    found.submit(transfer())
    sent(found, 0)
    assert [to for to, _ in sent(found, TIMEOUT)] == asked


def test_a_late_answer_counts_while_the_request_is_open_and_a_second_one_is_kept():
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    sent(found, TIMEOUT)
    answer(found, 1, 1, TIMEOUT + 5, slot=4, ballot=[2, "n1"])
    assert (operation.result, operation.slot, str(operation.ballot)) == ("success", 4, "(2, n1)")
    answer(found, 2, 3, TIMEOUT + 6, result="failed")
    key = operation.request[:2]
    assert list(found.answers) == [(key, "success"), (key, "failed")]
    assert operation.result == "success"


def test_a_refusal_settles_only_what_has_no_open_attempt():
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    numbers = [number for _, number in sent(found, TIMEOUT)]
    for replica, number in enumerate(numbers, 1):
        error(found, replica, number, 12, TIMEOUT + 1, text="no")
    assert operation.refused is None and found.pending(), "the first attempt may have happened"
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    error(found, 1, 1, 22, 5, text="no")
    assert operation.refused == "error 22 from n1: no" and not found.pending()
    assert found.refusals[0].code == 22


def test_a_code_without_an_end_is_told_by_its_beginning():
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    error(found, 1, 1, 10**400, 10)
    assert len(found.last_error[id(operation)]) < 80


@pytest.mark.parametrize("code", [[12], {"a": 1}, 12.0, True, "12", None, 10**400])
def test_a_code_that_is_no_whole_number_promises_nothing(code):
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    error(found, 1, 1, code, 10, text=["what"])
    assert operation.refused is None and found.pending() == [operation]
    answer(found, 1, 1, 20)
    assert operation.result == "success", "the attempt was open"


@pytest.mark.parametrize("number", [True, 1.0, "1", [1], None])
def test_an_answer_names_its_request_by_a_whole_number(number):
    found, operation = clients(), transfer()
    found.submit(operation)
    assert sent(found, 0) == [(1, 1)]
    answer(found, 1, number, 10)
    assert operation.result is None
    why = "an in_reply_to that is text" if number == "1" else "answers what nobody asked it"
    assert why in found._remarks.texts()[0]


def test_an_error_that_says_nothing_leaves_the_attempt_open():
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    error(found, 1, 1, 0, 10)
    assert sent(found, 30_010) == [(2, 2)], "it is asked again all the same"
    error(found, 2, 2, 12, 30_020)
    assert operation.refused is None


@pytest.mark.parametrize(("slot", "kept"), [(3, 3), (0, None), (-3, None), (10**400, None)])
def test_a_slot_is_a_number_that_a_log_may_have(slot, kept):
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    answer(found, 1, 1, 10, slot=slot, leader="n02")
    assert (operation.slot, found.answered_upto) == (kept, kept or 0)
    assert found.last_named is None, "nobody is called n02"


@pytest.mark.parametrize("value", [10**400, -(2**63), True, 3.0, "3", None])
def test_a_balance_is_a_number_that_an_account_may_have(value):
    found, operation = clients(), read("A")
    found.submit(operation)
    sent(found, 0)
    found.take(1, "c1", {"type": "read_ok", "value": value, "in_reply_to": 1}, 5)
    assert operation.result is None
    assert found._remarks.texts()[0].endswith(
        "expected read_ok with a whole number below 2^63 as value"
    )


@pytest.mark.parametrize(
    "body",
    [
        {"type": "transfer_ok"},
        {"type": "transfer_ok", "result": "maybe"},
        {"type": "read_ok", "value": 3},
        {"type": "banana"},
        {"type": "transfer_ok", "result": ["success"]},
    ],
)
def test_what_is_no_answer_counts_for_nothing(body):
    found, operation = clients(), transfer()
    found.submit(operation)
    sent(found, 0)
    assert list(found.take(1, "c1", {**body, "in_reply_to": 1}, 5)) == []
    assert operation.result is None and found._remarks.texts()
    for wrong in ((2, "c1", 1), (1, "c2", 1), (1, "c1", 99), (1, "c1", None), (1, "c1", [])):
        replica, label, number = wrong
        body = {"type": "transfer_ok", "result": "success", "in_reply_to": number}
        assert list(found.take(replica, label, body, 5)) == []
    assert operation.result is None


# ---- dialects ----------------------------------------------------------------------------------


class Register:
    """Answers of a linearizable register, or of one that does not remember its last writes."""

    def __init__(self):
        self.service, self.dialect = LinKvService(), dialect("lin-kv", BALANCES)

    def ask(self, operation, body):
        """One request; what the dialect makes of the answer."""
        return self.dialect.understand(operation, body, self.service({**body, "msg_id": 1}))

    def do(self, operation):
        """All that it takes; the result."""
        meaning = Ask(self.dialect.begin(operation))
        while isinstance(meaning, Ask):
            meaning = self.ask(operation, meaning.body)
        assert isinstance(meaning, Done)
        return meaning.result


def read(account):
    return Operation((account, next(NUMBERS), READ, account, "", 0), 1)


def test_a_bank_on_a_register():
    bank = Register()
    assert bank.do(transfer(3)) == "success"
    assert bank.do(transfer(8)) == "failed"
    assert (bank.do(read("A")), bank.do(read("B"))) == (7, 13)
    assert bank.dialect.problems() == []


def test_an_attempt_without_an_answer_is_found_again():
    bank, operation = Register(), transfer(3)
    bank.do(read("A"))
    cas = bank.ask(operation, bank.dialect.begin(operation)).body
    bank.service({**cas, "msg_id": 1})  # it happened, and nobody heard
    bank.do(transfer(1, "B", "A"))
    assert bank.do(operation) == "success"
    assert (bank.do(read("A")), bank.do(read("B"))) == (8, 12), "once"


def test_a_register_that_forks_or_invents_is_found():
    bank, one, two = Register(), transfer(3), transfer(4)
    bank.do(read("A"))
    first = bank.ask(one, bank.dialect.begin(one)).body
    second = bank.ask(two, bank.dialect.begin(two)).body
    for operation, body in ((one, first), (two, second)):
        bank.dialect.understand(operation, body, {"type": "cas_ok"})
    assert bank.dialect.problems() == [
        "two cas from 0 were acknowledged, to 1 for (A, B, 3) and to 2 for (A, B, 4)"
    ]
    asked = {"type": "read", "key": 1}
    bank.dialect.understand(one, asked, {"type": "read_ok", "value": 77})
    bank.dialect.understand(one, asked, {"type": "read_ok", "value": True})
    assert bank.dialect.problems()[1:] == ["a read gives 77, which nobody wrote"]


def test_a_bank_on_a_list():
    spoken, entries = dialect("txn-list-append", BALANCES), []

    def do(operation):
        body = spoken.begin(operation)
        for what, _, number in body["txn"]:
            if what == "append":
                entries.append(number)
        filled = [[w, k, list(entries) if w == "r" else n] for w, k, n in body["txn"]]
        return spoken.understand(operation, body, {"type": "txn_ok", "txn": filled})

    one = transfer(8)
    assert do(one) == Done("success") and do(transfer(3)) == Done("failed")
    assert do(one) == Done("success"), "a number that stands twice counts once"
    assert do(read("B")) == Done(18)
    entries.pop(0)
    do(read("A"))
    assert spoken.problems() == ["two lists differ: entry 1 is 0 in one, 1 in another"]


@pytest.mark.parametrize(
    ("kind", "verdict"), [("lin-kv", "valid"), ("txn", "valid"), ("forgets", "invalid")]
)
def test_nodes_that_know_no_bank_run(kind, verdict):
    speaks = "lin-kv" if kind == "lin-kv" else "txn-list-append"
    words = f"{sys.executable} -S -E {TINY.parent / 'tiny_kv.py'} {kind}"
    text = f"start: {words}\nspeaks: {speaks}\nsettle_ms: 0"
    described = description.parse(text.encode(), "kv.yaml", TINY.parent)
    rows = [("(A, B, 9); (C, A, 3)", ALL), ("(B, A, 12); (A)", ALL), ("(A, D, 8); (A); (B)", ALL)]
    runner, _ = run(described, rows, progress_ms=UNANSWERED_MS)
    assert "pending" not in outcomes(runner.reports[0])
    assert runner.verdict() is Verdict(verdict), [r.judgements for r in runner.reports]
