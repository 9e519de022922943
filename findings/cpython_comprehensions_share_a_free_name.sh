#!/usr/bin/env bash
# CPython 3.14.2, as pyodide 314.0.7 (npm) carries it, seen 2026-11-28; 3.12.1, 3.13.0, 3.14.10 and
#   3.15.2 do the same, 3.11.7 does not.
#
# One would guess: the loop variable of a comprehension is its own, so what another comprehension
#   of the same function reads under that name is the variable of the enclosing function.
# What happens: since comprehensions are inlined (3.12), the first one makes the name a local of
#   the function, and the second, which means the enclosing function's, reads that empty local:
#   UnboundLocalError, at the first call. A lambda or a generator expression in place of either
#   comprehension is right. No type checker and no linter says a word, since by the language's
#   rules the code is right. An open issue of CPython (156664, 2026-08) names the smallest case.
# Who meets it: parsers and decorators made of nested functions, which are tested on 3.11 alone.
set -euo pipefail
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm install --silent --no-audit --no-fund pyodide@314.0.7 >npm.txt 2>&1 || { cat npm.txt; exit 1; }
cat >two.py <<'P'
import sys


def reader(unit):
    def as_lists(rows):
        seen = [unit for unit, _ in rows]
        return seen, [(amount, unit) for _, amount in rows]

    def as_generator(rows):
        seen = list(unit for unit, _ in rows)
        return seen, [(amount, unit) for _, amount in rows]

    return as_lists, as_generator


found = [sys.version.split()[0]]
for read in reader("ms"):
    try:
        found.append(f"{read.__name__} {read([('s', 7)])}")
    except UnboundLocalError as error:
        found.append(f"{read.__name__} UnboundLocalError: {error}")
"\n".join(found)
P
cat >two.mjs <<'J'
import { readFileSync } from "node:fs";
import { loadPyodide } from "pyodide";
console.log((await loadPyodide()).runPython(readFileSync("two.py", "utf8")));
J
node two.mjs | tee seen.txt
diff - seen.txt <<'E' || { echo "CHANGED"; exit 1; }
3.14.2
as_lists UnboundLocalError: cannot access local variable 'unit' where it is not associated with a value
as_generator (['s'], [(7, 'ms')])
E
