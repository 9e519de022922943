"""What the checks remember of a schedule, as part of the explored state.

What was ever voted, executed and claimed is not all to be found in the replicas' states any more:
a leader that answered its client and died is the only one who knew. So the checks' own memory
belongs to the state, and two schedules are merged only when they also agree in it.

The checks are those of `harness.sim.invariants`; added here are the replies, each replica's whole
state against the slots executed so far, and the order of the watermarks.
"""

import pickle
from collections.abc import Hashable, Mapping

from bank.ballot import replica_name
from bank.replica import Replica
from harness.sim import judging
from harness.sim.explore.turns import Envelope, Step, judged
from harness.sim.invariants import Oracle, Safety, Violation


class CheckerStates:
    """Memories of the checks, numbered; each step of one is computed once."""

    def __init__(
        self, nodes: int, balances: Mapping[str, int], interval: int, envelopes: list[Envelope]
    ) -> None:
        self._envelopes = envelopes  # shared: it grows
        self._balances = balances
        self._numbers: dict[Hashable, int] = {}
        self._states: list[bytes] = []
        self._known: dict[tuple[int, int], int] = {}
        # Of each memory, the number of what others' steps are held against: see `orders`.
        self.facts: list[int] = []
        self._fact_numbers: dict[Hashable, int] = {}
        self.first = self._number(Safety(nodes, balances, interval))

    def __len__(self) -> int:
        return len(self._states)

    def _number(self, safety: Safety) -> int:
        number = self._numbers.setdefault(safety.key(), len(self._states))
        if number == len(self._states):
            safety._latest.clear()  # it is only counted by
            self._states.append(pickle.dumps(safety, pickle.HIGHEST_PROTOCOL))
            facts = safety.facts()
            self.facts.append(self._fact_numbers.setdefault(facts, len(self._fact_numbers)))
        return number

    def memory(self, checker: int) -> Safety:
        """A copy of a memory."""
        safety: Safety = pickle.loads(self._states[checker])
        return safety

    def number(self, safety: Safety) -> int:
        """The number of a memory."""
        return self._number(safety)

    def after(self, checker: int, step: Step) -> int:
        """Judge a step: the memory afterwards. Raises Violation."""
        key = checker, step.number
        known = self._known.get(key)
        if known is None:
            safety = self.memory(checker)
            self._judge(safety, step)
            known = self._known[key] = self._number(safety)
        return known

    def _judge(self, safety: Safety, step: Step) -> None:
        replica, executed = step.replica, False
        for act in step.acts:
            if act.flushed is not None:
                effects, marks = act.flushed
                executed |= bool(effects.executed)
                judging.flushed(safety, replica, effects)
                judging.decided(safety, replica, effects, marks)
            elif act.read is not None:
                safety.told(replica, *act.read)
            elif act.persist is not None:
                safety.stored(replica, act.persist)
            elif act.envelope is not None:
                judging.sent(safety, replica, self._envelopes[act.envelope].message)
            elif act.found is not None:
                safety.restarted(replica, act.found)
                executed = True
            elif act.done is not None and executed:
                self._compare(safety, act.done)

    def _compare(self, safety: Safety, replica: Replica) -> None:
        """The state is what the executed slots give, and money is neither made nor lost."""
        with judged():
            status = replica.status()
        name = replica_name(status.replica)
        if not status.truncated_upto <= status.executed_upto <= status.committed_upto:
            raise Violation(f"{name}: watermarks out of order: {status}")
        oracle = Oracle(self._balances)
        for slot, (request, _) in enumerate(safety.slots[: status.executed_upto], 1):
            oracle.answer(slot, request)
        oracle.compare(status)
