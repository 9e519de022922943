"""Questions of the harness: state, log, views, fail and recover. It is the client c0.

What a replica may not answer it answers with error 10 once, and is not asked again. Two questions
without any answer say the same of one that never answered.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bank.ballot import Ballot, ReplicaId, Slot, replica_name
from bank.status import Role
from harness.check.told import Telling
from harness.cluster.journal import CAN_ANSWER
from harness.external import remarks, told
from harness.external.clients import is_number_as_text
from harness.external.fleet import Handle
from harness.external.medium import Medium
from harness.external.router import HARNESS
from harness.external.speaking.dialect import NOT_SUPPORTED, error_code

FIRST_MESSAGE = 1_000_000_000  # far above those of `init`
ASK_US = 1_000_000  # what an answer may take
ALWAYS_TOLD = ("balances", "executed", "committed", "role")  # or never, of a state
AGAIN_US = 5_000  # between two questions for the same
MOST_PAGES = 300  # of a log, at one time
OPTIONAL = ("state", "log", "views")
IN_VAIN = 2  # questions without an answer, after which nobody is asked again


class Asking:
    """See the module."""

    def __init__(
        self,
        handles: Mapping[ReplicaId, Handle],
        router: Medium,
        accounts: Sequence[str],
        tells_state: bool,
        pump: Callable[[int], None],
        now: Callable[[], int],
    ) -> None:
        """`tells_state`: whether replicas that speak so may be asked for state and log."""
        self._handles, self._router, self._accounts = handles, router, accounts
        self._is_told = tells_state
        self._pump, self._now = pump, now
        self._message = FIRST_MESSAGE
        self._waiting: dict[int, tuple[Handle, str]] = {}  # by message
        self._passed_on: set[tuple[int, ReplicaId]] = set()  # reads, by replicas to that one
        self._answers: dict[int, dict[str, Any]] = {}
        self._glances: set[int] = set()  # questions whose answers nobody waits for
        self.tellings: list[Telling] = []  # of every answer, in order
        self.set_number = 0
        self._in_vain: dict[tuple[ReplicaId, str], int] = {}
        self._polled: dict[Handle, int] = {}  # the question for state that is under way
        self._polled_at = 0
        self._told: dict[tuple[ReplicaId, str], Telling] = {}  # the last of each kind
        self._leaders: dict[Ballot, ReplicaId] = {}  # who said first that it leads in this one
        self.two_leaders: list[str] = []  # who said so of the ballot of another, in words

    # ---- one question --------------------------------------------------------------------------

    def may_ask(self, handle: Handle, what: str) -> bool:
        """It is there, and never said that it does not know this."""
        is_known = handle.knowledge.tells.get(what, True)
        return handle.liveness in CAN_ANSWER and is_known and handle.node.is_ready

    def glance(self, handle: Handle) -> bool:
        """Ask for its state and wait for nothing; False when it cannot be asked."""
        if not self._is_told or not self.may_ask(handle, "state"):
            return False
        self._glances.add(self._put(handle, {"type": "state"}))
        return True

    def _put(self, handle: Handle, body: dict[str, Any]) -> int:
        self._message += 1
        self._waiting[self._message] = handle, body["type"]
        body = {**body, "msg_id": self._message}
        self._router.send(HARNESS, handle.node, body, self._now())
        return self._message

    def passed_on(self, request: dict[str, Any], to: ReplicaId) -> None:
        """A replica passed a read of c0 on to another one: its answer is as good."""
        if request.get("type") == "read" and type(number := request.get("msg_id")) is int:
            self._passed_on.add((number, to))

    def heard(self, handle: Handle, body: dict[str, Any]) -> None:
        """An answer to c0."""
        number = body.get("in_reply_to")
        if type(number) is not int or (asked := self._waiting.get(number)) is None:
            self._note_unknown(handle, number, body)
            return
        if asked[0] is not handle and (number, handle.replica) not in self._passed_on:
            return
        handle = asked[0]
        self._passed_on -= {(number, replica) for replica in self._handles}
        del self._waiting[number]
        if number in self._glances:
            self._glances.remove(number)
        else:
            self._answers[number] = body
        what = asked[1]
        self._in_vain.pop((handle.replica, what), None)
        if error_code(body) == NOT_SUPPORTED:
            handle.knowledge.tells[what] = False
            self._note_telling(handle, what, False)
        elif body.get("type") == f"{what}_ok":
            handle.knowledge.tells[what] = True
            self._note_telling(handle, what, True)
            if what == "state":
                self._take_state(handle, body)
            elif what == "views":
                self._look_through(handle, remarks.NO_VIEW, body.get("views"), dict)

    def _note_unknown(self, handle: Handle, number: object, body: dict[str, Any]) -> None:
        """No question waits for this; one may have, until it took too long."""
        asked = self._waiting.get(int(str(number))) if is_number_as_text(number) else None
        if asked is not None and asked[0] is handle:
            self._router.remarks.add(handle.name, remarks.REPLY_AS_TEXT, body)
            handle.knowledge.tells[asked[1]] = False
            del self._waiting[int(str(number))]
        elif type(number) is not int or not FIRST_MESSAGE < number <= self._message:
            self._router.remarks.add(handle.name, remarks.UNKNOWN_REPLY, body)

    def _take_state(self, handle: Handle, body: dict[str, Any]) -> None:
        handle.knowledge.told_at = self._now()
        state = told.read_state(body, self._accounts, len(self._handles))
        handle.knowledge.state = state
        for part in ALWAYS_TOLD:
            is_told = getattr(state, part) is not None
            self._note_telling(handle, f"state.{part}", is_told)
        for word, form in told.misformed(body, state).items():
            self._router.remarks.add(handle.name, remarks.misformed(word, form), body[word])
        if state.role is Role.LEADER and state.ballot is not None:
            first = self._leaders.setdefault(state.ballot, handle.replica)
            said = f"{replica_name(first)} and {handle.name} both say that they lead in "
            if first != handle.replica and f"{said}{state.ballot}" not in self.two_leaders:
                self.two_leaders.append(f"{said}{state.ballot}")

    def _look_through(self, handle: Handle, kind: str, parts: object, form: type) -> None:
        """Say it when parts of an answer are not of this form."""
        if not isinstance(parts, list):
            self._router.remarks.add(handle.name, kind, parts)
            return
        for part in parts:
            if not isinstance(part, form):
                self._router.remarks.add(handle.name, kind, part)

    def _note_telling(self, handle: Handle, what: str, is_told: bool) -> None:
        telling = Telling(self.set_number, handle.replica, what, is_told)
        if self._told.get((handle.replica, what)) != telling:
            self._told[handle.replica, what] = telling
            self.tellings.append(telling)

    def ask(
        self, body: dict[str, Any], whom: Iterable[Handle], patience: int
    ) -> dict[Handle, dict[str, Any]]:
        """Ask each, and wait for all answers, at most so many microseconds."""
        what = body["type"]
        asked = {h: self._put(h, body) for h in whom if self.may_ask(h, what)}
        until = self._now() + patience

        def is_open(handle: Handle, number: int) -> bool:
            return number in self._waiting and handle.liveness in CAN_ANSWER

        while any(is_open(*one) for one in asked.items()) and self._now() < until:
            self._pump(until)
        for handle, number in asked.items():
            if self._waiting.pop(number, None) is not None:
                self._note_vain(handle, what)
        return {h: self._answers.pop(n) for h, n in asked.items() if n in self._answers}

    def _note_vain(self, handle: Handle, what: str) -> None:
        if (
            what not in OPTIONAL
            or handle.liveness not in CAN_ANSWER
            or handle.knowledge.tells.get(what)
        ):
            return  # it did once: it is busy, and not ignorant
        key = handle.replica, what
        self._in_vain[key] = self._in_vain.get(key, 0) + 1
        if self._in_vain[key] >= IN_VAIN:
            handle.knowledge.tells[what] = False

    # ---- state and log -------------------------------------------------------------------------

    def states(self, whom: Iterable[Handle], patience: int) -> None:
        """Have each tell its state."""
        if self._is_told:
            self.ask({"type": "state"}, list(whom), patience)

    def logs(self, whom: Iterable[Handle], patience: int) -> None:
        """Have each tell its log, from the first entry on that may have changed."""
        for handle in whom if self._is_told else ():
            knowledge = handle.knowledge
            settled = [s for s, e in knowledge.log.items() if e.mark.value == "E"]
            first = max(settled, default=0) + 1
            for _ in range(MOST_PAGES):
                body = {"type": "log", "first_slot": first}
                answer = self.ask(body, [handle], patience).get(handle)
                if answer is None or answer.get("type") != "log_ok":
                    break
                following = self._take_log(handle, answer, first)
                if following is None or following <= first:
                    break
                first = following

    def _take_log(self, handle: Handle, answer: dict[str, Any], first: Slot) -> Slot | None:
        """Keep what it says; where it goes on, None at the end."""
        knowledge, replicas = handle.knowledge, len(self._handles)
        entries = answer.get("entries")
        listed = entries if isinstance(entries, list) else []
        read = [told.read_entry(entry, replicas) for entry in listed]
        found = [entry for entry in read if entry is not None]
        wrong = [one for one, entry in zip(listed, read, strict=True) if entry is None]
        for one in wrong if isinstance(entries, list) else [entries]:
            self._router.remarks.add(handle.name, remarks.NO_ENTRY, one)
        if found and (begins := min(entry.slot for entry in found)) > first:
            knowledge.log_from = max(knowledge.log_from, begins)
        if not found and first == 1:
            knowledge.log.clear()
        knowledge.log.update((entry.slot, entry) for entry in found)
        following = answer.get("next_slot")
        return following if isinstance(following, int) else None

    # ---- until all are equal ---------------------------------------------------------------------

    def is_equal(
        self, replicas: Sequence[ReplicaId], upto: Slot, since: int, for_leader: bool
    ) -> bool:
        """Whether these say that they executed the same, asked after `since`; never waits.

        False while that is not known, and where nobody tells it.
        """
        handles = [self._handles[r] for r in replicas]
        asked = [h for h in handles if self._is_told and self.may_ask(h, "state")]
        if not asked:
            return False
        now = self._now()
        is_open = any(number in self._waiting for number in self._polled.values())
        if self._polled and not is_open and self._polled_at >= since:
            states = [h.knowledge.state for h in asked if h in self._polled]
            executed = {state.executed for state in states}
            leads = any(state.role is Role.LEADER for state in states)
            if len(executed) == 1 and len(states) == len(asked):
                (told_upto,) = executed
                if told_upto is not None and told_upto >= upto and (leads or not for_leader):
                    self._polled = {}
                    return True
        if not is_open and now - self._polled_at >= AGAIN_US:
            for number in self._polled.values():
                self._answers.pop(number, None)
            self._polled = {h: self._put(h, {"type": "state"}) for h in asked}
            self._polled_at = now
        elif is_open and now - self._polled_at >= 100 * AGAIN_US:
            for number in self._polled.values():  # somebody does not answer: begin anew
                self._waiting.pop(number, None)
            self._polled = {}
        return False
