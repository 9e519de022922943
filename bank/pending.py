"""Clients' requests: answered from memory, proposed, relayed, or kept until somebody leads.

Rules 6 and 10. What a replica without a ballot was asked nobody else may know of: what waits for a
leader is relayed to the next one, and what was relayed may die unread with the one it went to.
"""

from collections.abc import Sequence

from bank.ballot import ClientId, ReplicaId
from bank.learner import Learner
from bank.messages import ClientRequest
from bank.sessions import Request
from bank.standing import Leader, Settled, Standing


class Pending:
    """The newest request of each client that this replica has to see to."""

    def __init__(self, learner: Learner) -> None:
        self._learner, self._outbox = learner, learner.outbox
        # While there is no leader, and whether a backup relayed it here.
        self._waiting: dict[ClientId, tuple[Request, bool]] = {}
        self._relayed: dict[ClientId, Request] = {}  # to the leader that this replica follows

    def take(self, message: ClientRequest, standing: Standing, leader: ReplicaId) -> bool:
        """Answer what is known; propose, relay or keep the rest. True when it needs a leader."""
        sessions = self._learner.machine.sessions
        lead = standing if isinstance(standing, Leader) else None
        onward: list[Request] = []
        for request in message.requests:
            client, timestamp = request[0], request[1]
            known = sessions.get(client)
            if known is not None and timestamp <= known[1]:
                if timestamp == known[1]:
                    self._outbox.answers.append(known)
            elif lead is None:
                onward.append(request)
            elif timestamp > lead.in_flight.get(client, 0):
                lead.in_flight[client] = timestamp
                lead.batch.append(request)
        if not onward:
            return False
        if isinstance(standing, Settled):
            if not message.relayed:
                self._relay(onward, leader)
            return False
        for request in onward:
            self.keep(request, message.relayed)
        return True

    def _relay(self, requests: Sequence[Request], leader: ReplicaId) -> None:
        self._relayed.update((request[0], request) for request in requests)
        self._outbox.early(leader, ClientRequest(tuple(requests), relayed=True))

    def keep(self, request: Request, relayed: bool) -> None:
        """Until there is a leader, unless a newer one of this client is kept."""
        held = self._waiting.get(request[0])
        if held is None or request[1] > held[0][1] or (request[1] == held[0][1] and not relayed):
            self._waiting[request[0]] = (request, relayed)

    def take_back(self) -> None:
        """Another leads, or nobody: what was relayed is this replica's to see to again.

        The new leader's first word may be read before the notice that the old one died.
        """
        for client, request in self._relayed.items():
            known = self._learner.machine.sessions.get(client)
            if known is None or known[1] < request[1]:
                self.keep(request, relayed=False)
        self._relayed.clear()

    def relay_waiting(self, leader: ReplicaId) -> None:
        """There is a leader: it gets what was kept, but for what was relayed before."""
        waiting, self._waiting = self._waiting, {}
        if fresh := [request for request, relayed in waiting.values() if not relayed]:
            self._relay(fresh, leader)

    def propose_waiting(self, lead: Leader) -> None:
        """This replica leads itself: it proposes what was kept."""
        waiting, self._waiting = self._waiting, {}
        if waiting:
            requests = tuple(request for request, _ in waiting.values())
            self.take(ClientRequest(requests), lead, lead.ballot.replica)
