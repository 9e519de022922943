"""What replicas do that is no violation and yet worth a word: counted, and told once each."""

from dataclasses import dataclass, field

from harness.external.lines import is_object
from harness.files.text_file import shown

MOST_SHOWN = 100  # characters of a line


@dataclass(slots=True)
class _Counted:
    first: str  # the line that showed it
    count: int = 0


@dataclass(slots=True)
class Remarks:
    """By replica and kind. A kind is what people read, with `{}` for the line."""

    found: dict[tuple[str, str], _Counted] = field(default_factory=dict)
    told: int = 0

    def add(self, name: str, kind: str, line: object = "", count: int = 1) -> None:
        """It happened at this replica; `line` is looked at the first time only."""
        counted = self.found.get((name, kind))
        if counted is None:
            counted = self.found[name, kind] = _Counted(shown(str(line), MOST_SHOWN))
        counted.count += count

    def texts(self) -> list[str]:
        """One line for each kind at each replica, in the order of their first time."""
        return [
            f"{name} {kind.format(counted.first)}"
            + (f" ({counted.count} times)" if counted.count > 1 else "")
            for (name, kind), counted in self.found.items()
        ]

    def of(self, name: str) -> list[str]:
        """Those about this replica."""
        return [text for text in self.texts() if text.startswith(f"{name} ")]

    def news(self) -> list[str]:
        """Those that were not told yet."""
        texts = self.texts()
        new, self.told = texts[self.told :], len(texts)
        return new


NO_MESSAGE = "prints what is no message: {}: is this meant for standard error?"
NO_ADDRESS = "prints an object that is no message: {}: expected src, dest, and a body with a type"
SEVERAL_LINES = "prints a message over several lines, the first is {}: write each on one line"
TWO_ON_A_LINE = "prints two objects on one line: {}: write each with its newline in one call"
NO_NEWLINE = "prints an object without its newline: {}: end every message with a newline"
TOO_LARGE = "sends a message above 1 MiB: dropped: {}"
TOO_DEEP = "sends a message that is nested too deeply: dropped: {}"
UNKNOWN_READER = "sends to somebody who is not there: dropped: {}"
WRONG_SENDER = "sends in another's name: dropped: {}"
UNKNOWN_REPLY = "answers what nobody asked it: dropped: {}"
NO_LEADER = "tells clients what is no leader with its own ballot: dropped: {}"
ANSWERS_TWICE = "answers twice: the first counts: {}"
READS_TOO_SLOWLY = "does not read what waits for it: messages dropped"
HELD_TOO_MUCH = "sends above 32 MiB on a link that is cut: its connection is reset"
UNKNOWN_ANSWER = "answers a question that nobody asked it: dropped: {}"
REPLY_AS_TEXT = "answers with an in_reply_to that is text: dropped: {}: expected the number msg_id"
NO_ENTRY = "tells entries of its log in a form that nobody reads: {}: taken as not told"
NO_VIEW = "tells views in a form that nobody reads: {}: taken as not told"
TOO_MANY_CONNECTIONS = "keeps above 500 connections open: further ones are reset"


def of_no_message(rest: str) -> str:
    """Of a line, this is no message."""
    if is_object(rest):
        return NO_ADDRESS
    return SEVERAL_LINES if rest == "{" else NO_MESSAGE


def misformed(word: str, expected: str) -> str:
    """What it tells under this word cannot be read."""
    return f"tells {word} in a form that nobody reads: {{}}: taken as not told, expected {expected}"
