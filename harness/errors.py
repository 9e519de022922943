"""Errors that are the user's or the machine's, never a replica's. `cli` alone catches them."""

import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

EXIT_VALID = 0  # every check and expectation holds
EXIT_INVALID = 1  # one does not
EXIT_USAGE = 2  # a bad flag, file or folder; nothing was started
EXIT_UNKNOWN = 3  # a check could not decide
EXIT_MACHINE = 4  # the machine failed: disk full, a process cannot start
EXIT_BUG = 70  # a mistake of this program: BSD's EX_SOFTWARE
EXIT_INTERRUPTED = 130  # Ctrl-C
EXIT_UNREAD = 141  # standard output was closed: what a shell reports for SIGPIPE


DISK_FAILS = (errno.ENOSPC, errno.EDQUOT, errno.EIO)  # whatever place was asked for


class HarnessError(Exception):
    """One or several problems, each a line that says where, what and what was expected."""

    def __init__(self, *problems: str, exit_code: int = EXIT_USAGE) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
        self.exit_code = exit_code

    def beside(self, verdict_code: int) -> "HarnessError":
        """The same after a verdict was printed: a check that does not hold counts for more."""
        code = EXIT_INVALID if verdict_code == EXIT_INVALID else self.exit_code
        return HarnessError(*self.problems, exit_code=code)


def no_place(
    option: str, path: Path, error: Exception, expected: str, what: str = "cannot be written"
) -> HarnessError:
    """A place that was asked for cannot be had; of a disk that fails it is the machine's fault.

    `option` is "--data: ", or nothing where the path alone says what is meant.
    """
    number = error.errno if isinstance(error, OSError) else None
    reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
    above = (path, *path.parents)
    if link := next((p for p in above if os.path.islink(p) and not os.path.exists(p)), None):
        reason = f"{link if link != path else 'it'} is a link to nothing"
    told = f"{option}{path}: {what} ({reason}), expected {expected}"
    return HarnessError(told, exit_code=EXIT_MACHINE if number in DISK_FAILS else EXIT_USAGE)


def unwritten(path: object, error: OSError, what: str = "cannot be written") -> HarnessError:
    """A file that the disk does not take, or a folder."""
    return HarnessError(f"{path}: {what} ({error.strerror or error})", exit_code=EXIT_MACHINE)


def is_given(value: object) -> bool:
    """Whether an option was typed whose default is None, False or an empty list: 0 was."""
    return value is not None and value is not False and value != []


def ignored(
    beside: str,
    options: Mapping[str, object],
    reasons: Mapping[str, str],
    anyway: Mapping[str, object] = {},
) -> list[str]:
    """A line for each option that is given and would be ignored with `beside`, "--sim" or so.

    `reasons` are by option, as in a namespace of argparse: "" where there is none but that. What
    stands in `anyway` is done without being asked for, so that to ask for it is no mistake.
    """
    problems = []
    for key, why in reasons.items():
        value = options.get(key)
        if not is_given(value) or (key in anyway and anyway[key] == value):
            continue
        name = f"--{key.replace('_', '-')}" + (f" {value}" if key in anyway else "")
        told = f"{why}, leave out this or {beside}"
        problems.append(f"{name}: {told if why else f'has no effect with {beside}, leave it out'}")
    return problems


def refuse_ignored(
    beside: str,
    options: Mapping[str, object],
    reasons: Mapping[str, str],
    anyway: Mapping[str, object] = {},
) -> None:
    """HarnessError with the lines of `ignored`, if there are any."""
    if problems := ignored(beside, options, reasons, anyway):
        raise HarnessError(*problems)


def nearest(word: str, known: list[str]) -> str:
    """ " (did you mean x?)" for the known word that was mistyped so, or nothing: see `closest`."""
    return "" if (found := closest(word, known)) is None else f" (did you mean {found}?)"


def closest(word: str, known: list[str]) -> str | None:
    """The known word that was mistyped so: see `_is_slip`.

    Letter case does not count. A wrong hint is worse than none.
    """
    from difflib import get_close_matches

    spelled = {other.lower(): other for other in known}
    close = get_close_matches(word.lower(), list(spelled), n=3, cutoff=0.5)
    return next((spelled[other] for other in close if _is_slip(word.lower(), other)), None)


def unknown(word: str, known: Sequence[str]) -> str:
    """'found "jsn", expected rich or json (did you mean json?)'; "" for one of them."""
    if word in known:
        return ""
    expected = " or ".join(filter(None, (", ".join(known[:-1]), known[-1])))
    return f'found "{word}", expected {expected}{nearest(word, list(known))}'


def _is_slip(typed: str, known: str) -> bool:
    """A third of the letters may be wrong, or those at the end be missing.

    Sharing many letters is not enough: "exit" has three of "next", in its order.
    """
    if len(typed) > 2 and known.startswith(typed):
        return True
    return _slips(typed, known) <= max(1, min(len(typed), len(known)) // 3)


def _slips(one: str, other: str) -> int:
    """Letters left out, added, replaced or swapped with their neighbour: the Damerau distance."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        earlier, before, row = before, row, [at]
        for place, wanted in enumerate(other, 1):
            least = min(before[place] + 1, row[-1] + 1, before[place - 1] + (letter != wanted))
            swapped = at > 1 and place > 1 and one[at - 2 : at] == other[place - 2 : place][::-1]
            row.append(min(least, earlier[place - 2] + 1) if swapped else least)
    return row[-1]
