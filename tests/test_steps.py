"""Steps as people write them: every form, what it becomes, and what is refused."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.cluster.nemesis import POINTS, Fail, FailLeader, Heal, KillAt, LinkFault, Recover
from harness.files.cases import Action, Command, Wait, action_text
from harness.files.steps import PLAIN, Names, parse_step

NAMES = Names(5, tuple("ABCDEFGHIJ"))
ALL = frozenset((one, other) for one in range(1, 6) for other in range(1, 6) if one != other)

READ_AS: dict[str, tuple[str, Action]] = {
    "( a , j,3)": ("(A, J, 3)", Command("transfer", "A", "J", 3)),
    "(A)": ("(A)", Command("read", "A", "", 0)),
    "lf": ("LF", FailLeader()),
    "f(N3)": ("F(n3)", Fail(3)),
    "R ( n3 )": ("R(n3)", Recover(3)),
    "fail n3": ("F(n3)", Fail(3)),
    "Fail Leader": ("LF", FailLeader()),
    "recover n3": ("R(n3)", Recover(3)),
    "fail leader BEFORE commit": ("fail leader before COMMIT", FailLeader("before COMMIT")),
    "fail  n3 after the write": ("fail n3 after the write", KillAt(3, "after the write")),
    "wait 200ms": ("wait 200 ms", Wait(200_000)),
    "wait 0.5 ms": ("wait 0.5 ms", Wait(500)),
    "wait 60 s": ("wait 60000 ms", Wait(60_000_000)),
    "wait 0.2S": ("wait 200 ms", Wait(200_000)),
    "delay n1->n3 0.5-1 s": (
        "delay n1->n3 500-1000 ms",
        LinkFault("delay", frozenset({(1, 3)}), least=500_000, most=1_000_000),
    ),
    "cut n1->n3": ("cut n1->n3", LinkFault("cut", frozenset({(1, 3)}))),
    "cut N1 <-> n3": ("cut n1<->n3", LinkFault("cut", frozenset({(1, 3), (3, 1)}))),
    "cut n1, n2 -> n4": ("cut n1,n2->n4", LinkFault("cut", frozenset({(1, 4), (2, 4)}))),
    "cut n1->n2,n3": ("cut n1->n2,n3", LinkFault("cut", frozenset({(1, 2), (1, 3)}))),
    "cut n1->n2, n3->n4, n5": (
        "cut n1->n2, n3->n4,n5",
        LinkFault("cut", frozenset({(1, 2), (3, 4), (3, 5)})),
    ),
    "cut n1->*": ("cut n1->*", LinkFault("cut", frozenset((1, to) for to in (2, 3, 4, 5)))),
    "delay *->* 20-50 ms": (
        "delay *->* 20-50 ms",
        LinkFault("delay", ALL, least=20_000, most=50_000),
    ),
    "delay *<->* 20 ms": (
        "delay *<->* 20 ms",
        LinkFault("delay", ALL, least=20_000, most=20_000),
    ),
    "lose n1->n3 30%": ("lose n1->n3 30 %", LinkFault("lose", frozenset({(1, 3)}), 30)),
    "duplicate n1->n3 1 %": (
        "duplicate n1->n3 1 %",
        LinkFault("duplicate", frozenset({(1, 3)}), 1),
    ),
    "REORDER n1->n3 100 %": (
        "reorder n1->n3 100 %",
        LinkFault("reorder", frozenset({(1, 3)}), 100),
    ),
    "heal": ("heal", Heal()),
    "heal all": ("heal", Heal()),
    "heal n1->n3": ("heal n1->n3", Heal(frozenset({(1, 3)}))),
}


@pytest.mark.parametrize(("text", "read"), READ_AS.items(), ids=READ_AS)
def test_every_form_is_read(text, read):
    assert parse_step(text, NAMES) == read


REFUSED = {  # "…": and so on
    "": "an empty place, expected (A, J, 3), (A), LF, F(n3), R(n3), cut, delay, lose, duplicate, "
    "reorder, heal, fail, recover, wait",
    "ctu n1->n3": 'unknown step "ctu n1->n3", expected (A, J, 3), …(did you mean cut?)',
    "cut": "cut: found no links, expected links such as n1->n3, n1<->n2,n3 or n1->*",
    "cut n1": 'cut n1: found "n1", expected links such as …',
    "cut n1->n1": "cut n1->n1: n1 has no link to itself, expected another",
    "cut n1->n6": 'cut n1->n6: unknown replica "n6", expected n1..n5 (did you mean n5?)',
    "cut n1->": "cut n1->: an empty place, expected n1..n5",
    "cut n1->n2->n3": 'cut n1->n2->n3: found "n1->n2->n3", expected links such as …',
    "cut n1->n3 30 %": 'cut n1->n3 30 %: unexpected "30 %", expected links only',
    "delay n1->n3": "delay n1->n3: found no time, expected 0.001 ms to 86400 s, "
    "as in delay n1->n3 20 ms or 20-50 ms",
    "delay n1->n3 20": 'delay n1->n3 20: found "20", expected 0.001 ms to 86400 s, as in …',
    "delay n1->n3 50-20 ms": 'delay n1->n3 50-20 ms: found "50-20 ms", expected the shorter '
    "time first, as in delay …",
    "lose n1->n3 0 %": 'lose n1->n3 0 %: found "0 %", expected 1 % to 100 %, as in lose …',
    "lose n1->n3 101 %": 'lose n1->n3 101 %: found "101 %", expected 1 % to 100 %, …',
    "lose n1->n3": "lose n1->n3: found no rate, expected 1 % to 100 %, …",
    "wait": "wait: found no time, expected 0.001 ms to 86400 s, as in wait 200 ms",
    "wait 0 ms": 'wait 0 ms: found "0 ms", expected 0.001 ms to 86400 s, …',
    "wait 60": 'wait 60: found "60", expected 0.001 ms to 86400 s, as in wait 200 ms',
    "wait 1 min": 'wait 1 min: found "1 min", expected 0.001 ms to 86400 s, as in wait 200 ms',
    "wait 86401 s": 'wait 86401 s: found "86401 s", expected 0.001 ms to 86400 s, as …',
    "wait 1-2 ms": "wait 1-2 ms: two times, expected one, …",
    "wait 86400001 ms": 'wait 86400001 ms: found "86400001 ms", expected 0.001 ms to '
    "86400 s, as in wait 200 ms",
    "fail leader before comit": 'fail leader before comit: no point "before comit", expected '
    "before the write, after the write, before COMMIT, in mid-NEW-VIEW, in mid-checkpoint, "
    "in mid-catch-up (did you mean before COMMIT?)",
    "fail n1 n2": "fail n1 n2: 2 replicas, expected one, as in fail n1",
    "recover n4, N5": "recover n4, N5: 2 replicas, expected one, as in recover n4",
    "fail": "fail: an empty place, expected n1..n5",
    "recover n9": 'recover n9: unknown replica "n9", …',
    "F(n1, n2)": "F(n1, n2): 2 replicas, expected one, as in F(n3)",
    "(A, J)": "(A, J): 2 values, expected sender, receiver, amount or one name",
}


@pytest.mark.parametrize(("text", "expected"), REFUSED.items(), ids=REFUSED)
def test_what_is_refused(text, expected):
    with pytest.raises(ValueError, match="expected") as refusal:
        parse_step(text, NAMES)
    assert re.fullmatch(re.escape(expected).replace("…", ".*"), str(refusal.value))


@pytest.mark.parametrize("text", [t for t in READ_AS if re.match("[a-z]+ |heal", t)])
def test_words_are_refused_where_only_plain_steps_are(text):
    with pytest.raises(ValueError, match="only a YAML test set can say this") as refusal:
        parse_step(text, NAMES, words=False)
    assert str(refusal.value).endswith(PLAIN)


LINKS = st.frozensets(st.sampled_from(sorted(ALL)), min_size=1)
ACTIONS = st.one_of(
    st.builds(Wait, st.integers(1, 10**9)),
    st.builds(KillAt, st.integers(1, 5), st.sampled_from(POINTS)),
    st.builds(FailLeader, st.sampled_from((None, *POINTS))),
    st.builds(LinkFault, st.just("cut"), LINKS),
    st.builds(
        LinkFault, st.sampled_from(["lose", "duplicate", "reorder"]), LINKS, st.integers(1, 100)
    ),
    st.tuples(LINKS, st.integers(0, 10**6), st.integers(1, 10**6)).map(
        lambda t: LinkFault("delay", t[0], least=t[1], most=t[1] + t[2])
    ),
    st.builds(Heal, st.none() | LINKS),
)


@given(ACTIONS)
def test_what_an_action_is_called_is_read_back(action):
    assert parse_step(action_text(action), NAMES)[1] == action


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(
            [
                "cut ",
                "delay ",
                "n1",
                "->",
                "<->",
                ",",
                "*",
                " 20",
                "-",
                " ms",
                "%",
                "fail ",
                "(",
                "A",
            ]
        )
    ).map("".join)
)
def test_any_text_is_a_step_or_says_what_was_expected(text):
    try:
        parse_step(text, NAMES)
    except ValueError as error:
        assert "expected" in str(error)
