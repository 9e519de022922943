"""One mutant of the catalogue on standard input and output: our replica with one rule taken out.

    python run.py FILE --replicas 'python tests/animal.py "the lowest ballot wins"'

The words are those of docs/zoo.md; without any it is the sound replica. What comes behind them is
for `harness.external.node`.
"""

import sys
from contextlib import nullcontext
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1])]  # as a script it has the folder of the tests only

import catalogue  # noqa: E402

from harness.external import node  # noqa: E402


def main(wrong: str, arguments: list[str]) -> None:
    """Until standard input ends."""
    found = [one for one in catalogue.read() if wrong and one.wrong == wrong]
    if wrong and not found:
        sys.exit(f"{wrong!r} is nothing that the catalogue takes out")
    with found[0].at_work() if found else nullcontext():
        node.main(arguments)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:])
