"""Names of the protocol's numbers: ballots, replicas, clients, slots.

Ballots are compared as (number, replica), so that two candidates never own the same one
("Paxos Made Simple", section 2.4; unlike the paper, the proposer's id is part of the number).
"""

from typing import NamedTuple, TypeAlias

ReplicaId: TypeAlias = int  # 1..N; people see n1..nN
ClientId: TypeAlias = str  # "" is nobody: the client of a no-op
Slot: TypeAlias = int  # position in the log, from 1; people see it as Seq


class Ballot(NamedTuple):
    """A leadership attempt. Totally ordered; owned by exactly one replica."""

    number: int
    replica: ReplicaId

    def __str__(self) -> str:
        return f"({self.number}, {replica_name(self.replica)})"


NO_BALLOT = Ballot(0, 0)  # below every real ballot


def replica_name(replica: ReplicaId) -> str:
    """What people call a replica: 3 is "n3"."""
    return f"n{replica}"
