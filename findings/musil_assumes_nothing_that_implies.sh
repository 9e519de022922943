#!/usr/bin/env bash
# musil 0.36.7 (PyPI, 2026-10, an explicit-state model checker for Python with full LTL), seen
#   2026-11-29.
#
# One would guess: `Implies(a, b)` and `Or(Not(a), b)` are one formula in two spellings, so that the
#   one is true where the other is, wherever it stands. check_ltl takes any formula, and shows for
#   what it refutes a concrete run that refutes it.
# What happens: an implication that is itself assumed counts as true. "If each question is answered,
#   the client gets done" assumes `Always(Implies(asked, Eventually(answered)))`; the checker drops
#   that, and refutes the formula with a run in which the question is never answered, of which the
#   formula says nothing. So with other implications whose left side has one in it. The other way
#   round, the automaton of that assumption, asked whether a model has a run that keeps it, says yes
#   of a server that never answers. Spelt with Or and Not all five are right; an implication that is
#   only concluded, like "G (asked -> F done)", the usual one, is right in both spellings.
# Who meets it: whoever writes down what a replica relies on (messages arrive, a majority is up) as
#   the left side of what is to be proved. The alarm has a trace and reads like a real one, so one
#   looks for the fault in the protocol. And whoever asks first, as one should, whether the
#   assumption can be kept at all.
set -euo pipefail
for python in python3 python3.14 python3.13 python3.12 ~/.pyenv/versions/*/bin/python3 ""; do
    [ -n "$python" ] || { echo "Python 3.12 or later is needed"; exit 2; }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
"$python" -m venv venv
venv/bin/pip install -q --disable-pip-version-check musil==0.36.7 2>pip.log ||
    { cat pip.log; exit 1; }

cat >assume.py <<'P'
from musil import Action, Model, explore
from musil.ltl import Always, Atom, Eventually, GeneralizedBuchi, Implies, Not, Or, check_ltl

def model(**moves):
    """A state machine with the given successors of each state."""
    return Model(init="start", actions=[
        Action(f"{here} to {there}", lambda state, here=here: state == here,
               lambda state, there=there: there)
        for here, places in moves.items() for there in places.split()])

def implies(a, b):
    return Or(Not(a), b)

server = model(start="asked", asked="asked answered", answered="done", done="done")
silent = model(start="asked", asked="asked")
start, asked, answered, done = (Atom(name, lambda state, name=name: state == name)
                                for name in ("start", "asked", "answered", "done"))

for spelling in implies, Implies:
    print(spelling.__name__)
    answering = Always(spelling(asked, Eventually(answered)))
    for formula in (
        spelling(answering, Eventually(done)),
        spelling(answering, Always(spelling(asked, Eventually(done)))),
        spelling(spelling(start, asked), asked),
        Always(spelling(asked, Eventually(done))),
    ):
        result = check_ltl(server, formula)
        print(f"  {'holds' if result.ok else 'refuted'}: {formula}")
        if not result.ok and formula == spelling(answering, Eventually(done)):
            print("    by the run", *(step.state for step in result.trace), "...")
    automaton = GeneralizedBuchi.from_ltl(answering)
    print("  the silent server has a run in which all is answered:",
          automaton.has_accepting_run(explore(silent)))
P
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep '^musil '
venv/bin/python assume.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
implies
  holds: (!G (!asked | F answered) | F done)
  holds: (!G (!asked | F answered) | G (!asked | F done))
  holds: (!(!start | asked) | asked)
  refuted: G (!asked | F done)
  the silent server has a run in which all is answered: False
Implies
  refuted: (G (asked -> F answered) -> F done)
    by the run start asked asked ...
  refuted: (G (asked -> F answered) -> G (asked -> F done))
  refuted: ((start -> asked) -> asked)
  refuted: G (asked -> F done)
  the silent server has a run in which all is answered: True
E
echo "as described"
