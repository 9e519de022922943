"""The log in a replica's file: a row for each run of slots that was stored at once.

A run's requests stand in it as one JSON array, column by column. SQLite takes as long for a row as
for some thirty names in one, so a slot costs 0.35 µs in long runs, where a row for each took 1.2
and filled a fifth more pages.

Rows are never changed. Slots that were accepted again stand in a later row, and the last one
counts; those of a run that is truncated in part stay until all of it is. The view `log` has what
counts, one row per slot, for any SQLite tool.
"""

import json
import sqlite3
from collections.abc import Iterator

from bank.ballot import Ballot, Slot
from bank.effects import Run
from bank.sessions import Request

SCHEMA = """
create table run(number integer primary key, first_slot integer, slots integer,
    ballot_number integer, ballot_replica integer, requests text);
create view log(slot, ballot_number, ballot_replica, client, timestamp, kind, sender, receiver,
    amount) as select slot, ballot_number, ballot_replica, client, timestamp, kind, sender,
    receiver, amount from (
        select first_slot + key as slot, max(number), ballot_number, ballot_replica,
            value as client,
            json_extract(requests, '$[1][' || key || ']') as timestamp,
            json_extract(requests, '$[2][' || key || ']') as kind,
            json_extract(requests, '$[3][' || key || ']') as sender,
            json_extract(requests, '$[4][' || key || ']') as receiver,
            json_extract(requests, '$[5][' || key || ']') as amount
        from run, json_each(requests, '$[0]') group by slot
    ) where slot > (select truncated_upto from watermark);
"""

_APPEND = "insert into run values (null,?,?,?,?,?)"
# Rows are truncated from the first one on, up to one that reaches further: no row is looked at that
# stays. What is behind that one waits for it, and is not read meanwhile.
_TRUNCATE = """
delete from run where number < ifnull(
    (select number from run where first_slot + slots > ? + 1 order by number limit 1),
    (select max(number) + 1 from run))
"""


def append(db: sqlite3.Connection | sqlite3.Cursor, run: Run) -> None:
    """Store a run, over what is stored of its slots; raises sqlite3.Error, TypeError."""
    first_slot, (number, replica), requests = run
    clients, timestamps, kinds, senders, receivers, amounts = zip(*requests, strict=True)
    slots = len(requests)
    # Written out: `json.dumps` takes three times as long. A name has letters, digits and
    # underscores, nothing that JSON would escape; what is no number is a TypeError.
    numbers, comma = "%d," * slots, '","'
    columns = (
        f'[["{comma.join(clients)}"],[{(numbers % timestamps)[:-1]}],["{comma.join(kinds)}"],'
        f'["{comma.join(senders)}"],["{comma.join(receivers)}"],[{(numbers % amounts)[:-1]}]]'
    )
    db.execute(_APPEND, (first_slot, slots, number, replica, columns))


def truncate(db: sqlite3.Connection, upto: Slot) -> None:
    """Slots up to here need not be stored any more."""
    db.execute(_TRUNCATE, (upto,))


def entries(db: sqlite3.Connection, above: Slot) -> Iterator[tuple[Slot, Ballot, Request]]:
    """What is stored above a slot, in slot order; raises sqlite3.Error, TypeError, ValueError."""
    held: dict[Slot, tuple[Ballot, Request]] = {}
    for _, first_slot, slots, *ballot, columns in db.execute("select * from run order by number"):
        requests = list(zip(*json.loads(columns), strict=True))
        if len(requests) != slots:
            raise ValueError(f"{len(requests)} requests in a run of {slots} from slot {first_slot}")
        in_ballot = Ballot(*ballot)
        for slot, request in enumerate(requests, first_slot):
            held[slot] = in_ballot, request
    for slot in sorted(held):
        if slot > above:
            yield slot, *held[slot]
