#!/usr/bin/env bash
# @tursodatabase/database 0.7.2 (npm, 2026-08, Turso, SQLite written anew in Rust), seen 2026-11-28.
#
# One would guess: BEGIN CONCURRENT lets two transactions write at once and refuses one of them
#   where they conflict, as SQLite's branch of that name does, which counts what was read too. At
#   the least, what the schema forbids with `foreign_keys = ON` cannot be committed.
# What happens: only what both of them wrote counts. One deletes an account, the other books an
#   entry on it: each finds the foreign key kept in its own snapshot, both commit, and the entry
#   refers to nothing. A trigger that forbids the sum of two accounts to become negative is passed
#   in the same way; two equal UNIQUE values are refused. Turso does not show the damage:
#   integrity_check says ok, and foreign_key_check, which it does not have, answers with no rows
#   instead of an error. SQLite finds the row in the same file, but only once the journal is
#   switched back from mvcc; before that it says that the file is not a database.
# Who meets it: stores that move to Turso for its concurrent writers and leave invariants to the
#   schema, and health checks that ask the two PRAGMAs. Turso has an open issue about the foreign
#   keys (5955, 2026-03).
set -euo pipefail
command -v node >/dev/null || { echo "node is needed"; exit 2; }
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
npm install --silent --no-audit --no-fund @tursodatabase/database@0.7.2 >npm.txt 2>&1 ||
    { cat npm.txt; exit 1; }

cat >two.mjs <<'J'
import { connect } from "@tursodatabase/database";

const rows = async (connection, sql) => (await connection.prepare(sql)).all();
const schema = [
  "CREATE TABLE account (id INTEGER PRIMARY KEY, balance INT)",
  "CREATE TABLE entry (id INTEGER PRIMARY KEY, account INT NOT NULL REFERENCES account, " +
    "text TEXT UNIQUE)",
  "CREATE TRIGGER covered AFTER UPDATE ON account WHEN (SELECT sum(balance) FROM account) < 0 " +
    "BEGIN SELECT RAISE(ABORT, 'overdrawn'); END",
  "INSERT INTO account VALUES (1, 100), (2, 100)",
];

/** Run two transactions at once and tell how each of them ends. */
async function together(file, first, second) {
  const two = [await connect(file), await connect(file)];
  await two[0].exec("PRAGMA journal_mode = mvcc");
  for (const one of two) await one.exec("PRAGMA foreign_keys = ON");
  for (const sql of schema) await two[0].exec(sql);
  const ends = ["committed", "committed"];
  for (const one of two) await one.exec("BEGIN CONCURRENT");
  for (const [at, step] of [[0, first], [1, second], [0, "COMMIT"], [1, "COMMIT"]]) {
    if (ends[at] === "committed")
      await two[at].exec(step).catch((error) => { ends[at] = error.message; });
  }
  console.log(`${first}\n${second}\n  ${ends.join(", ")}`);
  return two;
}

async function closed(two) {
  for (const one of two) await one.close();
}

await closed(await together("unique.db", "INSERT INTO entry VALUES (1, 1, 'rent')",
  "INSERT INTO entry VALUES (2, 2, 'rent')"));
const sums = await together("sums.db", "UPDATE account SET balance = balance - 150 WHERE id = 1",
  "UPDATE account SET balance = balance - 150 WHERE id = 2");
console.log("  sum:", (await rows(sums[0], "SELECT sum(balance) AS sum FROM account"))[0].sum);
await closed(sums);
const keys = await together("keys.db", "DELETE FROM account WHERE id = 2",
  "INSERT INTO entry VALUES (1, 2, 'rent')");
for (const sql of ["SELECT id FROM account", "SELECT account FROM entry", "PRAGMA foreign_keys",
  "PRAGMA integrity_check", "PRAGMA foreign_key_check"]) {
  console.log(`  ${sql}:`, JSON.stringify(await rows(keys[0], sql)));
}
if (process.argv[2] === "back") await keys[0].exec("PRAGMA journal_mode = wal");
await closed(keys);
J
cat >sqlite.py <<'P'
import sqlite3
try:
    print("SQLite, foreign_key_check:",
          sqlite3.connect("keys.db").execute("PRAGMA foreign_key_check").fetchall())
except sqlite3.DatabaseError as error:
    print("SQLite:", error)
P

grep -m 1 '"version"' node_modules/@tursodatabase/database/package.json
{
    node two.mjs
    python3 sqlite.py
    rm ./*.db*
    node two.mjs back >again.txt
    python3 sqlite.py
} | tee seen.txt
diff seen.txt - <<'E' || { echo "CHANGED: not what the head of this script says"; exit 1; }
INSERT INTO entry VALUES (1, 1, 'rent')
INSERT INTO entry VALUES (2, 2, 'rent')
  committed, step failed: Write-write conflict
UPDATE account SET balance = balance - 150 WHERE id = 1
UPDATE account SET balance = balance - 150 WHERE id = 2
  committed, committed
  sum: -100
DELETE FROM account WHERE id = 2
INSERT INTO entry VALUES (1, 2, 'rent')
  committed, committed
  SELECT id FROM account: [{"id":1}]
  SELECT account FROM entry: [{"account":2}]
  PRAGMA foreign_keys: [{"foreign_keys":1}]
  PRAGMA integrity_check: [{"integrity_check":"ok"}]
  PRAGMA foreign_key_check: []
SQLite: file is not a database
SQLite, foreign_key_check: [('entry', 1, 'account', 0)]
E
echo "as described"
