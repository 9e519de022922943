"""The balances of a checkpoint in a replica's database: a table of pages, and a view by name.

Each page has two rows. The one that counts has the higher slot of those that are not above the
checkpoint's; the next checkpoint is written into the other, over several turns, and counts as soon
as `checkpoint` says its slot. Rows above that are what a checkpoint left that never came so far:
they go before another one is written, or they would count with it.
"""

import json
import sqlite3

from bank.accounts import Balances
from bank.effects import Pages

# Of the eight bytes of a balance, the lowest first, in hexadecimal digits: what they are together.
_BALANCE = " + ".join(
    f"(instr('123456789ABCDEF', substr(hex, {digit + 1}, 1)) << {digit * 4 + 4 - digit % 2 * 8})"
    for digit in range(16)
)
# `id` is twice the number of the page, or one more. Names are a JSON array of those of one page.
_SCHEMA = f"""
create table names(number integer primary key, names text);
create table page(id integer primary key, slot integer, balances blob);
create view account(name, balance) as
    with held(name, hex) as (
        select name.value, hex(substr(balances, 8 * name.key + 1, 8))
        from names, json_each(names) as name, page
        where page.id = (
            select id from page
            where id in (2 * names.number, 2 * names.number + 1)
                and slot <= coalesce((select slot from checkpoint), 0)
            order by slot desc limit 1
        )
    )
    select name, {_BALANCE} from held;
"""
_WRITE = """
insert into page values (?,?,?)
    on conflict(id) do update set slot = excluded.slot, balances = excluded.balances
"""
_COUNTING = """
select {what} from page as one
    where slot = (
        select max(slot) from page
        where id in (one.id / 2 * 2, one.id / 2 * 2 + 1)
            and slot <= coalesce((select slot from checkpoint), 0)
    )
    order by id
"""


def create(db: sqlite3.Connection, balances: Balances) -> None:
    """Make the table and the view; accounts begin with these balances. Within a transaction."""
    for statement in _SCHEMA.split(";\n"):
        db.execute(statement)
    accounts = balances.accounts
    names = ((n, json.dumps(list(accounts.names(n)))) for n in range(accounts.pages))
    db.executemany("insert into names values (?,?)", names)
    pages = ((2 * number, 0, page) for number, page in enumerate(balances.pages))
    db.executemany("insert into page values (?,?,?)", pages)


def read(db: sqlite3.Connection, pages: int) -> tuple[bytes, ...]:
    """All pages that count; ValueError when they are not so many."""
    found = dict(db.execute(_COUNTING.format(what="id / 2, balances")))
    if list(found) != list(range(pages)):
        raise ValueError(f"holds balances in {len(found)} pages, expected {pages}")
    return tuple(found.values())


class PageTable:
    """The table of an open database."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        # Of each page, which of its rows counts; the other one, where the next checkpoint is there.
        self._rows: dict[int, int] = dict(db.execute(_COUNTING.format(what="id / 2, id % 2")))
        self._written: dict[int, int] = {}
        self._slot = -1  # of the checkpoint whose pages were written last

    def write(self, pages: Pages) -> None:
        """In the present transaction, into rows that do not count."""
        if pages.slot != self._slot:
            left = "delete from page where slot > coalesce((select slot from checkpoint), 0)"
            self._db.execute(left)
            self._slot = pages.slot
            self._written.clear()
        rows: list[tuple[int, int, bytes]] = []
        for number, page in pages.pages:
            row = self._written[number] = 1 - self._rows[number]
            rows.append((2 * number + row, pages.slot, page))
        self._db.executemany(_WRITE, rows)

    def count(self) -> None:
        """The present transaction makes theirs the checkpoint that is stored."""
        self._rows |= self._written
        self._written.clear()
