"""`speaks: txn-list-append`: a bank on one list, for nodes that know transactions alone.

A transfer appends its number to the list and reads it; the list is the log, and its replay tells
the result. A number that stands twice counts once. Any two lists that were read must be prefixes
of one another.
"""

from collections.abc import Mapping, Sequence

from bank.ledger import READ, Ledger, Result
from harness.cluster.history import Operation
from harness.external.speaking.dialect import Body, Done, Key, Meaning, Wrong
from harness.files.text_file import shown

KEY = 0


class ListAppend:
    """See the module."""

    tells_state = False  # an unknown message ends many a program
    refuses = False

    def __init__(self, balances: Mapping[str, int]) -> None:
        self._operations: list[Operation] = []  # by number
        self._numbers: dict[Key, int] = {}  # by request
        self._list: list[int] = []  # the longest that was read
        self._balances: list[Mapping[str, int]] = [balances]  # after so many entries of it
        self._results: dict[int, Result] = {}  # by number
        self._problems: list[str] = []

    def begin(self, operation: Operation) -> Body:
        """One transaction."""
        if operation.request[2] == READ:
            return {"type": "txn", "txn": [["r", KEY, None]]}
        number = self._numbers.get(operation.request[:2])
        if number is None:
            number = self._numbers[operation.request[:2]] = len(self._operations)
            self._operations.append(operation)
        return {"type": "txn", "txn": [["append", KEY, number], ["r", KEY, None]]}

    def understand(self, operation: Operation, asked: Body, answer: Body) -> Meaning | None:
        """The result, by the list that was read."""
        match answer:
            case {"type": "error"}:
                return None
            case {"type": "txn_ok", "txn": [*_, ["r", _, read]]} if len(answer["txn"]) == len(
                asked["txn"]
            ):
                return self._after_read(operation, [] if read is None else read)
        return Wrong("expected txn_ok with the transaction that was asked for, its read filled in")

    def _after_read(self, operation: Operation, read: object) -> Meaning:
        if not isinstance(read, list) or not all(type(number) is int for number in read):
            return Wrong("expected a list of numbers")
        if problem := self._take(read):
            if problem not in self._problems:
                self._problems.append(problem)
            return Wrong(problem)
        _, _, kind, sender, *_ = operation.request
        if kind == READ:
            return Done(self._balances[len(read)].get(sender, 0))
        number = self._numbers[operation.request[:2]]
        if number not in read:
            problem = f"a list does not hold {number}, which its own transaction had appended"
            self._problems.append(problem)
            return Wrong(problem)
        return Done(self._results[number])

    def _take(self, read: Sequence[int]) -> str:
        """Replay what is new of a list; what is wrong with it, or ""."""
        known = self._list
        shared = min(len(known), len(read))
        if known[:shared] != list(read[:shared]):
            at = next(i for i in range(shared) if known[i] != read[i])
            return f"two lists differ: entry {at + 1} is {known[at]} in one, {read[at]} in another"
        for number in read[shared:]:
            if not 0 <= number < len(self._operations):
                return f"a list holds {shown(str(number), 30)}, which nobody appended"
            ledger = Ledger(self._balances[-1])
            if number not in self._results:
                self._results[number] = ledger.apply(*self._operations[number].request[2:])
            known.append(number)
            self._balances.append(ledger.balances)
        return ""

    def problems(self) -> list[str]:
        """Lists that are no prefixes of one another, entries that nobody made."""
        return list(self._problems)
