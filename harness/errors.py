"""Errors that are the user's or the machine's, never a replica's. `cli` alone catches them."""

EXIT_VALID = 0  # every check and expectation holds
EXIT_INVALID = 1  # one does not
EXIT_USAGE = 2  # a bad flag, file or folder; nothing was started
EXIT_UNKNOWN = 3  # a check could not decide
EXIT_MACHINE = 4  # the machine failed: disk full, a process cannot start
EXIT_BUG = 70  # a mistake of this program: BSD's EX_SOFTWARE
EXIT_INTERRUPTED = 130  # Ctrl-C


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


def loading_fault(error: BaseException) -> str | None:
    """ "bank/log.py:12: NameError: …" when a module could not be loaded; None for other errors.

    A syntax error, a module or name that is missing, or anything raised by a line that runs while
    its module is imported.
    """
    import os
    import traceback

    what = f"{type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    if isinstance(error, SyntaxError):
        file, line, what = error.filename, error.lineno, f"{type(error).__name__}: {error.msg}"
    elif modules := [frame for frame in frames if frame.name == "<module>"]:
        file, line = modules[-1].filename, modules[-1].lineno
    elif isinstance(error, ImportError) and frames:
        file, line = frames[-1].filename, frames[-1].lineno
    else:
        return None
    here = f"{os.path.abspath(os.curdir)}{os.sep}"
    return f"{(file or '').removeprefix(here)}:{line}: {what}"


def nearest(word: str, known: list[str]) -> str:
    """ " (did you mean x?)" for the closest known word, or nothing when none is close.

    Letter case does not count.
    """
    from difflib import get_close_matches

    spelled = {other.lower(): other for other in known}
    close = get_close_matches(word.lower(), list(spelled), n=1, cutoff=0.5)
    return f" (did you mean {spelled[close[0]]}?)" if close else ""
