"""The log in a replica's file: a row for each run of slots that was stored at once.

A run's requests stand in it column by column, each column a JSON array. SQLite takes as long for a
row as for some thirty names in one, so a slot costs 0.35 µs in long runs, where a row for each took
1.2 and filled a fifth more pages.

Rows are never changed. Slots that were accepted again stand in a later row, and the last one
counts; those of a run that is truncated in part stay until all of it is. The view `log` has what
counts, one row per slot, for any SQLite tool.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence

from bank.ballot import Ballot, Slot
from bank.effects import Run
from bank.sessions import Request

SCHEMA = """
create table run(number integer primary key, first_slot integer, slots integer,
    ballot_number integer, ballot_replica integer, clients text, timestamps text, kinds text,
    senders text, receivers text, amounts text);
create view log(slot, ballot_number, ballot_replica, client, timestamp, kind, sender, receiver,
    amount) as select slot, ballot_number, ballot_replica, client, timestamp, kind, sender,
    receiver, amount from (
        select first_slot + key as slot, max(number), ballot_number, ballot_replica,
            value as client,
            json_extract(timestamps, '$[' || key || ']') as timestamp,
            json_extract(kinds, '$[' || key || ']') as kind,
            json_extract(senders, '$[' || key || ']') as sender,
            json_extract(receivers, '$[' || key || ']') as receiver,
            json_extract(amounts, '$[' || key || ']') as amount
        from run, json_each(clients) group by slot
    ) where slot > (select truncated_upto from watermark);
"""

_APPEND = "insert into run values (null,?,?,?,?,?,?,?,?,?,?)"
# Rows are truncated from the first one on, up to one that reaches further: no row is looked at that
# stays. What is behind that one waits for it, and is not read meanwhile.
_TRUNCATE = """
delete from run where number < ifnull(
    (select number from run where first_slot + slots > ? + 1 order by number limit 1),
    (select max(number) + 1 from run))
"""


def append(db: sqlite3.Connection, run: Run) -> None:
    """Store a run, over what is stored of its slots; raises sqlite3.Error, TypeError."""
    first_slot, (number, replica), requests = run
    clients, timestamps, kinds, senders, receivers, amounts = zip(*requests, strict=True)
    row = (
        first_slot, len(requests), number, replica, _names(clients), _numbers(timestamps),
        _names(kinds), _names(senders), _names(receivers), _numbers(amounts),
    )  # fmt: skip
    db.execute(_APPEND, row)


def truncate(db: sqlite3.Connection, upto: Slot) -> None:
    """Slots up to here need not be stored any more."""
    db.execute(_TRUNCATE, (upto,))


def entries(db: sqlite3.Connection, above: Slot) -> Iterator[tuple[Slot, Ballot, Request]]:
    """What is stored above a slot, in slot order; raises sqlite3.Error, TypeError, ValueError."""
    held: dict[Slot, tuple[Ballot, Request]] = {}
    for _, first_slot, slots, number, replica, *columns in db.execute(
        "select * from run order by number"
    ):
        requests = list(zip(*map(json.loads, columns), strict=True))
        if len(requests) != slots:
            raise ValueError(f"{len(requests)} requests in a run of {slots} from slot {first_slot}")
        ballot = Ballot(number, replica)
        for slot, request in enumerate(requests, first_slot):
            held[slot] = ballot, request
    for slot in sorted(held):
        if slot > above:
            yield slot, *held[slot]


def _names(column: Sequence[str]) -> str:
    """As JSON. A name has letters, digits and underscores, nothing that needs to be escaped."""
    return f'''["{'","'.join(column)}"]'''


def _numbers(column: Sequence[int]) -> str:
    """As JSON, and nothing else than numbers."""
    return f"[{('%d,' * len(column) % column)[:-1]}]"
