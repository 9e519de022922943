"""What a run left behind, changed in one place: never called valid when it means something else.

Simulated runs leave a history, a log, the views of all replicas, failed ones among them, and
disks. Each corruption is tried at several places, drawn by a fixed seed. Some keep everything else
consistent, as a liar would: then only one judge can notice.
"""

import copy
import dataclasses
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import pytest
from conductor import altered, take

from bank.ballot import Ballot
from bank.history_hash import HistoryHash
from bank.ledger import FAILED, READ, SKIPPED, SUCCESS, TRANSFER
from bank.sessions import NOOP_REQUEST, Machine
from harness.check import judges
from harness.check.judges import RunJudges, judge_run
from harness.check.promises import promises
from harness.check.verdict import Verdict, overall
from harness.cluster.driver import CommitLog, ReplicaView
from harness.cluster.history import Operation
from harness.cluster.journal import Liveness
from harness.cluster.nemesis import Fail, FailLeader, Recover
from harness.files.cases import CaseFile, CaseSet, Command, Step
from harness.files.config import ClusterConfig
from harness.run.runner import Runner
from harness.sim.world import SimCluster

INTERVAL = 8
ACCOUNTS = tuple("ABCDEF")
PLACES = 4  # where each corruption is tried


@dataclass
class Evidence:
    log: CommitLog
    history: list[Operation]
    views: list[ReplicaView]
    balances: dict[str, int]
    before: "Evidence | None" = None  # after the second of the three sets

    def judge(self, with_views=True):
        views = self.views if with_views else None
        return judge_run(self.balances, self.log, self.history, views, INTERVAL)

    def copy(self):
        history = [copy.copy(operation) for operation in self.history]
        log = replace(self.log, slots=dict(self.log.slots), contradictions=[])
        return Evidence(log, history, list(self.views), self.balances, self.before)


def steps_of(random, count, *faults):
    actions = []
    for _ in range(count):
        sender = random.choice(ACCOUNTS)
        if random.random() < 0.3:
            actions.append(Command(READ, sender, "", 0))
        else:
            receiver, amount = random.choice(ACCOUNTS), random.randint(1, 7)
            actions.append(Command(TRANSFER, sender, receiver, amount))
    for fault in faults:
        actions.insert(random.randrange(len(actions)), fault)
    return tuple(Step(line, "", action) for line, action in enumerate(actions, 1))


@cache
def run(seed):
    """One run; at its end three replicas are dead, one of them for long, and requests pend."""
    random = Random(seed)
    config = ClusterConfig(
        accounts=ACCOUNTS,
        seed=seed,
        checkpoint_interval=INTERVAL,
        checkpoint_pause_ms=0,
        keep_slots=INTERVAL,
        failure="crash",
    )
    all_five = frozenset(range(1, 6))
    sets = (
        CaseSet(1, all_five, steps_of(random, 14, FailLeader(), Fail(3, "disconnect")), 1),
        CaseSet(2, all_five - {5}, steps_of(random, 14, FailLeader(), Recover(2)), 2),
        CaseSet(3, frozenset({1, 2}), steps_of(random, 8), 3),
    )
    world = SimCluster(config)
    world.start()
    runner, disks, ends = Runner(world, config, CaseFile("x.yaml", sets)), [], []
    for _ in sets:
        runner.run_next()
        disks += [(r, process.disk.stored()) for r, process in world.processes.items()]
        views, balances = list(world.views()), config.balances()
        ends.append(Evidence(world.committed, runner.history, views, balances).copy())
    return replace(ends[-1], before=ends[1]), disks


def resumed(seed):
    """The same as a run that began with the oldest state that any replica still has."""
    whole, _ = run(seed)
    evidence = whole.copy()
    at = min(view.status.executed_upto for view in evidence.views) // INTERVAL * INTERVAL
    if at:
        machine, hashed = replayed(evidence, at)
        evidence.log.base = take(at, hashed.current, machine)
        evidence.log.slots = {s: what for s, what in evidence.log.slots.items() if s > at}
        evidence.log.known_before = at
        keep = [o for o in evidence.history if o.slot is None or o.slot > at]
        evidence.history = keep
    return evidence


SEEDS = (1, 2, 3)


# ---- tools of a liar -----------------------------------------------------------------------------


def replayed(evidence, upto):
    machine, hashed = Machine(evidence.balances), HistoryHash(1, 1)
    for slot in range(1, upto + 1):
        request = evidence.log.slots[slot][0]
        hashed.add([request], machine.execute(slot, [request]))
        if slot % INTERVAL == 0:
            hashed.note(slot)
    return machine, hashed


def make_consistent(evidence):
    """Results, answers and all states as this log gives them; who was answered stays so."""
    machine = Machine(evidence.balances)
    for slot in sorted(evidence.log.slots):
        request = evidence.log.slots[slot][0]
        (answer,) = machine.execute(slot, [request])
        evidence.log.slots[slot] = (request, answer[2])
        for operation in evidence.history:
            same = operation.request[:2] == request[:2] and answer[2] != SKIPPED
            if same and operation.is_answered:
                operation.result, operation.slot = answer[2], answer[3]
    for index, view in enumerate(evidence.views):
        machine, hashed = replayed(evidence, view.status.executed_upto)
        set_view(
            evidence,
            index,
            balances=dict(machine.ledger.balances),
            sessions=tuple(machine.sessions.values()),
            digest=machine.digest(),
            running_hash=hashed.current,
        )


def set_view(evidence, index, **changes):
    view = evidence.views[index]
    status = dataclasses.replace(view.status, **changes)
    evidence.views[index] = replace(view, status=status)


def answered(evidence, random, kind=None):
    found = [o for o in evidence.history if o.is_answered and kind in (None, o.request[2])]
    return random.choice(found)


def any_slot(evidence, random):
    """A slot that holds a request, the first time."""
    seen, found = set(), []
    for slot, (request, result) in sorted(evidence.log.slots.items()):
        if request != NOOP_REQUEST and request[:2] not in seen and result != SKIPPED:
            found.append(slot)
        seen.add(request[:2])
    return random.choice(found)


def moved(random, balances, amount=1):
    sender, receiver = random.sample(sorted(balances), 2)
    return {**balances, sender: balances[sender] - amount, receiver: balances[receiver] + amount}


def append(evidence, request):
    """One slot more, executed and held by all."""
    top = max(evidence.log.slots) + 1
    evidence.log.slots[top] = (request, SUCCESS)
    for index, view in enumerate(evidence.views):
        if view.status.executed_upto == top - 1:
            set_view(evidence, index, executed_upto=top, committed_upto=top)
        set_view(evidence, index, last_slot=max(top, evidence.views[index].status.last_slot))
    return top


# ---- corruptions: each changes the evidence; False where there is nothing of the kind ------------


def drop_a_reply_before_the_next_request(e, r):
    clients = [o.request[0] for o in e.history if o.invoked_at is not None]
    first = [o for i, o in enumerate(sent(e)) if o.request[0] in clients and has_next(e, o)]
    one = r.choice(first)
    one.result = one.answered_at = one.slot = one.ballot = None


def sent(e):
    return [o for o in e.history if o.invoked_at is not None]


def has_next(e, one):
    return any(o.request[0] == one.request[0] and o.request[1] > one.request[1] for o in sent(e))


def change_a_result(e, r):
    one = answered(e, r)
    if isinstance(one.result, int):
        one.result += 1
    else:
        one.result = FAILED if one.result == SUCCESS else SUCCESS


def change_a_result_and_the_log(e, r):
    one = answered(e, r, TRANSFER)
    one.result = FAILED if one.result == SUCCESS else SUCCESS
    e.log.slots[one.slot] = (one.request, one.result)


def change_the_slot_of_an_answer(e, r):
    answered(e, r).slot += r.choice((-1, 1, 50))


def change_the_ballot_of_an_answer(e, r):
    answered(e, r).ballot = Ballot(99, 1)


def answer_before_it_was_sent(e, r):
    one = answered(e, r)
    one.answered_at = one.invoked_at - 1


def answer_what_was_never_sent(e, r):
    answered(e, r).invoked_at = None


def answer_what_is_pending(e, r):
    pending = [o for o in sent(e) if not o.is_answered]
    if not pending:
        return False
    one = r.choice(pending)
    one.result = 3 if one.request[2] == READ else SUCCESS
    one.answered_at, one.slot = one.invoked_at + 5, max(e.log.slots) + 1
    return True


def send_after_a_later_slot_was_answered(e, r):
    pairs = [(a, b) for a in sent(e) for b in sent(e) if a.slot and b.slot and a.slot < b.slot]
    first, later = r.choice(pairs)
    delay = later.answered_at + 1 - first.invoked_at
    first.invoked_at, first.answered_at = first.invoked_at + delay, first.answered_at + delay


def change_an_amount_asked_for(e, r):
    slot = any_slot(e, r)
    one = next(o for o in e.history if o.request[:2] == e.log.slots[slot][0][:2])
    one.request = (*one.request[:5], one.request[5] + 1)


def change_whom_it_was_for(e, r):
    one = answered(e, r, TRANSFER)
    other = r.choice([a for a in ACCOUNTS if a != one.request[4]])
    one.request = (*one.request[:4], other, one.request[5])


def change_a_timestamp(e, r):
    one = answered(e, r)
    one.request = (one.request[0], one.request[1] + r.choice((-1, 1, 100)), *one.request[2:])


def forget_a_request(e, r):
    slot = any_slot(e, r)
    e.history[:] = [o for o in e.history if o.request[:2] != e.log.slots[slot][0][:2]]


def ask_twice(e, r):
    e.history.append(copy.copy(answered(e, r)))


def swap_two_requests(e, r):
    one, two = answered(e, r), answered(e, r)
    if one.request[0] == two.request[0]:
        return False
    one.request, two.request = two.request, one.request
    return True


def swap_two_slots(e, r):
    slots = e.log.slots
    slot = any_slot(e, r)
    other = slot + 1 if slot + 1 in slots else slot - 1
    if other not in slots:
        return False
    slots[slot], slots[other] = slots[other], slots[slot]
    return True


def swap_two_commands(e, r):
    slots, one, two = e.log.slots, any_slot(e, r), any_slot(e, r)
    if one == two:
        return False
    (first, gave), (second, also) = slots[one], slots[two]
    slots[one], slots[two] = (second, gave), (first, also)
    return True


def change_an_amount_in_the_log(e, r):
    slot = any_slot(e, r)
    request, result = e.log.slots[slot]
    e.log.slots[slot] = ((*request[:5], request[5] + 1), result)


def change_a_result_in_the_log(e, r):
    slot = any_slot(e, r)
    request, result = e.log.slots[slot]
    wrong = result + 1 if isinstance(result, int) else {SUCCESS: FAILED, FAILED: SUCCESS}[result]
    e.log.slots[slot] = (request, wrong)


def lose_a_slot(e, r):
    del e.log.slots[any_slot(e, r)]


def lose_the_last_slot(e, r):
    del e.log.slots[max(e.log.slots)]


def lose_the_whole_log(e, r):
    e.log.slots.clear()


def report_a_slot_below_the_first(e, r):
    e.log.slots[0] = e.log.slots[any_slot(e, r)]


def report_two_values(e, r):
    slot = any_slot(e, r)
    e.log.add(3, slot, [(NOOP_REQUEST, SKIPPED)])


def report_a_slot_that_nobody_holds(e, r):
    e.log.slots[max(v.status.last_slot for v in e.views) + 1] = (NOOP_REQUEST, SKIPPED)
    top = max(e.log.slots)
    for slot in range(1, top):
        e.log.slots.setdefault(slot, (NOOP_REQUEST, SKIPPED))


def lose_an_acknowledged_transfer_everywhere(e, r):
    one = answered(e, r, TRANSFER)
    e.log.slots[one.slot] = (NOOP_REQUEST, SKIPPED)
    make_consistent(e)


def move_another_amount_everywhere(e, r):
    slot = any_slot(e, r)
    request, result = e.log.slots[slot]
    e.log.slots[slot] = ((*request[:5], request[5] + 1), result)
    make_consistent(e)


def execute_another_request_under_its_name(e, r):
    pending = [o for o in sent(e) if not o.is_answered]
    if not pending:
        return False
    one = r.choice(pending)
    append(e, (*one.request[:2], TRANSFER, one.request[0], r.choice(ACCOUNTS), 9))
    make_consistent(e)
    return True


def give_a_request_a_second_slot_with_another_command(e, r):
    request = e.log.slots[any_slot(e, r)][0]
    append(e, (*request[:2], TRANSFER, request[0], r.choice(ACCOUNTS), 9))
    make_consistent(e)


def invent_a_request(e, r):
    client = r.choice(ACCOUNTS)
    append(e, (client, 1_000, TRANSFER, client, r.choice(ACCOUNTS), 1))
    make_consistent(e)


def invent_a_request_of_nobody(e, r):
    append(e, ("Z", 1, TRANSFER, r.choice(ACCOUNTS), r.choice(ACCOUNTS), 1))
    make_consistent(e)


def name_a_no_op(e, r):
    append(e, (r.choice(ACCOUNTS), 1_000, "noop", "", "", 0))
    make_consistent(e)


def put_two_slots_out_of_time(e, r):
    """Consistently: the log, the answers and all states say so, only the clocks do not."""
    pairs = [
        (a, b)
        for a in sent(e)
        for b in sent(e)
        if a.slot and b.slot and a.request[0] != b.request[0] and a.answered_at < b.invoked_at
    ]
    one, two = r.choice(pairs)
    slots = e.log.slots
    slots[one.slot], slots[two.slot] = slots[two.slot], slots[one.slot]
    make_consistent(e)


def pay_twice_everywhere(e, r):
    """All replicas agree on it, and on what they say it gave."""
    paid = [s for s, (q, gave) in e.log.slots.items() if gave == SUCCESS and q[2] == TRANSFER]
    paid = [slot for slot in paid if e.log.slots[slot][0][3] != e.log.slots[slot][0][4]]
    _, _, _, sender, receiver, amount = e.log.slots[slot := r.choice(paid)][0]
    for index, view in enumerate(e.views):
        if view.status.executed_upto >= slot:
            balances = dict(view.status.balances)
            balances[sender] -= amount
            balances[receiver] += amount
            lie(e, index, balances=balances)


def lie(e, index, **changes):
    """Change a state and seal it again."""
    set_view(e, index, **changes)
    status = e.views[index].status
    set_view(e, index, digest=Machine(status.balances, status.sessions).digest())


def change_balances_of_one(e, r):
    index = r.randrange(5)
    lie(e, index, balances=moved(r, e.views[index].status.balances))


def change_balances_of_a_failed_one(e, r):
    failed = [i for i, view in enumerate(e.views) if view.liveness is not Liveness.LIVE]
    index = r.choice(failed)
    lie(e, index, balances=moved(r, e.views[index].status.balances))


def make_money(e, r):
    index = r.randrange(5)
    balances = dict(e.views[index].status.balances)
    balances[r.choice(ACCOUNTS)] += 1
    lie(e, index, balances=balances)


def change_balances_of_all(e, r):
    pair = r.sample(ACCOUNTS, 2)
    for index, view in enumerate(e.views):
        balances = dict(view.status.balances)
        balances[pair[0]] += 1
        balances[pair[1]] -= 1
        lie(e, index, balances=balances)


def change_a_session(e, r):
    index = r.randrange(5)
    sessions = list(e.views[index].status.sessions)
    at = r.randrange(len(sessions))
    client, timestamp, result, slot = sessions[at]
    wrong = result + 1 if isinstance(result, int) else {SUCCESS: FAILED, FAILED: SUCCESS}[result]
    sessions[at] = r.choice(
        [
            (client, timestamp + 1, result, slot),
            (client, timestamp, wrong, slot),
            (client, timestamp, result, slot + 1),
        ]
    )
    lie(e, index, sessions=tuple(sessions))


def forget_a_session(e, r):
    index = r.randrange(5)
    lie(e, index, sessions=e.views[index].status.sessions[1:])


def forget_a_session_everywhere(e, r):
    client = r.choice(e.views[0].status.sessions)[0]
    for index, view in enumerate(e.views):
        kept = tuple(session for session in view.status.sessions if session[0] != client)
        lie(e, index, sessions=kept)


def change_a_digest(e, r):
    set_view(e, r.randrange(5), digest="0" * 64)


def change_all_digests(e, r):
    for index in range(5):
        set_view(e, index, digest="0" * 64)


def change_a_running_hash(e, r):
    set_view(e, r.randrange(5), running_hash="1" * 64)


def change_all_running_hashes(e, r):
    for index in range(5):
        set_view(e, index, running_hash="1" * 64)


def stand_a_slot_further(e, r):
    index = r.randrange(5)
    upto = e.views[index].status.executed_upto + 1
    set_view(e, index, executed_upto=upto, committed_upto=upto, last_slot=upto)


def stand_a_slot_further_all(e, r):
    for index in range(5):
        upto = e.views[index].status.executed_upto + 1
        set_view(e, index, executed_upto=upto, committed_upto=upto, last_slot=upto)


def stand_before_a_slot_that_was_executed(e, r):
    index = r.randrange(5)
    slot = e.views[index].status.executed_upto
    if e.log.slots[slot][0] == NOOP_REQUEST:
        return False
    set_view(e, index, executed_upto=slot - 1)
    return True


def execute_above_what_is_committed(e, r):
    index = r.randrange(5)
    set_view(e, index, committed_upto=e.views[index].status.executed_upto - 1)


def commit_above_what_is_held(e, r):
    index = r.randrange(5)
    set_view(e, index, last_slot=e.views[index].status.committed_upto - 1)


def keep_a_checkpoint_of_the_future(e, r):
    index = r.randrange(5)
    set_view(e, index, checkpoint=e.views[index].status.executed_upto + 1)


def truncate_above_the_checkpoint(e, r):
    index = r.randrange(5)
    set_view(e, index, truncated_upto=e.views[index].status.checkpoint + 1)


def halt(e, r):
    set_view(e, r.randrange(5), halted="history differs")


def leave_a_replica_out(e, r):
    del e.views[r.randrange(4)]


def leave_all_replicas_out(e, r):
    e.views.clear()


def blame_the_machine_for_all(e, r):
    e.views[:] = [replace(view, liveness=Liveness.STOPPED) for view in e.views]


def forget_everything_everywhere(e, r):
    for index in range(5):
        machine = Machine(e.balances)
        lie(e, index, balances=dict(e.balances), sessions=tuple(machine.sessions.values()))
        set_view(e, index, executed_upto=0, committed_upto=0, last_slot=0, truncated_upto=0)
        set_view(e, index, checkpoint=0, running_hash=HistoryHash(1, 1).current)


OF_VIEWS = (
    change_balances_of_one,
    change_balances_of_a_failed_one,
    make_money,
    change_balances_of_all,
    change_a_session,
    forget_a_session,
    forget_a_session_everywhere,
    change_a_digest,
    change_all_digests,
    change_a_running_hash,
    change_all_running_hashes,
    stand_a_slot_further,
    stand_a_slot_further_all,
    stand_before_a_slot_that_was_executed,
    execute_above_what_is_committed,
    commit_above_what_is_held,
    keep_a_checkpoint_of_the_future,
    truncate_above_the_checkpoint,
    halt,
    leave_a_replica_out,
    leave_all_replicas_out,
    blame_the_machine_for_all,
    forget_everything_everywhere,
    pay_twice_everywhere,
    report_a_slot_that_nobody_holds,
    change_the_ballot_of_an_answer,
)
OF_WORDS = (
    drop_a_reply_before_the_next_request,
    change_a_result,
    change_a_result_and_the_log,
    change_the_slot_of_an_answer,
    answer_before_it_was_sent,
    answer_what_was_never_sent,
    answer_what_is_pending,
    send_after_a_later_slot_was_answered,
    change_an_amount_asked_for,
    change_whom_it_was_for,
    change_a_timestamp,
    forget_a_request,
    ask_twice,
    swap_two_requests,
    swap_two_slots,
    swap_two_commands,
    change_an_amount_in_the_log,
    change_a_result_in_the_log,
    lose_a_slot,
    lose_the_last_slot,
    lose_the_whole_log,
    report_a_slot_below_the_first,
    report_two_values,
    lose_an_acknowledged_transfer_everywhere,
    move_another_amount_everywhere,
    execute_another_request_under_its_name,
    give_a_request_a_second_slot_with_another_command,
    invent_a_request,
    invent_a_request_of_nobody,
    name_a_no_op,
    put_two_slots_out_of_time,
)
# Where a slot was not reported, or a replica not looked at, nobody can know; else somebody lies.
NOBODY_KNOWS = {
    answer_what_is_pending,
    lose_a_slot,
    lose_the_last_slot,
    lose_the_whole_log,
    stand_a_slot_further,
    stand_a_slot_further_all,
    leave_a_replica_out,
    leave_all_replicas_out,
    blame_the_machine_for_all,
}


def corrupted(evidence, corrupt, seed):
    """Copies of the evidence, each changed at another place."""
    random = Random(f"{seed}/{corrupt.__name__}")
    for _ in range(PLACES):
        one = evidence.copy()
        if corrupt(one, random) is not False:
            yield one


@pytest.mark.parametrize("seed", SEEDS)
def test_what_a_run_left_behind_is_valid(seed):
    evidence, disks = run(seed)
    assert len(evidence.log.slots) > 25
    assert any(view.status.truncated_upto for view in evidence.views)
    stands = {view.status.executed_upto for view in evidence.views}
    assert len(stands) > 1 and any(not o.is_answered for o in sent(evidence))
    for judgements in (evidence.judge(), evidence.judge(with_views=False)):
        assert overall(judgements) is Verdict.VALID, judgements
    assert overall(resumed(seed).judge()) is Verdict.VALID
    assert promises(disks).verdict is Verdict.VALID


def name_of(corrupt):
    return corrupt.__name__.replace("_", " ")


@pytest.mark.parametrize("corrupt", OF_VIEWS + OF_WORDS, ids=name_of)
def test_no_corruption_is_valid(corrupt):
    tried = 0
    for seed in SEEDS:
        for one in corrupted(run(seed)[0], corrupt, seed):
            tried += 1
            judgements = one.judge()
            verdict = overall(judgements)
            assert verdict is not Verdict.VALID
            assert verdict is Verdict.INVALID or corrupt in NOBODY_KNOWS, judgements
            assert all(j.reason for j in judgements if j.verdict is not Verdict.VALID)
    assert tried >= PLACES


class Growing:
    """A run of which the first two sets are judged, and that goes on as some evidence says."""

    def __init__(self, evidence):
        self.judges = RunJudges(evidence.balances, INTERVAL)
        before = evidence.before.copy()
        self.history = before.history
        judgements = self.judges.judge(before.log, self.history, before.views, is_last=False)
        assert overall(judgements) is Verdict.VALID

    def judge(self, evidence, is_last=False):
        for known, now in zip(self.history, evidence.history, strict=False):
            for field in dataclasses.fields(known):
                setattr(known, field.name, getattr(now, field.name))
        self.history += evidence.history[len(self.history) :]
        return self.judges.judge(evidence.log, self.history, evidence.views, is_last)


def has_changed_what_was_judged(before, after):
    """What a run that goes on cannot do: other answers, slots or orders than those of before."""
    if len(after.history) < len(before.history):
        return True
    pairs = zip(before.history, after.history, strict=False)
    return any(then.is_answered and then != now for then, now in pairs) or any(
        after.log.slots.get(slot) != what for slot, what in before.log.slots.items()
    )


@pytest.fixture
def begun(monkeypatch):
    """From which slots judges go through a log."""
    slots, real = [], judges.replay

    def replay(*given, since=None, **named):
        slots.append(0 if since is None else since.upto)
        return real(*given, since=since, **named)

    monkeypatch.setattr(judges, "replay", replay)
    return slots


@pytest.mark.parametrize("seed", SEEDS)
def test_sets_are_judged_from_where_the_one_before_stood(seed, begun):
    evidence = run(seed)[0].copy()
    upto = max(evidence.before.log.slots)
    assert any(view.status.executed_upto < upto for view in evidence.before.views)
    for index, view in enumerate(evidence.views[2:4], 2):  # they died: what they hold is older
        evidence.views[index] = replace(view, status=evidence.views[0].status)
    growing = Growing(evidence)
    for is_last in (False, True):
        assert overall(growing.judge(evidence, is_last)) is Verdict.VALID
    assert begun == [0, upto, 0]


@pytest.mark.parametrize("seed", SEEDS)
def test_who_stands_where_nobody_stood_before_needs_the_whole_run(seed, begun):
    evidence = run(seed)[0]
    growing = Growing(evidence)
    assert overall(growing.judge(evidence)) is Verdict.VALID
    assert overall(growing.judge(evidence)) is Verdict.VALID
    upto = max(evidence.log.slots)
    assert begun == [0, max(evidence.before.log.slots), 0, upto], "then it is known"


@pytest.mark.parametrize("corrupt", OF_VIEWS + OF_WORDS, ids=name_of)
def test_no_corruption_of_a_later_set_is_valid(corrupt):
    for seed in SEEDS:
        evidence = run(seed)[0]
        for one in corrupted(evidence, corrupt, seed):
            if has_changed_what_was_judged(evidence.before, one):
                continue
            growing = Growing(evidence)
            assert growing.judge(one) == one.judge()
            assert overall(growing.judge(one)) is not Verdict.VALID


@pytest.mark.parametrize("corrupt", OF_WORDS, ids=name_of)
def test_no_corruption_of_any_set_is_valid_after_the_last(corrupt):
    evidence = run(1)[0]
    for one in corrupted(evidence, corrupt, 1):
        if len(one.history) >= len(evidence.before.history):
            assert overall(Growing(evidence).judge(one, is_last=True)) is not Verdict.VALID


@pytest.mark.parametrize("corrupt", OF_WORDS, ids=name_of)
def test_no_corruption_of_a_saved_history_is_valid(corrupt):
    for seed in SEEDS:
        for one in corrupted(run(seed)[0], corrupt, seed):
            verdict = overall(one.judge(with_views=False))
            assert verdict is not Verdict.VALID
            assert verdict is Verdict.INVALID or corrupt in NOBODY_KNOWS


def test_what_changes_no_meaning_stays_valid():
    """The last answer of a client may not have arrived; a request may be executed and repeated."""
    for seed in SEEDS:
        evidence = run(seed)[0].copy()
        last = [o for o in sent(evidence) if o.is_answered and not has_next(evidence, o)]
        for one in last:
            one.result = one.answered_at = one.slot = one.ballot = None
        assert overall(evidence.judge()) is Verdict.VALID
        repeated = evidence.log.slots[any_slot(evidence, Random(seed))][0]
        append(evidence, repeated)
        make_consistent(evidence)
        assert overall(evidence.judge()) is Verdict.VALID


# ---- disks ---------------------------------------------------------------------------------------


def lower_the_promise(disk, r):
    return replace(disk, promised=Ballot(disk.promised.number - 1, 1))


def forget_what_was_seen(disk, r):
    return replace(disk, seen=0)


def lower_the_watermark(disk, r):
    return replace(disk, committed_upto=disk.committed_upto - 1)


def lower_the_truncation(disk, r):
    return replace(disk, truncated_upto=disk.truncated_upto - 1)


def lose_the_checkpoint(disk, r):
    return replace(disk, checkpoint=None)


def change_the_checkpoint(disk, r):
    balances = moved(r, disk.checkpoint.balances)
    return replace(disk, checkpoint=altered(disk.checkpoint, balances=balances))


def change_the_checkpoint_and_seal_it(disk, r):
    wrong = altered(disk.checkpoint, balances=moved(r, disk.checkpoint.balances))
    return replace(disk, checkpoint=replace(wrong, digest=wrong.computed_digest()))


def change_the_hash_of_the_checkpoint(disk, r):
    return replace(disk, checkpoint=altered(disk.checkpoint, running_hash="1" * 64))


def lose_an_entry(disk, r):
    entries = list(disk.entries)
    del entries[r.randrange(len(entries))]
    return replace(disk, entries=tuple(entries))


def change_an_entry(disk, r):
    at = r.randrange(len(disk.entries))
    slot, ballot, request = disk.entries[at]
    changed = (slot, ballot, (*request[:5], request[5] + 1))
    return replace(disk, entries=(*disk.entries[:at], changed, *disk.entries[at + 1 :]))


def lift_an_entry_above_the_promise(disk, r):
    slot, _, request = disk.entries[-1]
    entry = (slot, Ballot(disk.promised.number + 1, 1), request)
    return replace(disk, entries=(*disk.entries[:-1], entry))


OF_DISKS = (
    lower_the_promise,
    forget_what_was_seen,
    lower_the_watermark,
    lower_the_truncation,
    lose_the_checkpoint,
    change_the_checkpoint,
    change_the_checkpoint_and_seal_it,
    change_the_hash_of_the_checkpoint,
    lose_an_entry,
    change_an_entry,
    lift_an_entry_above_the_promise,
)


@pytest.mark.parametrize("corrupt", OF_DISKS, ids=name_of)
def test_no_corruption_of_a_disk_keeps_its_word(corrupt):
    """Of what a disk held last, and held the time before."""
    random = Random(corrupt.__name__)
    for seed in SEEDS:
        _, disks = run(seed)
        for replica in range(1, 6):
            last = next(disk for r, disk in reversed(disks) if r == replica)
            snapshots = [*disks, (replica, corrupt(last, random))]
            assert promises(snapshots).verdict is Verdict.INVALID
