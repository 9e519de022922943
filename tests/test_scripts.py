"""Named situations as scripts, each with the trace that it must leave; see `script_runner`.

    PAXBANK_REWRITE=1 python -m pytest tests/test_scripts.py

rewrites what tests/scripts/*.txt expect; read the difference before you keep it. Each script must
notice when the rule that it is about is taken out of the code: `TAKEN_OUT` says what.
"""

import importlib
import os
from difflib import unified_diff
from pathlib import Path

import pytest
from test_rules_bite import Mutation, without_rule

from bank.replica import Replica
from harness.sim.script import ScriptError, parse, written
from harness.sim.script_runner import play

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.txt"))
LONGEST = 60  # lines: read in a minute
WIDEST = 100  # columns

# Script: (title, function, what is taken out of it, what comes instead).
TAKEN_OUT = {
    "deaf_candidate": (
        "7: who keeps a PREPARE gives nothing to the candidate",
        "elector.Elector._lend_a_hand",
        "prepare.committed_upto < self.log.committed_upto",
        "False",
    ),
    "deaf_replica": (
        "9: a healthy leader promises to whoever asks",
        "replica.Replica._on_prepare",
        "self._leadership.is_answered(self._now)",
        "False",
    ),
    "deferred_prepare": (
        "8: a settled replica answers at once",
        "replica.Replica._on_prepare",
        "if self._settled and source != self.following.replica:",
        "if False:",
    ),
    "discarded_prepare": (
        "8: a kept PREPARE outlives the leader's heartbeat",
        "replica.Replica._follow",
        "self._settled, self._awaiting, self._kept = True, False, None",
        "self._settled, self._awaiting = True, False",
    ),
    "duelling_candidates": (
        "1: a NEW-VIEW below the promise is followed",
        "replica.Replica._admit",
        "case Accept() | Heartbeat() | Commit() | NewView(): if message.ballot < self.promised:",
        "case Accept() | Heartbeat() | Commit() | NewView():\n            if False:",
    ),
    "highest_ballot_wins": (
        "2: the ACK that came last wins",
        "election._outranks",
        "(one.committed, one.ballot) > (other.committed, other.ballot)",
        "True",
    ),
    "lagging_candidate": (
        "2: an ACK counts although its sender truncated more",
        "election.Candidacy.counted",
        "if p.truncated_upto <= committed_upto",
        "",
    ),
    "leader_dies_after_one_accept": (
        "2: the candidate's own log is left out",
        "replica.Replica._lead_if_elected",
        "+ [self.log.entries_above(self.log.committed_upto)]",
        "",
    ),
    "leader_dies_before_commit": (
        "3: the new leader does not vote again for what it holds in an older ballot",
        "replica.Replica._lead_if_elected",
        "self._accept_run(first_slot, lead.ballot, requests)",
        "pass",
    ),
    "leader_dies_in_mid_new_view": (
        "3: entries of a NEW-VIEW are no votes",
        "replica.Replica.step",
        "self._tell(Follows(message.ballot))\n"
        "self._accept_run(message.first_slot, message.ballot, message.requests)",
        "self._tell(Follows(message.ballot))",
    ),
    "lost_commit": (
        "7: a heartbeat is no commit notice",
        "replica.Replica.step",
        "self._learn(message.ballot, message.committed_upto) self._ask_for_confirmation()",
        "self._ask_for_confirmation()",
    ),
    "no_op_fill": (
        "2: gaps are left out",
        "election.fill",
        "range(first_slot, last_slot + 1)",
        "sorted(merged)",
    ),
    "no_quorum": (
        "8: a candidate takes a new number at every expiry",
        "replica.Replica._expire",
        "if candidacy.outbid and candidacy.is_answered(self.quorum):",
        "if True:",
    ),
    "normal_case": (
        "1: ACCEPTED leaves before its slots are durable",
        "replica.Replica.flush",
        "self._durable(",
        "self._early(",
    ),
    "old_leader_returns": (
        "12: what a deposed leader proposed is forgotten",
        "replica.Replica._step_down",
        "self._keep(request, relayed=False)",
        "pass",
    ),
    "older_ballot": (
        "4: a commit notice is trusted for whatever is held",
        "replica.Replica._learn",
        "self.log.held_upto(ballot, committed + 1)",
        "self.log.last_slot",
    ),
    "paused_leader": (
        "1: a leader goes on leading below its promise",
        "replica.Replica._promise",
        "self._step_down(Reason.DEPOSED)",
        "pass",
    ),
    "promise_outlives_crash": (
        "1: a restarted replica forgets its promise",
        "replica.Replica._recover",
        "self.promised = stored.promised",
        "pass",
    ),
    "relayed_request": (
        "10: what was relayed is relayed again",
        "replica.Replica._on_requests",
        "if not message.relayed:",
        "if True:",
    ),
    "retry_after_failover": (
        "6: only the leader answers a known request",
        "replica.Replica._on_requests",
        "if timestamp == known[1]:",
        "if timestamp == known[1] and lead is not None:",
    ),
    "returning_replica": (
        "7: a restarted replica waits to be told",
        "replica.Replica._recover",
        "self._broadcast_catch_up()",
        "pass",
    ),
    "silent_death": (
        "8: a replica whose time-out is over stands, whatever it kept",
        "replica.Replica._expire",
        "if self._kept is not None:",
        "if False:",
    ),
    "slow_disk": (
        "1: a leader counts its own vote before it is durable",
        "replica.Replica._propose_batch",
        "lead.next_slot += len(requests)",
        "lead.next_slot += len(requests); lead.own_upto = lead.next_slot - 1",
    ),
    "spare_backup": (
        "13: spare backups do not step in",
        "replica.Replica._propose_batch",
        "lead.spare_due = self._now + self.settings.spare_pause",
        "pass",
    ),
    "stale_promise": (
        "2: an ACK for an earlier ballot counts",
        "replica.Replica._admit",
        "message.ballot == self.promised and",
        "",
    ),
    "start_up": (
        "10: a request makes nobody stand",
        "replica.Replica._on_requests",
        "self._seek_leader()",
        "pass",
    ),
    "two_slots_one_effect": (
        "6: the second slot of a request pays again",
        "sessions.Machine.execute",
        "known is not None and timestamp <= known[1]",
        "known is not None and timestamp < known[1]",
    ),
}


def difference(path: Path) -> str:
    """What a script expects against what happens, as a diff; empty when they are the same."""
    expected, happened, stopped = parse(path.read_text(encoding="utf-8"), path.name), [], []
    try:
        for block in play(path):
            happened.append(block)
    except (AssertionError, ScriptError) as error:
        stopped = [f"stopped: {error}", *getattr(error, "__notes__", [])]
        expected = expected[: len(happened)]
    texts = written(expected).splitlines(), written(happened).splitlines()
    return "\n".join(
        [*unified_diff(*texts, f"{path.name}: expected", "played", lineterm=""), *stopped]
    )


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script(path):
    if os.environ.get("PAXBANK_REWRITE"):
        path.write_text(written(list(play(path))), encoding="utf-8")
    if found := difference(path):
        pytest.fail(found, pytrace=False)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_is_read_in_a_minute(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LONGEST
    assert max(map(len, lines)) <= WIDEST


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_script_notices_what_is_taken_out(path, monkeypatch):
    title, place, old, new = TAKEN_OUT[path.stem]
    module, *owners, name = place.split(".")
    owner = importlib.import_module(f"bank.{module}")
    for part in owners:
        owner = getattr(owner, part)
    mutant = without_rule(owner, name, Mutation(title, place, old, new, []))
    monkeypatch.setattr(owner, name, mutant)
    assert difference(path)


def test_nothing_is_taken_out_for_a_script_that_is_gone():
    assert TAKEN_OUT.keys() == {path.stem for path in SCRIPTS}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# x\nnodes 3\nelekt n1\n----\n", "s.txt:3: unknown command: elekt n1"),
        ("# x\nnodes 3\n\nquietly delete n1\n----\n", "s.txt:4: unknown command: delete n1"),
        ("# x\nelect n1\n----\n", "s.txt:2: `nodes N` comes first, not: elect n1"),
        ("# x\nnodes 3\nexpire n4\n----\n", "s.txt:3: there is no n4"),
        ("# x\nnodes 3\ncrash n1\nrequest n1 (A)\n----\n", "s.txt:4: n1 is crashed"),
        ("# x\nnodes 3\nrestart n1\n----\n", "s.txt:3: n1 is running"),
        ("# x\nnodes 3\ndeliver n1->n2\n----\n", "s.txt:3: nothing waits there for one who hears"),
        ("# x\nnodes 3\nretry n1 A\n----\n", "s.txt:3: client A asked for nothing yet"),
        ("# x\nnodes 3\ncrash n2 after write\n----\n", "s.txt: never crashed: n2 after write"),
        ("# x\nnodes 3\n", "s.txt:2: the last commands have no line ----"),
        ("nodes 3\n----\n", "s.txt:1: the first line says the situation: # …"),
    ],
)
def test_wrong_script_is_refused_with_its_line(text, complaint, tmp_path):
    path = tmp_path / "s.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ScriptError) as refused:
        list(play(path))
    assert str(refused.value) == complaint


def test_what_is_asserted_is_told_with_its_line(tmp_path, monkeypatch):
    monkeypatch.setattr(Replica, "deadline", lambda replica: None)
    path = tmp_path / "s.txt"
    path.write_text("# x\nnodes 3\nexpire n1\n----\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="waits for nothing") as failed:
        list(play(path))
    assert failed.value.__notes__ == ["s.txt:3: expire n1"]


def test_comments_and_commands_are_kept_as_written():
    text = "# x\n\nnodes 3\n# why\nstatus\n----\nold\n\nlog n1\n----\nolder\n"
    assert written(parse(text, "s.txt")) == text
