#!/usr/bin/env bash
# simloom 0.5.0 (PyPI, 2026-07, simulation of asyncio programs with an Elle-style checker),
#   seen 2026-11-28.
#
# One would guess: a serializability checker modelled after Elle, there to find wrong answers, finds
#   the read of a value that no committed transaction wrote. Elle has a name for it, aborted read
#   (G1a), and needs no cycle to report it.
# What happens: it is called serializable. A transaction that ends with an exception leaves nothing
#   in the history, and a value whose writer is not in the history makes no edge in the graph, so
#   there is never a cycle. Two statements show the rolled-back transfer, one of them beside the
#   other account, which lacks it: serializable. So is a value from nowhere. The package's own
#   linearizability checker refuses such a read of a register, and its serializability checker
#   does find the lost update, which makes it look complete.
# Who meets it: whoever tests a transactional store for the classic fault of its abort path, a write
#   that stays visible after the rollback. As simulated here, no number of seeds finds it.
set -euo pipefail
for python in python3 python3.14 python3.13 python3.12 ~/.pyenv/versions/*/bin/python3 ""; do
    [ -n "$python" ] || { echo "Python 3.12 or later is needed"; exit 2; }
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && break
done
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
"$python" -m venv venv
venv/bin/pip install -q --disable-pip-version-check simloom==0.5.0 2>pip.log ||
    { cat pip.log; exit 1; }

cat >bank.py <<'P'
import simloom

class Overdrawn(Exception):
    pass

class Store:
    """Accounts that are lists of transfers; its rollback can be told to forget one account."""
    def __init__(self, forgetful):
        self.accounts, self.forgetful = {"a": [], "b": []}, forgetful

    async def transfer(self, history, number, covered=True):
        with history.transaction() as transaction:
            for account in "a", "b":
                self.accounts[account].append(number)
                transaction.append(account, number)
            if not covered:
                self.accounts["b"].remove(number)
                if not self.forgetful:
                    self.accounts["a"].remove(number)
                raise Overdrawn

    async def statement(self, history, *accounts):
        with history.transaction() as transaction:
            for account in accounts:
                transaction.read(account, self.accounts[account])

def judged(what, result):
    print(f"{what}: {bool(result)}")

async def rollbacks(world):
    for forgetful in False, True:
        store, history = Store(forgetful), simloom.History()
        await store.transfer(history, 1)
        try:
            await store.transfer(history, 2, covered=False)
        except Overdrawn:
            pass
        await store.statement(history, "a")
        await store.transfer(history, 3)
        await store.statement(history, "a", "b")
        kind = "forgets account a" if forgetful else "is right"
        print(f"the rollback {kind}, the last statement is {store.accounts}")
        judged("  serializable", simloom.check_serializable(history))

    nowhere = simloom.History()
    nowhere.record([("read", "a", [99])])
    judged("a list with a value from nowhere is read, serializable",
           simloom.check_serializable(nowhere))
    lost = simloom.History()
    lost.record([("read", "a", []), ("append", "a", 1)])
    lost.record([("read", "a", []), ("append", "a", 2)])
    judged("an update is lost, serializable", simloom.check_serializable(lost))
    register = simloom.RegisterHistory()
    register.invoke("a", "read").complete(99)
    judged("a register with a value from nowhere is read, linearizable",
           simloom.check_linearizable(register))

simloom.run(rollbacks, seed=1)
P
venv/bin/pip list --disable-pip-version-check 2>/dev/null | grep simloom
venv/bin/python bank.py | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
the rollback is right, the last statement is {'a': [1, 3], 'b': [1, 3]}
  serializable: True
the rollback forgets account a, the last statement is {'a': [1, 2, 3], 'b': [1, 3]}
  serializable: True
a list with a value from nowhere is read, serializable: True
an update is lost, serializable: False
a register with a value from nowhere is read, linearizable: False
E
echo "as described"
