#!/usr/bin/env bash
# @automerge/automerge 3.5.0 (npm, 2026-09, replicated documents that merge), seen 2026-11-29.
#
# One would guess: a counter that is an integer, as its documentation says, refuses what is none, as
#   it refuses to be incremented outside a change; and what a change reads back is what it has
#   written. Integers of which each fits are added up on every replica, as far as 64 bits go.
# What happens: increment() takes any number and answers with the sum, fractions included; stored is
#   each amount with its fraction cut off. Four bookings of 0.5 are 2 within the change and 0 after
#   it; a refund of 0.99 is none. An amount that is a BigInt, as programs for money have it
#   (TypeScript refuses it, plain JavaScript does not), counts as 1, without a word. Sums from 2^53
#   on are read as a BigInt: two replicas book half of that each, all is well on both, and once they
#   are merged no replica can increment or decrement the counter any more, by a number or by a
#   BigInt, or write the document as JSON. Each is a TypeError.
# Who meets it: balances in euros, credits or hours; a limit that is checked within the change that
#   books, on a sum that nobody else will see; sums of nanoseconds or bytes. The replicas agree with
#   each other, so that comparing them shows nothing. That counters do strange things above the
#   safe integers a pull request of the package says (1169, 2025-09).
set -euo pipefail
command -v node >/dev/null || { echo "node is needed"; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm install --silent --no-audit --no-fund @automerge/automerge@3.5.0 >npm.txt 2>&1 ||
    { cat npm.txt; exit 1; }

cat >booked.mjs <<'J'
import * as automerge from "@automerge/automerge";

function counter(start) {
  return automerge.from({ sum: new automerge.Counter(start) });
}

function booked(document, amount) {
  return automerge.change(document, (draft) => draft.sum.increment(amount));
}

function told(what) {
  try {
    return what();
  } catch (error) {
    return error.name;
  }
}

for (const amount of [3, 0.5, -0.99, 2500n]) {
  let within;
  const document = automerge.change(counter(0), (draft) => {
    for (let i = 0; i < 4; i++) within = draft.sum.increment(amount);
  });
  console.log(`four times ${amount}: ${within} within the change, ${document.sum.value} after it`);
}
console.log("a new counter of 1.5:", counter(1.5).sum.value);

const common = counter(0);
const [one, other] = [common, automerge.clone(common)].map((document) => booked(document, 2 ** 52));
console.log("half each:", one.sum.value, other.sum.value);
const merged = automerge.merge(one, other);
console.log("merged:", merged.sum.value);
for (const amount of [1, -1, 1n]) {
  console.log(`  booking ${amount} more:`,
              told(() => booked(automerge.clone(merged), amount).sum.value));
}
console.log("  as JSON:", told(() => JSON.stringify(merged)));
J
node -p '`automerge ${require("./node_modules/@automerge/automerge/package.json").version}`'
node booked.mjs | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
four times 3: 12 within the change, 12 after it
four times 0.5: 2 within the change, 0 after it
four times -0.99: -3.96 within the change, 0 after it
four times 2500: 4 within the change, 4 after it
a new counter of 1.5: 1
half each: 4503599627370496 4503599627370496
merged: 9007199254740992n
  booking 1 more: TypeError
  booking -1 more: TypeError
  booking 1 more: TypeError
  as JSON: TypeError
E
echo "as described"
