"""One step as people write it: text in, an action out; shared by CSV, YAML and the prompt.

Names are read in any letter case. A mistake is a ValueError that says what is wrong and what was
expected; where it stands is known to who reads the file.
"""

import re
from collections.abc import Sequence

from bank.ballot import ReplicaId, replica_name
from bank.ledger import READ, TRANSFER
from harness.cluster.nemesis import (
    LINK_FAULTS,
    POINTS,
    Fail,
    FailLeader,
    Heal,
    KillAt,
    Link,
    LinkFault,
    Recover,
)
from harness.errors import nearest
from harness.files.cases import Action, Command, Wait, action_text, links_text
from harness.files.config import LONGEST_MS, names_listed
from harness.files.text_file import shown
from harness.files.tree import Alike

LARGEST_NUMBER = 2**63 - 1  # what SQLite stores: the largest amount and set number

WORDS = (*LINK_FAULTS, "heal", "fail", "recover", "wait")  # how a step in words begins
PLAIN = "expected (A, J, 3), (A), LF, F(n3) or R(n3)"  # what every kind of file can say
ALL_STEPS = PLAIN.replace(" or R(n3)", f", R(n3), {', '.join(WORDS)}")

CALLS = ("", "F", "R")  # before the parentheses

BARE_TRANSFER = re.compile(r"\w+\s*,\s*\w+\s*,\s*\d+")  # without its parentheses
_CALL = re.compile(r"([a-z]*)\s*\(([^()]*)\)", re.IGNORECASE)
_ARROW = re.compile(r"([^<>-]*)(<->|->)([^<>-]*)")
_ZEROS = re.compile(r"(?<=[0-9])\.0*$")  # a spreadsheet's 3.0
_AMOUNT = re.compile(r"(.*?)(?:\s+([0-9.].*))?")  # links, and what follows them
_NUMBER = r"([0-9]{1,9}(?:\.[0-9]{1,3})?)"
_TIMES = f"0.001 ms to {LONGEST_MS // 1000} s"
_TIME = re.compile(rf"{_NUMBER}(?:\s*-\s*{_NUMBER})?\s*(m?)s", re.IGNORECASE)
_RATE = re.compile(r"([0-9]{1,9})\s*%")


_LOOK_ALIKE = str.maketrans(
    "АВЕКМНОРСТУХІЈЅаеорсухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTYXIJSaeopcyxijsABEZHIKMNOPTYXo"
)  # Cyrillic and Greek letters, which look like ours
_OTHER_NAME = re.compile(
    r"(?:n|s|r|p|server|node|replica|site|process)?[ _-]?0*([0-9]{1,9})", re.IGNORECASE
)  # of a replica, in other courses


class Names:
    """The replicas and accounts of one cluster, found in any letter case."""

    def __init__(self, nodes: int, accounts: Sequence[str], any_course: bool = False) -> None:
        """With `any_course`, S3, server 3 and 3 are replicas too."""
        self.replicas = {replica_name(replica): replica for replica in range(1, nodes + 1)}
        self.used: dict[str, None] = {}  # accounts, in order
        self.said: dict[str, str] = {}  # what was read for something else
        self._any_course = any_course
        self._accounts = {account.lower(): account for account in accounts}
        self._expected_replica = f"expected n1..n{nodes}"
        self.expected_accounts = names_listed(accounts)

    def replica(self, word: str) -> ReplicaId:
        """The number of n3. ValueError: what was expected."""
        name = word.lower()
        if name not in self.replicas and self._any_course and (m := _OTHER_NAME.fullmatch(name)):
            name = f"n{m[1]}"
            self.said[word] = name
        replica = self.replicas.get(name)
        if replica is None:
            known = list(self.replicas)
            raise _unknown("replica", word, known, self._expected_replica, name)
        return replica

    def several(self, text: str) -> list[str]:
        """ "S1 S2 S3" as the names of three replicas, where other courses' names are read; any
        other text is one name, right or wrong.
        """
        words = text.split()
        if not (self._any_course and len(words) > 1 and all(map(_OTHER_NAME.fullmatch, words))):
            return [text]
        self.said["blanks between replicas"] = "commas"
        return words

    def account(self, word: str) -> str:
        """The account in the configuration's spelling. ValueError: what was expected."""
        (account,) = self.accounts(word)
        return account

    def accounts(self, *words: str) -> list[str]:
        """The same for several. ValueError with all that are unknown, about the first of them."""
        found = {word: self._accounts.get(word.lower()) for word in words}
        for word in [word for word, account in found.items() if account is None]:
            plain = word.translate(_LOOK_ALIKE)
            if plain != word and (like := self._accounts.get(plain.lower())) is not None:
                found[word] = like
                self.said[f"{word} (of another script)"] = like
        self.used |= dict.fromkeys(filter(None, found.values()))
        known, unknown = list(self._accounts.values()), [w for w in words if found[w] is None]
        if unknown:
            expected = f"expected {self.expected_accounts}"
            raise _unknown("account", unknown[0], known, expected, *unknown)
        return [account for word in words if (account := found[word]) is not None]


def _unknown(kind: str, word: str, known: list[str], expected: str, *words: str) -> ValueError:
    if not word:
        return ValueError(f"an empty place, {expected}")
    plain = word.translate(_LOOK_ALIKE)
    letters = f" (in letters of another script that look like {plain})" if plain != word else ""
    what = f'unknown {kind} "{shown(word)}"{letters}, {expected}{hint(word, known)}'
    return Alike(what, kind, *words)


def hint(word: str, known: list[str]) -> str:
    """`nearest`, or nothing among so many names that comparing takes seconds."""
    return nearest(shown(word), known) if len(known) <= 1000 else ""


def positive(word: str) -> int:
    """A whole number from 1 to LARGEST_NUMBER. ValueError: what was expected."""
    if re.fullmatch("[0-9]+", word):
        digits = word.lstrip("0")
        if digits and len(digits) < 20 and int(digits) <= LARGEST_NUMBER:
            return int(digits)
        size = "is too large" if digits else "is not positive"
    else:
        size = "is not a positive whole number"
    raise ValueError(f'"{shown(word)}" {size}, expected 1 to {LARGEST_NUMBER}')


def parse_step(text: str, names: Names, words: bool = True) -> tuple[str, Action]:
    """One step in canonical text and as an action. ValueError: what is wrong and expected.

    Without `words`, only what a CSV file can say: transfers, reads, LF, F(n3) and R(n3).
    """
    text = " ".join(text.split())
    expected = ALL_STEPS if words else PLAIN
    if not text:
        raise ValueError(f"an empty place, {expected}")
    if text.upper() == "LF":
        return "LF", FailLeader()
    call = _CALL.fullmatch(text)
    first, _, rest = text.partition(" ")
    word = call[1].upper() if call else first.lower()
    if word not in (CALLS if call else WORDS):
        near = hint(text, ["LF", "F(n3)", "R(n3)"]) or (hint(first, list(WORDS)) if words else "")
        near = f" (did you mean ({shown(text)})?)" if BARE_TRANSFER.fullmatch(text) else near
        raise Alike(f'unknown step "{shown(text)}", {expected}{near}', "step")
    try:
        if call:
            action = _call(word, [argument.strip() for argument in call[2].split(",")], names)
        elif not words:
            raise ValueError(f"only a YAML test set can say this, {expected}")
        elif word in LINK_FAULTS:
            return _link_fault(word, rest, names)
        else:
            action = _in_words(word, rest, names)
    except Alike as error:
        raise Alike(f"{shown(text)}: {error}", error.cause, *error.words) from None
    except ValueError as error:
        raise ValueError(f"{shown(text)}: {error}") from None
    return action_text(action), action


def _call(word: str, arguments: list[str], names: Names) -> Action:
    """(A, J, 3), (A), F(n3) or R(n3)."""
    if word:
        if len(arguments) != 1:
            raise ValueError(f"{len(arguments)} replicas, expected one, as in {word}(n3)")
        replica = names.replica(arguments[0])
        return Fail(replica) if word == "F" else Recover(replica)
    if len(arguments) == 1:
        return Command(READ, names.account(arguments[0]), "", 0)
    if len(arguments) != 3:
        raise ValueError(f"{len(arguments)} values, expected sender, receiver, amount or one name")
    sender, receiver, amount = arguments
    try:
        number = positive(_ZEROS.sub("", amount))
    except ValueError as error:
        raise Alike(f"amount {error}", "amount") from None
    sender, receiver = names.accounts(sender, receiver)
    return Command(TRANSFER, sender, receiver, number)


def _in_words(word: str, rest: str, names: Names) -> Action:
    """What needs no links but `heal`."""
    match word:
        case "wait":
            least, most = _time(rest, "wait 200 ms")
            if least != most:
                raise ValueError("two times, expected one, as in wait 200 ms")
            return Wait(most)
        case "heal":
            return Heal() if rest.lower() in ("", "all") else Heal(_links(rest, names)[0])
    several = re.split(r"[\s,]+", rest)
    if len(several) > 1 and all(name.lower() in names.replicas for name in several):
        raise ValueError(f"{len(several)} replicas, expected one, as in {word} {several[0]}")
    if word == "recover":
        return Recover(names.replica(rest))
    who, _, where = rest.partition(" ")
    points = {point.lower(): point for point in POINTS}
    point = points.get(where.lower())
    if where and point is None:
        near = hint(where, list(POINTS))
        raise ValueError(f'no point "{shown(where)}", expected {", ".join(POINTS)}{near}')
    if who.lower() == "leader":
        return FailLeader(point)
    replica = names.replica(who)
    return Fail(replica) if point is None else KillAt(replica, point)


def _link_fault(kind: str, rest: str, names: Names) -> tuple[str, Action]:
    """A fault of links; its text names them as the file does, `*` included."""
    match = _AMOUNT.fullmatch(rest)
    assert match is not None
    links, written = _links(match[1], names)
    amount = match[2] or ""
    if kind == "cut":
        if amount:
            raise ValueError(f'unexpected "{shown(amount)}", expected links only')
        return f"cut {written}", LinkFault("cut", links)
    if kind == "delay":
        least, most = _time(amount, "delay n1->n3 20 ms or 20-50 ms")
        fault = LinkFault("delay", links, least=least, most=most)
    else:
        rate = _RATE.fullmatch(amount)
        if rate is None or not 1 <= int(rate[1]) <= 100:
            found = f'"{shown(amount)}"' if amount else "no rate"
            raise ValueError(f"found {found}, expected 1 % to 100 %, as in {kind} n1->n3 30 %")
        fault = LinkFault(kind, links, int(rate[1]))
    return action_text(fault).replace(links_text(links), written), fault


def _time(text: str, example: str) -> tuple[int, int]:
    """ "20 ms", "20-50 ms" or "2 s" in microseconds."""
    match = _TIME.fullmatch(text)
    times = []
    if match is not None:
        unit = 1000 if match[3] else 1_000_000
        times = [round(float(part) * unit) for part in (match[1], match[2] or match[1])]
    least, most = times or (0, 0)
    if not 0 < most <= LONGEST_MS * 1000 or least > most:
        found = f'"{shown(text)}"' if text else "no time"
        expected = "the shorter time first" if least > most else _TIMES
        raise ValueError(f"found {found}, expected {expected}, as in {example}")
    return least, most


def _links(text: str, names: Names) -> tuple[frozenset[Link], str]:
    """The links of "n1->n3", "n1,n2<->n3,n4", "n1->*", "n1->n2, n3->n4", and that text again.

    A name between two arrows belongs to the arrow before it.
    """
    pairs: list[tuple[list[str], str, list[str]]] = []
    left: list[str] = []
    for piece in text.split(","):
        if arrow := _ARROW.fullmatch(piece):
            pairs.append(([*left, arrow[1].strip()], arrow[2], [arrow[3].strip()]))
            left = []
        elif pairs:
            pairs[-1][2].append(piece.strip())
        else:
            left.append(piece.strip())
    if not pairs:
        found = f'"{shown(text)}"' if text else "no links"
        raise ValueError(f"found {found}, expected links such as n1->n3, n1<->n2,n3 or n1->*")
    links: set[Link] = set()
    written = []
    for sources, arrow_, ends in pairs:
        here = {(source, end) for source in _ends(sources, names) for end in _ends(ends, names)}
        own = {(source, end) for source, end in here if source == end}
        if own and "*" not in (*sources, *ends):
            raise ValueError(f"{replica_name(min(own)[0])} has no link to itself, expected another")
        links |= here - own
        links |= {(end, source) for source, end in here - own} if arrow_ == "<->" else set()
        written.append(f"{','.join(sources)}{arrow_}{','.join(ends)}".lower())
    return frozenset(links), ", ".join(written)


def _ends(words: list[str], names: Names) -> list[ReplicaId]:
    """One end of links; `*` is every replica."""
    return list(names.replicas.values()) if words == ["*"] else [names.replica(w) for w in words]
