"""An archive for Gradescope's autograder: everything that grading needs, and no network.

What is installed here beside paxbank goes into it as wheels, without compiled parts, so that any
Python that paxbank runs on can read them. The scripts take `AUTOGRADER_ROOT` in place of
/autograder, so that the archive can be tried anywhere.
"""

import base64
import csv
import hashlib
import io
import re
import shlex
import zipfile
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from harness.errors import EXIT_MACHINE, HarnessError, unwritten
from harness.report.documents import replace

SOURCE = Path(__file__).parents[3]  # where bank and harness stand
SECONDS = 540  # Gradescope gives nothing to what it has to end itself, after 600
_WHEN = (2020, 1, 1, 0, 0, 0)  # of all files: the same input gives the same archive
_LEFT_OUT = (".so", ".pyd", ".pyc", ".dylib")

_SETUP = """#!/usr/bin/env bash
# Once, when the image is built. Asks for nothing from anywhere.
set -eu
root="${AUTOGRADER_ROOT:-/autograder}"
cd "$root/source"
. ./python.sh
mkdir -p packages
for wheel in wheels/*.whl; do
    "$python" -m zipfile -e "$wheel" packages
done
PYTHONPATH=packages "$python" paxbank/run.py --help > /dev/null
"""
_PYTHON = """# The first Python that paxbank runs on.
python=""
for name in python3.15 python3.14 python3.13 python3.12 python3.11 python3; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; then
        python="$name"
        break
    fi
done
if [ -z "$python" ]; then
    echo "no Python 3.11 or newer: choose a base image that has one, such as Ubuntu 24.04" >&2
    exit 1
fi
"""
_RUN = """#!/usr/bin/env bash
# For every submission: the folder bank, or the files that belong into it.
root="${AUTOGRADER_ROOT:-/autograder}"
results="$root/results/results.json"
cd "$root/source"
. ./python.sh
export PYTHONPATH="$root/source/packages"
handed_in="$root/submission"
[ -d "$handed_in/bank" ] && handed_in="$handed_in/bank"
rm -rf paxbank/bank && cp -r "$handed_in" paxbank/bank
timeout --signal=INT @SECONDS@ "$python" paxbank/run.py grade @FILES@ \\
    @FLAGS@ --outlet "gradescope=$results" 2> errors.txt
cat errors.txt >&2
[ -s "$results" ] || "$python" - "$results" << 'END'
import json, sys
reason = open("errors.txt", errors="replace").read()[-1000:]
output = "The folder bank could not be run.\\n" + reason
test = {"name": "bank", "score": 0, "max_score": 1, "status": "failed", "output": output}
with open(sys.argv[1], "w") as stream:
    json.dump({"score": 0, "output": output, "tests": [test]}, stream)
END
"""


def write(archive: Path, files: Sequence[Path], config: Path | None, flags: Sequence[str]) -> None:
    """Write it; `flags` are those of `grade`. HarnessError when that cannot be.

    Answer keys beside the files go along. Files of one name stand in folders of their own.
    """
    names = [file.name for file in files]
    cases = {
        file: f"cases/{file.name}" if names.count(file.name) == 1 else f"cases/{index}/{file.name}"
        for index, file in enumerate(files, 1)
    }
    words = [*flags] if config is None else [*flags, "--config", "cases/cluster.yaml"]
    run = _RUN.replace("@FILES@", shlex.join(cases.values())).replace("@FLAGS@", shlex.join(words))
    stream = io.BytesIO()
    try:
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
            _add(out, "setup.sh", _SETUP.encode(), is_program=True)
            _add(out, "run_autograder", run.replace("@SECONDS@", str(SECONDS)).encode(), True)
            _add(out, "python.sh", _PYTHON.encode())
            for path in _sources():
                _add(out, f"paxbank/{path.relative_to(SOURCE)}", path.read_bytes())
            if not (SOURCE / "run.py").is_file():  # installed, and not a checkout
                setup = f"[metadata]\nname = paxbank\nversion = {metadata.version('paxbank')}\n"
                _add(out, "paxbank/setup.cfg", setup.encode())
                _add(out, "paxbank/run.py", _PROGRAM.encode())
            for file, name in cases.items():
                _add(out, name, file.read_bytes())
                key = file.with_suffix(".expected.yaml")
                if key.is_file():
                    _add(out, str(Path(name).with_name(key.name)), key.read_bytes())
            if config is not None:
                _add(out, "cases/cluster.yaml", config.read_bytes())
            for name, data in _wheels():
                _add(out, f"wheels/{name}", data)
        replace(archive, stream.getvalue())
    except OSError as error:
        raise unwritten(archive, error) from None


_PROGRAM = """from harness.__main__ import main

if __name__ == "__main__":
    raise SystemExit(main())
"""


def _add(out: zipfile.ZipFile, name: str, data: bytes, is_program: bool = False) -> None:
    info = zipfile.ZipInfo(name, _WHEN)
    info.external_attr = (0o755 if is_program else 0o644) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    out.writestr(info, data)


def _sources() -> Iterator[Path]:
    for folder in ("bank", "harness"):
        for path in sorted((SOURCE / folder).rglob("*")):
            is_code = path.is_file() and path.suffix != ".pyc" and "egg-info" not in str(path)
            if is_code:
                yield path
    if (SOURCE / "run.py").is_file():
        yield SOURCE / "run.py"
        yield SOURCE / "setup.cfg"


# ---- wheels ------------------------------------------------------------------------------------


def _wheels() -> Iterator[tuple[str, bytes]]:
    """Every distribution that paxbank needs when it runs, as a wheel for any Python."""
    waiting, seen = ["pyyaml", "rich"], set[str]()
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise HarnessError(
                f"--package: {name} is not installed here, expected it to be: it goes into the "
                "archive",
                exit_code=EXIT_MACHINE,
            ) from None
        yield _wheel(found)
        for wanted in found.requires or ():
            if ";" not in wanted:  # extras, and other versions of Python
                waiting.append(re.split(r"[^\w.-]", wanted.strip())[0])


def _wheel(found: metadata.Distribution) -> tuple[str, bytes]:
    """The installed files of a distribution, put together again."""
    stem = f"{re.sub(r'[-_.]+', '_', found.metadata['Name']).lower()}-{found.version}"
    files: dict[str, bytes] = {}
    folder = ""
    for path in found.files or ():
        name = path.as_posix()
        if name.startswith("..") or name.endswith(_LEFT_OUT) or name.endswith(".py,cover"):
            continue
        if ".dist-info/" in name:
            folder = name.split("/")[0]
            if path.name not in ("METADATA",) and "licenses" not in name.lower():
                continue
        files[name] = Path(str(path.locate())).read_bytes()
    files[f"{folder}/WHEEL"] = (
        b"Wheel-Version: 1.0\nGenerator: paxbank\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    lines = io.StringIO()
    rows = csv.writer(lines, lineterminator="\n")
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow((name, f"sha256={digest}", len(data)))
    rows.writerow((f"{folder}/RECORD", "", ""))
    files[f"{folder}/RECORD"] = lines.getvalue().encode()
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            _add(out, name, data)
    return f"{stem}-py3-none-any.whl", stream.getvalue()
