"""`speaks: bank`: transfers and reads as they are."""

from collections.abc import Mapping

from bank.ledger import FAILED, READ, SUCCESS
from harness.cluster.history import Operation
from harness.external.speaking.dialect import Body, Done, Meaning, Wrong, is_number


class Bank:
    """See the module."""

    tells_state = True
    refuses = True

    def __init__(self, balances: Mapping[str, int]) -> None:
        pass

    def begin(self, operation: Operation) -> Body:
        """`transfer` or `read`, with the client and the timestamp that make it the same."""
        client, timestamp, kind, sender, receiver, amount = operation.request
        body: Body = {"type": kind, "client": client, "timestamp": timestamp}
        if kind == READ:
            return {**body, "account": sender}
        return {**body, "from": sender, "to": receiver, "amount": amount}

    def understand(self, operation: Operation, asked: Body, answer: Body) -> Meaning | None:
        """`transfer_ok` with a result, `read_ok` with a value."""
        match answer:
            case {"type": "error"}:
                return None
            case {"type": "transfer_ok", "result": "success" | "failed" as result} if (
                asked["type"] != READ
            ):
                return Done(SUCCESS if result == "success" else FAILED)
            case {"type": "read_ok", "value": value} if asked["type"] == READ and is_number(value):
                return Done(value)
        if asked["type"] == READ:
            return Wrong("expected read_ok with a whole number below 2^63 as value")
        return Wrong('expected transfer_ok with "success" or "failed" as result')

    def problems(self) -> list[str]:
        """None: answers of a bank speak for themselves."""
        return []
