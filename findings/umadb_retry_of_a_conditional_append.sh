#!/usr/bin/env bash
# umadb 0.7.8 (PyPI, 2026-08, event store with dynamic consistency boundaries; the package has the
#   server in it), seen 2026-11-28.
#
# One would guess: an append with a condition, whose events have UUIDs, may be sent again when the
#   reply was lost. Its documentation calls such appends idempotent: the second one writes nothing
#   and answers with the position of the first.
# What happens: that is so only if the condition's query matches every event of the append itself.
#   The store tries the condition first, and looks at the UUIDs only when it fails. If the query
#   matches none of them ("deposit, unless the account was closed"), the retry is written: two
#   deposits of one UUID. If it matches some ("debit here, credit there, unless there was another
#   debit here"), the retry is refused with IntegrityError, the error for a conflict with somebody
#   else, whose text names the client's own debit; the transfer has long been committed. Whoever
#   then decides anew, as one does after a conflict, transfers twice.
# Who meets it: services that book money or stock in such a store and retry after a time-out or a
#   restart of the server. A test that retries with the query of the documentation's example, which
#   matches the new event, passes. That UUIDs need not be unique the documentation says, and an open
#   issue (6, 2025-12) asks about it.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
python3 -m venv venv
venv/bin/pip install -q --disable-pip-version-check umadb==0.7.8 2>pip.log ||
    { cat pip.log; exit 1; }

cat >retries.py <<'P'
import socket, subprocess, time, uuid
from umadb import AppendCondition, Client, Event, IntegrityError, Query, QueryItem

with socket.create_server(("127.0.0.1", 0)) as listener:
    address = "127.0.0.1:%d" % listener.getsockname()[1]
server = subprocess.Popen(["venv/bin/umadb", "--listen", address, "--db-path", "."],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

def connected():
    for _ in range(100):
        try:
            client = Client("http://" + address)
            client.head()
            return client
        except Exception:
            time.sleep(0.1)
    raise SystemExit("the server does not answer")

def event(kind, account):
    return Event(event_type=kind, tags=[f"account:{account}"], data=b"100", uuid=uuid.uuid4())

def twice(unless, *events):
    """Send an append and the same again; say what is written."""
    query = Query(items=[QueryItem(types=unless, tags=["account:1"])])
    condition = AppendCondition(fail_if_events_match=query, after=client.head())
    position = client.append(list(events), condition=condition)
    try:
        again = client.append(list(events), condition=condition)
        retry = "the first position" if again == position else "a later position"
    except IntegrityError as error:
        own = str(events[0].uuid) in str(error)
        retry = "IntegrityError" + own * ", which names the event sent"
    sent = {e.uuid for e in events}
    written = [read.event.event_type for read in client.read() if read.event.uuid in sent]
    print(f"{[e.event_type for e in events]} unless {unless}: {retry}\n  written: {written}")

try:
    client = connected()
    client.append([event("Opened", 1), event("Opened", 2)])
    twice(["Deposited", "Closed"], event("Deposited", 1))
    twice(["Closed"], event("Deposited", 1))
    twice(["Debited", "Closed"], event("Debited", 1), event("Credited", 2))
finally:
    server.kill()
    server.wait()
P
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep umadb
venv/bin/python retries.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
['Deposited'] unless ['Deposited', 'Closed']: the first position
  written: ['Deposited']
['Deposited'] unless ['Closed']: a later position
  written: ['Deposited', 'Deposited']
['Debited', 'Credited'] unless ['Debited', 'Closed']: IntegrityError, which names the event sent
  written: ['Debited', 'Credited']
E
echo "as described"
