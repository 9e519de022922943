#!/usr/bin/env bash
# paxodin 0.2.0 (PyPI, 2026-09, bindings of the Paxos-Odin consensus core), seen 2026-11-28.
#
# One would guess: FileJournal, its durable journal, gets over a torn last record, which its
#   documentation says is discarded. What is synced after that recovery is there at the next start.
# What happens: the torn record is skipped by the reader and stays in the file; new records follow
#   it. At the next start its length still counts, so it swallows what follows. As long as the later
#   votes are shorter than the part that is missing, they look like the torn tail again: all are
#   dropped, without an error, though each was synced and answered. Once they are longer, the same
#   bytes are a "complete record" with a wrong checksum, and the node refuses to start for good.
#   Its own words for such a record: its loss lets a crash choose twice.
# Who meets it: a node whose disk was full once (the error says to reopen the node and replay, which
#   is what one does), or that lost power in a write, at the *second* start after that. Tests of
#   recovery that crash a node once, and journals of one's own that were written from such a reader.
set -euo pipefail
for python in python3 python3.14 python3.13 python3.12 ~/.pyenv/versions/*/bin/python3 ""; do
    [ -n "$python" ] || { echo "Python 3.12 or later is needed"; exit 2; }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
"$python" -m venv venv
venv/bin/pip install -q --disable-pip-version-check paxodin==0.2.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >start.py <<'P'
"""One start of a node: replay, then vote. Arguments: folder, bytes the disk has left, votes."""
import os, resource, sys
from paxodin import (EntryKind, FileJournal, JournalCorrupt, LogEntry, StorageError, WriteKind,
                     WriteRecord)

def vote(slot, command):
    return WriteRecord(kind=WriteKind.VOTE, ballot=7, slot=slot, trim_id=0, trim_slot=0,
                       entry=LogEntry(kind=EntryKind.COMMAND, body=command),
                       requires_barrier=True)

folder, left = sys.argv[1], int(sys.argv[2])
slots = [int(slot) for slot in sys.argv[3:]]
journal = FileJournal(folder)
journal.open(node_id=1, configuration_id=1)
try:
    replayed = [record.slot for record in journal.replay()]
except JournalCorrupt:
    raise SystemExit("  JournalCorrupt")
if left:  # as a full disk does it: part of the record is written, then comes the error
    size = os.path.getsize(f"{folder}/journal.bin")
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + left, size + left))
synced = []
for slot in slots:
    try:
        journal.append([vote(slot, b"x" * (1000 if left else 1))])
        journal.sync()
        synced.append(slot)
    except StorageError:
        print(f"  replayed {replayed}, StorageError at the vote for {slot}")
        os._exit(0)
print(f"  replayed {replayed}, synced {len(synced)}")
P

venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep paxodin
start() { venv/bin/python start.py "$@" 2>&1 || true; }
{
    echo "few votes after the recovery:"
    start few 0 1
    start few 100 2
    start few 0 2 3 4
    start few 0
    echo "many votes after the recovery:"
    start many 0 1
    start many 100 2
    start many 0 $(seq 2 25)
    start many 0
} | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
few votes after the recovery:
  replayed [], synced 1
  replayed [1], StorageError at the vote for 2
  replayed [1], synced 3
  replayed [1], synced 0
many votes after the recovery:
  replayed [], synced 1
  replayed [1], StorageError at the vote for 2
  replayed [1], synced 24
  JournalCorrupt
E
echo "as described"
