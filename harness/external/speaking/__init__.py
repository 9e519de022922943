"""What replicas are asked in, one dialect a module: `bank`, `lin-kv`, `txn-list-append`."""

from collections.abc import Mapping

from harness.cluster import ctrl_c
from harness.external.speaking.bank import Bank
from harness.external.speaking.dialect import Dialect


def dialect(speaks: str, balances: Mapping[str, int]) -> Dialect:
    """That of a description; `balances` are the first ones."""
    if speaks == "lin-kv":
        with ctrl_c.afterwards(or_again=True):
            from harness.external.speaking.lin_kv import LinKv

        return LinKv(balances)
    if speaks == "txn-list-append":
        with ctrl_c.afterwards(or_again=True):
            from harness.external.speaking.txn import ListAppend

        return ListAppend(balances)
    return Bank(balances)
