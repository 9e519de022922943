"""The `paxbank` command. Imports nothing heavy: a starting replica may import this file."""

import sys

NEEDED = ("rich", "yaml")  # what whoever forgot the environment lacks
EXIT_MACHINE = 4  # as in `harness.errors`, which an old Python may not be able to read


def main() -> int:
    """Run the command line; returns the exit code, also for Ctrl-C while it is being imported."""
    if sys.version_info < (3, 11):  # noqa: UP036 - nobody installed it yet
        found = ".".join(map(str, sys.version_info[:2]))
        return _unfit(f"this is Python {found}, expected 3.11 or newer")
    try:
        from harness.cli import main as run

        return run()
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in NEEDED:
            raise
        return _unfit(f"the package {package} is not installed for {sys.executable}")


def _unfit(problem: str) -> int:
    """One line instead of a traceback: rich is not there to print anything better."""
    sys.stderr.write(
        f"{problem}: use the environment of README.md, .venv/bin/python run.py, "
        "after .venv/bin/pip install -e .\n"
    )
    return EXIT_MACHINE


if __name__ == "__main__":
    raise SystemExit(main())
