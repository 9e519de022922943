#!/usr/bin/env bash
# antithesis 0.4.0 (PyPI, 2026-09, the Antithesis SDK for Python), seen 2026-11-28.
#
# One would guess: the assertion catalog lists every assertion whose message is a literal, so that
#   a property that no run ever reached is seen to be missing. That is the way its documentation
#   gives: catalog first, then run; what has no "hit": true was never exercised.
# What happens: the scanner finds the message by position only. A literal given by its own name,
#   `reachable(message="...")`, is left out without a word (only --verbose tells), so a recovery
#   path that never ran is not missed. Once the path does run, the event appears like any other,
#   which makes the hole look closed. Lambdas, comprehensions, match guards, async code and
#   literals joined side by side are all found.
# Who meets it: code that names its arguments, and formatters or reviews that ask for it, in the
#   one place where an absent line is what says that a test reached nothing.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check antithesis==0.4.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >store.py <<'P'
from antithesis.assertions import always, reachable

def recover(torn, old_leader):
    if torn:
        reachable("a torn record was cut off", {})
    if old_leader:
        reachable(message="an old leader stepped down", details={})
    always(True, "recovered")
P
cat >never_reached.py <<'P'
import json
hit = {}
for line in open("events.json"):
    event = json.loads(line).get("antithesis_assert")
    if event:
        hit[event["message"]] = hit.get(event["message"], False) or event["hit"]
print("  events:", len(hit), " never reached:", [message for message in hit if not hit[message]])
P

export ANTITHESIS_SDK_LOCAL_OUTPUT=events.json
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep antithesis
for call in "False, False" "True, True"; do
    rm -f events.json
    venv/bin/python -m antithesis.catalog store.py -o catalog.json 2>&1 | grep -o '^.*cataloged$'
    echo "recover($call)"
    ANTITHESIS_ASSERTION_CATALOG=catalog.json \
        venv/bin/python -c "import store; store.recover($call)" >run.log 2>&1
    venv/bin/python never_reached.py
done | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
2 assertion(s) cataloged
recover(False, False)
  events: 2  never reached: ['a torn record was cut off']
2 assertion(s) cataloged
recover(True, True)
  events: 3  never reached: []
E
echo "as described"
