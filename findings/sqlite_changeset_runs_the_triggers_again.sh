#!/usr/bin/env bash
# SQLite 3.54.1 and its session extension (as apsw 3.54.1.0 on PyPI, 2026, carries them), seen
#   2026-11-28.
#
# One would guess: a changeset holds the rows that a transaction changed, those that its triggers
#   changed too (it marks them "indirect"), so a replica that applies it has just these rows: what
#   differs from the recorded old values goes to the conflict handler, and nothing is computed anew.
# What happens: the replica's own triggers run as well, on top of the rows that they made at the
#   origin. What comes of it depends on the order of the tables in the changeset, which is the order
#   of their first changes in the session. If the entry comes before the total that a trigger keeps,
#   the trigger adds first and the recorded row then conflicts: ABORT refuses a changeset that is
#   right, REPLACE mends it. If the total comes first, for the trigger is a BEFORE trigger or a
#   statement changed the total earlier in the session, the recorded row is written and the trigger
#   adds once more: the replica's total is too high by the entry, the conflict handler was never
#   called, and integrity_check says ok. A journal whose keys are drawn at random has each line
#   twice. Applying has a flag that takes off the actions of foreign keys, none for triggers;
#   SQLITE_DBCONFIG_ENABLE_TRIGGER of the connection does it, in all four cases.
# Who meets it: whoever replicates or syncs SQLite with changesets and has sums, counts or an audit
#   trail in triggers. All replicas are wrong alike, so that comparing them with each other shows
#   nothing, and a test of one transaction after the other may only ever meet the harmless order.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check apsw==3.54.1.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >replica.py <<'P'
import apsw

TABLES = """
CREATE TABLE total (id INTEGER PRIMARY KEY, sum INT NOT NULL, rate INT);
CREATE TABLE entry (id INTEGER PRIMARY KEY, amount INT NOT NULL);
CREATE TABLE journal (id BLOB PRIMARY KEY NOT NULL, entry INT NOT NULL);
INSERT INTO total VALUES (1, 0, 0);
"""
ADD = "{} INSERT ON entry BEGIN UPDATE total SET sum = sum + new.amount; END;"
NOTE = "AFTER INSERT ON entry BEGIN INSERT INTO journal VALUES (randomblob(16), new.id); END;"
ENTRY = "INSERT INTO entry VALUES (1, 100);"

def database(trigger):
    connection = apsw.Connection(":memory:")
    connection.execute(TABLES + "CREATE TRIGGER kept " + trigger)
    return connection

def state(connection):
    return connection.execute("SELECT sum, (SELECT count(*) FROM journal) FROM total").fetchone()

def applied(name, trigger, statements, answer="REPLACE", triggers=True):
    origin, replica = database(trigger), database(trigger)
    session = apsw.Session(origin, "main")
    session.attach()
    origin.execute("BEGIN;" + statements + "COMMIT")
    conflicts = []

    def conflict(reason, change):
        conflicts.append(change.name)
        return getattr(apsw, "SQLITE_CHANGESET_" + answer)

    replica.config(apsw.SQLITE_DBCONFIG_ENABLE_TRIGGER, triggers)
    try:
        apsw.Changeset.apply(session.changeset(), replica, conflict=conflict)
        end = "applied"
    except apsw.AbortError:
        end = "refused"
    order = [change.name for change in apsw.Changeset.iter(session.changeset())]
    print(f"{name}, {' before '.join(order)}: {end}, conflicts {conflicts},",
          f"origin {state(origin)}, replica {state(replica)},",
          replica.execute("PRAGMA integrity_check").fetchone()[0])

CASES = {
    "AFTER": (ADD.format("AFTER"), ENTRY),
    "BEFORE": (ADD.format("BEFORE"), ENTRY),
    "AFTER, rate first": (ADD.format("AFTER"), "UPDATE total SET rate = 2;" + ENTRY),
    "journal": (NOTE, ENTRY),
}
print("SQLite", apsw.sqlite_lib_version())
print("(sum, lines of the journal)")
applied("AFTER, ABORT", *CASES["AFTER"], "ABORT")
for name, case in CASES.items():
    applied(name, *case)
print("with the replica's triggers off")
for name, case in CASES.items():
    applied(name, *case, triggers=False)
P
venv/bin/python replica.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
SQLite 3.54.1
(sum, lines of the journal)
AFTER, ABORT, entry before total: refused, conflicts ['total'], origin (100, 0), replica (0, 0), ok
AFTER, entry before total: applied, conflicts ['total'], origin (100, 0), replica (100, 0), ok
BEFORE, total before entry: applied, conflicts [], origin (100, 0), replica (200, 0), ok
AFTER, rate first, total before entry: applied, conflicts [], origin (100, 0), replica (200, 0), ok
journal, entry before journal: applied, conflicts [], origin (0, 1), replica (0, 2), ok
with the replica's triggers off
AFTER, entry before total: applied, conflicts [], origin (100, 0), replica (100, 0), ok
BEFORE, total before entry: applied, conflicts [], origin (100, 0), replica (100, 0), ok
AFTER, rate first, total before entry: applied, conflicts [], origin (100, 0), replica (100, 0), ok
journal, entry before journal: applied, conflicts [], origin (0, 1), replica (0, 1), ok
E
echo "as described"
