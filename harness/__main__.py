"""The `paxbank` command.

Imports next to nothing before `main` answers for Ctrl-C; a starting replica may import this file.
"""

import os
import sys

NEEDED = ("rich", "yaml")  # what whoever forgot the environment lacks
EXIT_MACHINE = 4  # as in `harness.errors`, which an old Python may not be able to read


def main() -> int:
    """Run the command line; returns the exit code, also for Ctrl-C while it is being imported."""
    try:
        _open_streams()
        from harness.cluster import ctrl_c

        with ctrl_c.afterwards(or_again=True):
            if sys.version_info < (3, 11):  # noqa: UP036 - nobody installed it yet
                found = ".".join(map(str, sys.version_info[:2]))
                return _unfit(f"this is Python {found}, expected 3.11 or newer")
            from harness.cluster.guarded import let_nobody_leave

            let_nobody_leave()  # a simulated replica runs in this process
            from harness.cli import main as run
    except KeyboardInterrupt:
        return 130
    except BaseException as error:  # `bank` is somebody else's, and may raise anything
        if isinstance(error.__cause__, KeyboardInterrupt):  # in a class that is made, before 3.12
            return 130
        if isinstance(error, ModuleNotFoundError) and _package(error) in NEEDED:
            return _unfit(f"the package {_package(error)} is not installed for {sys.executable}")
        return _cannot_be_loaded(error)
    try:
        return run()
    except KeyboardInterrupt:  # while it reads who it is, or says how it ended
        return 130


def _open_streams() -> None:
    """A standard stream that was closed leads nowhere; else the next file gets its number."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _package(error: ModuleNotFoundError) -> str:
    return (error.name or "").partition(".")[0]


def _unfit(problem: str) -> int:
    """One line instead of a traceback: rich is not there to print anything better."""
    _say(
        f"{problem}: use the environment of README.md, .venv/bin/python run.py, "
        "after .venv/bin/pip install -e ."
    )
    return EXIT_MACHINE


def _cannot_be_loaded(error: BaseException) -> int:
    """A module of this program is missing or broken: where and why, an earlier report included."""
    from harness.cluster import blame
    from harness.errors import EXIT_BUG
    from harness.report.refused import EarlierReport

    fault = blame.of_loading(error) or f"{type(error).__name__}: {error}"
    problem = f"{fault}, expected a program that can be loaded"
    arguments = sys.argv[1:]
    for line in (problem, *EarlierReport(arguments).refuse([problem], EXIT_BUG)):
        _say(line)
    return EXIT_BUG


def _say(line: str) -> None:
    """On standard error, if anything can be written there."""
    try:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what is left must not fail at exit


if __name__ == "__main__":
    raise SystemExit(main())
