"""Accounts and their balances, in pages: a million of them as some bytes, not as as many objects.

An account has a fixed position, its place among the names that a cluster begins with. Balances lie
by position, 8 bytes each, cut into pages of so many accounts. A state is shared page by page with
the one before: whoever keeps several pays for the pages that differ.
"""

import hashlib
from array import array
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from typing import Any, Final

PAGE_ACCOUNTS: Final = 1024  # 8 KiB
BALANCE_BYTES: Final = 8  # signed, the lowest first
# A table of names takes some 130 bytes for each. Above so many, names that are numbered have none.
MOST_LISTED: Final = 1 << 16

_IS_SWAPPED = array("H", [1]).tobytes() == b"\0\1"  # this processor has the highest byte first


class Accounts(Sequence[str]):
    """The names of all accounts, in the order of their positions. The same at every replica."""

    __slots__ = (
        "_count",
        "_first",
        "_names",
        "_prefix",
        "fingerprint",
        "page_accounts",
        "position",
    )

    # The position of a name; None for an unknown one.
    position: Callable[[str], int | None]

    def __init__(self, names: Iterable[str], page_accounts: int = PAGE_ACCOUNTS) -> None:
        """Names that are different; `page_accounts` of them share a page."""
        listed = tuple(names)
        prefix, first = _numbering(listed)
        self._begin(prefix, first, len(listed), page_accounts)
        if not prefix:
            self._list(listed)

    @classmethod
    def numbered(
        cls, prefix: str, first: int, count: int, page_accounts: int = PAGE_ACCOUNTS
    ) -> "Accounts":
        """Those of a1, a2, a3, … : the same as by their names, and in no time."""
        if count <= MOST_LISTED or not prefix:
            return cls([f"{prefix}{first + at}" for at in range(count)], page_accounts)
        accounts = cls.__new__(cls)
        accounts._begin(prefix, first, count, page_accounts)
        return accounts

    @classmethod
    def of(cls, names: Iterable[str], page_accounts: int) -> "Accounts":
        """Those of a mapping or a list, in pages of this size."""
        if isinstance(names, Balances):
            names = names.accounts
        if not isinstance(names, Accounts):
            return cls(names, page_accounts)
        return names if names.page_accounts == page_accounts else names._in_pages(page_accounts)

    def _begin(self, prefix: str, first: int, count: int, page_accounts: int) -> None:
        self._prefix, self._first, self._count = prefix, first, count
        self.page_accounts = page_accounts
        self._names: tuple[str, ...] = ()
        if prefix:
            self.position = _numbered_positions(prefix, first, count)
        self.fingerprint = self._sealed(f"{prefix} {first} {count}")

    def _list(self, names: tuple[str, ...]) -> None:
        self._names = names
        self.position = dict(zip(names, range(len(names)), strict=True)).get
        self.fingerprint = self._sealed("\n".join(names))

    def _sealed(self, names: str) -> bytes:
        return hashlib.sha256(f"{self.page_accounts}\n{names}".encode()).digest()

    def _in_pages(self, page_accounts: int) -> "Accounts":
        if self._names:
            return Accounts(self._names, page_accounts)
        return Accounts.numbered(self._prefix, self._first, self._count, page_accounts)

    @property
    def pages(self) -> int:
        """How many pages their balances take."""
        return -(-self._count // self.page_accounts)

    def names(self, page: int) -> Sequence[str]:
        """Those of one page."""
        found: Sequence[str] = self[page * self.page_accounts : (page + 1) * self.page_accounts]
        return found

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, at: Any) -> Any:
        if self._names:
            return self._names[at]
        numbers = range(self._first, self._first + self._count)[at]
        if isinstance(numbers, int):
            return f"{self._prefix}{numbers}"
        return [f"{self._prefix}{number}" for number in numbers]

    def __iter__(self) -> Iterator[str]:
        return iter(self[:])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.position(name) is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Accounts):
            return NotImplemented
        return self is other or self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def __repr__(self) -> str:
        return f"Accounts({_shortened(self)}, {self.page_accounts})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._names:
            return Accounts, (self._names, self.page_accounts)
        return Accounts.numbered, (self._prefix, self._first, self._count, self.page_accounts)


def _numbering(names: Sequence[str]) -> tuple[str, int]:
    """The prefix and the first number of many names that are numbered; else ("", 0)."""
    if len(names) <= MOST_LISTED:
        return "", 0
    prefix = names[0].rstrip("0123456789")
    digits = names[0][len(prefix) :]
    if not prefix or not digits:
        return "", 0
    first = int(digits)
    wanted = (f"{prefix}{number}" for number in range(first, first + len(names)))
    return (prefix, first) if all(map(str.__eq__, names, wanted)) else ("", 0)


def _numbered_positions(prefix: str, first: int, count: int) -> Callable[[str], int | None]:
    """Where a numbered name is: a table of thousands and one of what is behind them.

    0.2 µs, where reading the number, and writing it again to see that it is the same, takes 0.45.
    """
    last = first + count
    thousands = range(max(1, -(-first // 1000)), max(1, last // 1000))  # those that are all there
    inside = range(thousands.start * 1000, thousands.stop * 1000) if thousands else range(0)
    others = [number for number in range(first, last) if number not in inside]
    base = {f"{prefix}{thousand}": thousand * 1000 - first for thousand in thousands}.get
    behind = {f"{number:03}": number for number in range(1000)}.get
    alone = {f"{prefix}{number}": number - first for number in others}.get

    def position(name: str) -> int | None:
        start = base(name[:-3])
        if start is None:
            return alone(name)
        at = behind(name[-3:])
        return None if at is None else start + at

    return position


def _shortened(names: Sequence[str]) -> str:
    return ", ".join([*names[:3], "…"] if len(names) > 3 else names)


class Balances(Mapping[str, int]):
    """What all accounts hold at one moment; never changes."""

    __slots__ = ("accounts", "pages")

    def __init__(self, accounts: Accounts, pages: tuple[bytes, ...]) -> None:
        """`pages` hold as many balances as there are accounts."""
        self.accounts, self.pages = accounts, pages

    @classmethod
    def of(cls, balances: Mapping[str, int], page_accounts: int | None = None) -> "Balances":
        """The same in pages of this size; None: of any."""
        if isinstance(balances, Balances):
            page_accounts = page_accounts or balances.accounts.page_accounts
            if page_accounts == balances.accounts.page_accounts:
                return balances
        page_accounts = page_accounts or PAGE_ACCOUNTS
        accounts = Accounts.of(balances, page_accounts)
        return cls(accounts, pages_of(array("q", balances.values()), page_accounts))

    @classmethod
    def alike(cls, accounts: Accounts, balance: int) -> "Balances":
        """The same balance for all: one page for many."""
        whole, rest = divmod(len(accounts), accounts.page_accounts)
        one = to_bytes(array("q", [balance]))
        last = (one * rest,) if rest else ()
        return cls(accounts, (one * accounts.page_accounts,) * whole + last)

    def cells(self) -> "array[int]":
        """By position; a copy."""
        return from_bytes(b"".join(self.pages))

    def __getitem__(self, account: str) -> int:
        at = self.accounts.position(account)
        if at is None:
            raise KeyError(account)
        page, row = divmod(at, self.accounts.page_accounts)
        start = row * BALANCE_BYTES
        held = self.pages[page][start : start + BALANCE_BYTES]
        return int.from_bytes(held, "little", signed=True)

    def __iter__(self) -> Iterator[str]:
        return iter(self.accounts)

    def __len__(self) -> int:
        return len(self.accounts)

    def __contains__(self, account: object) -> bool:
        return account in self.accounts

    def values(self) -> ValuesView[int]:
        """In the order of positions."""
        return _Values(self)

    def items(self) -> ItemsView[str, int]:
        """In the order of positions."""
        return _Items(self)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Balances) and other.accounts == self.accounts:
            return self.pages == other.pages
        if not isinstance(other, Mapping):
            return NotImplemented
        return len(self) == len(other) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]  # as of any mapping

    def __repr__(self) -> str:
        return repr(dict(self.items()))

    def __reduce__(self) -> tuple[Any, ...]:
        return Balances, (self.accounts, self.pages)


class _Values(ValuesView[int]):
    __slots__ = ()
    _mapping: Balances

    def __iter__(self) -> Iterator[int]:
        return iter(self._mapping.cells())


class _Items(ItemsView[str, int]):
    __slots__ = ()
    _mapping: Balances

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return zip(self._mapping.accounts, self._mapping.cells(), strict=True)


def to_bytes(cells: "array[int]") -> bytes:
    """Balances as every machine writes them."""
    if _IS_SWAPPED:
        cells = cells[:]
        cells.byteswap()
    return cells.tobytes()


def from_bytes(data: bytes) -> "array[int]":
    """The inverse of `to_bytes`."""
    cells = array("q")
    cells.frombytes(data)
    if _IS_SWAPPED:
        cells.byteswap()
    return cells


def pages_of(
    cells: "array[int]", page_accounts: int, before: Sequence[bytes] = ()
) -> tuple[bytes, ...]:
    """All pages as of now; one that is as in `before` is the very same."""
    starts = range(0, len(cells), page_accounts)
    pages = [to_bytes(cells[start : start + page_accounts]) for start in starts]
    for number, old in enumerate(before):
        if pages[number] == old:
            pages[number] = old
    return tuple(pages)


def cut(data: bytes, page_accounts: int) -> tuple[bytes, ...]:
    """The pages that these bytes are."""
    size = page_accounts * BALANCE_BYTES
    return tuple(data[start : start + size] for start in range(0, len(data), size))


def joined(pages: Sequence[bytes], first: int, last: int) -> bytes:
    """The bytes first..last - 1 of all pages one after the other; all but the last are as long."""
    size = len(pages[0])
    chosen = pages[first // size : -(-last // size)]
    skipped = first // size * size
    return b"".join(chosen)[first - skipped : last - skipped]
