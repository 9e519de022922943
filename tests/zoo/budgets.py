"""Animals that are right and wasteful: they say too much, or take far too long to come back."""

from bank.messages import Heartbeat
from bank.replica import Replica

from .kit import animal


@animal(
    "A leader answers the answer to its heartbeat with the next heartbeat.",
    "A pulse that is sent again as soon as it was answered: one round trip where a pause was "
    "meant. It works in every test, and takes a processor for itself.",
)
class HeartbeatAtOnce(Replica):
    def _on_accepted(self, source, message):
        super()._on_accepted(source, message)
        if message.asked_upto and self._leadership is not None:
            self._leadership.heartbeat_due = self._now


@animal(
    "A backup answers a heartbeat with a question for what comes next, whether it lacks it or not.",
    "“Ask, and you will be told” as a way to catch up: polling beside a protocol that pushes.",
)
class AsksAtEveryHeartbeat(Replica):
    def step(self, source, message, now):
        super().step(source, message, now)
        if isinstance(message, Heartbeat) and self.following.replica == source:
            self._ask(source)


@animal(
    "A time-out that runs out is only noted, and acted on at the twentieth time.",
    "Three strikes before a peer is called dead, on top of a time-out that was made for it.",
)
class DozesThroughTimeouts(Replica):
    _missed = 0

    def _expire(self):
        self._missed += 1
        if self._missed % 20:
            self._expiry = self._now + self._draw_timeout()
        else:
            super()._expire()


@animal(
    "Slots above 300 are not sent again to who lacks them.",
    "A loop over what is missing with an upper bound that was the size of an array once.",
)
class NothingSentAgainFarUp(Replica):
    def _on_accepted(self, source, message):
        if message.last_slot >= 300:
            message = type(message)(message.ballot, message.first_slot, message.last_slot, 0)
        super()._on_accepted(source, message)
