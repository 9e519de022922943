"""A tiny bank behind the line protocol, and all that such a program can do wrong.

`python -S -E tiny_replica.py [BEHAVIOUR [ARGUMENT]]`. n1 leads for ever and copies its state to the
others, of which a majority has to have it before n1 answers: no protocol at all, which is enough
where nobody fails. Standard library only: it has to be there in a moment.
"""

import json
import os
import signal
import subprocess
import sys
import time

BEHAVIOUR = sys.argv[1] if len(sys.argv) > 1 else "good"
ARGUMENT = sys.argv[2] if len(sys.argv) > 2 else ""


class Replica:
    def __init__(self):
        self.name, self.names = "", []
        self.balances, self.answers, self.executed = {}, {}, 0
        self.copied, self.waiting = {}, []  # by replica, what it has; answers, each with its slot
        self.is_failed = False

    def say(self, dest, **body):
        message = {"src": self.name, "dest": dest, "body": body}
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    def take(self, message):
        body, source = message["body"], message["src"]
        kind = body["type"]
        answer = {"in_reply_to": body.get("msg_id")}
        if kind == "init":
            self.name, self.names = body["node_id"], body["node_ids"]
            self.balances = dict(body["accounts"])
            self.on_init(body)
            self.say(source, type="init_ok", **answer)
            self.after_init()
        elif kind in ("transfer", "read"):
            self.on_request(source, body, answer)
        elif kind == "copy":
            self.balances, self.executed = body["balances"], body["executed"]
            self.say(source, type="copied", executed=self.executed)
        elif kind == "copied":
            self.copied[source] = max(body["executed"], self.copied.get(source, 0))
            self.answer()
        elif kind == "state" and BEHAVIOUR != "tells-nothing":
            role = "leader" if self.name == "n1" else "backup"
            self.say(
                source,
                type="state_ok",
                balances=self.balances,
                executed=self.executed,
                committed=self.executed,
                role=role,
                ballot=[1, "n1"],
                **answer,
            )
        elif kind in ("fail", "recover") and BEHAVIOUR == "asked":
            self.is_failed = kind == "fail"
            self.say(source, type=f"{kind}_ok", **answer)
        elif kind not in ("hello",):
            self.say(source, type="error", code=10, text="unknown", **answer)

    def on_init(self, body):
        pass

    def after_init(self):
        pass

    def on_request(self, source, body, answer):
        if self.is_failed:
            return
        if self.name != "n1":
            self.say(source, type="error", code=11, text="not me", leader="n1", **answer)
        elif body["type"] == "read":
            if BEHAVIOUR == "no-reads":
                self.say(source, type="error", code=10, text="unknown", **answer)
                return
            self.say(source, type="read_ok", value=self.balances[body["account"]], **answer)
        else:
            result, slot = self.execute(body)
            for name in self.names[1:]:
                self.say(name, type="copy", balances=self.balances, executed=self.executed)
            told = {"type": "transfer_ok", "result": result, "slot": slot, "leader": "n1"}
            self.waiting.append((slot, source, {**told, **answer}))
            self.answer()

    def answer(self):
        """What a majority has by now."""
        upto = sorted([self.executed, *self.copied.values(), 0, 0])[-(len(self.names) // 2 + 1)]
        for _, source, told in [one for one in self.waiting if one[0] <= upto]:
            self.say(source, **told)
        self.waiting = [one for one in self.waiting if one[0] > upto]

    def execute(self, body):
        key = body["client"], body["timestamp"]
        if key not in self.answers:
            moves = self.balances[body["from"]] >= body["amount"]
            if moves:
                self.balances[body["from"]] -= body["amount"]
                self.balances[body["to"]] += body["amount"]
            self.executed += 1
            self.answers[key] = "success" if moves else "failed", self.executed
        return self.answers[key]

    def run(self):
        for line in sys.stdin:
            self.take(json.loads(line))


class Talker(Replica):
    """Writes beside its messages what is none."""

    def after_init(self):
        written = {"garbage": "starting up …", "number": "42", "braces": "{}"}
        os.write(1, f"{written[ARGUMENT]}\n".encode())


class TwoOnALine(Replica):
    def after_init(self):
        if self.name != "n1":
            hello = json.dumps({"src": self.name, "dest": "n1", "body": {"type": "hello"}})
            os.write(1, f"log: {hello}{hello}\n".encode())


class NoNewline(Replica):
    """All of its answers end without a newline, or with ARGUMENT in its place."""

    def say(self, dest, **body):
        message = {"src": self.name, "dest": dest, "body": body}
        end = ARGUMENT.encode().decode("unicode_escape")
        os.write(1, f"{json.dumps(message)}{end}".encode())


class SeveralLines(Replica):
    """Writes one message, over several lines, and ends."""

    def say(self, dest, **body):
        message = {"src": self.name, "dest": dest, "body": body}
        os.write(1, f"{json.dumps(message, indent=1)}\n".encode())
        os._exit(4)


class WrongName(Replica):
    def after_init(self):
        if self.name == "n2":
            os.write(
                1, b'{"src":"n1","dest":"n3","body":{"type":"copy","balances":{},"executed":9}}\n'
            )
            self.say("n77", type="hello")
            self.say("c1", type="transfer_ok", result="success", in_reply_to=999999)


class PassesOn(Replica):
    """Clients are sent to n2, which passes their requests on to n1 in their own names."""

    def say(self, dest, **body):
        super().say(dest, **{**body, "leader": "n2"} if "leader" in body else body)

    def on_request(self, source, body, answer):
        if self.name == "n1":
            super().on_request(source, body, answer)
        else:
            line = json.dumps({"src": source, "dest": "n1", "body": body})
            os.write(1, f"{line}\n".encode())


class Twice(Replica):
    """Answers everything twice."""

    def say(self, dest, **body):
        super().say(dest, **body)
        if dest.startswith("c") and dest != "c0":
            super().say(dest, **body)


class Contradicts(Replica):
    """Answers everything twice, the second time the opposite."""

    def say(self, dest, **body):
        super().say(dest, **body)
        if body["type"] == "transfer_ok":
            result = "failed" if body["result"] == "success" else "success"
            super().say(dest, **{**body, "result": result})


class Large(Replica):
    def after_init(self):
        if self.name == "n2":
            self.say("n1", type="hello", text="x" * (1 << 21))
            self.say("n1", type="hello")


class Deep(Replica):
    """n2 asks a service in messages of every depth that somebody may just be able to read."""

    def after_init(self):
        for depth in range(800, 1010) if self.name == "n2" else ():
            number = "[" * depth + "]" * depth
            body = f'{{"type": "read", "key": 1, "msg_id": {number}}}'
            sys.stdout.write(f'{{"src": "n2", "dest": "lin-kv", "body": {body}}}\n')
        sys.stdout.flush()


class Flood(Replica):
    """n2 floods a reader that does not read any more."""

    def after_init(self):
        if self.name == "n3":
            time.sleep(3600)
        if self.name == "n2":
            line = json.dumps({"src": "n2", "dest": "n3", "body": {"type": "hello", "x": "y" * 99}})
            for _ in range(200):
                sys.stdout.write(f"{line}\n" * 100)
            sys.stdout.flush()


class Endless(Replica):
    """n2 writes without an end, to standard output and error."""

    def after_init(self):
        if self.name == "n2":
            while True:
                os.write(1, b"y\n" * 2048)
                os.write(2, b"y\n" * 2048)


class Ends(Replica):
    """Ends at once, or when it is asked the first time."""

    def on_init(self, body):
        if ARGUMENT == "init" and self.name == "n2":
            sys.stderr.write("no configuration\nTraceback: gone\n")
            os._exit(3)

    def on_request(self, source, body, answer):
        if ARGUMENT == "request":
            sys.stderr.write("boom: a request\n")
            sys.stderr.flush()
            os._exit(3)
        super().on_request(source, body, answer)


class Closes(Replica):
    def after_init(self):
        if self.name == "n2":
            os.close(1)
            time.sleep(3600)


class Mute(Replica):
    """Never answers `init`."""

    def take(self, message):
        pass


class Forks(Replica):
    """Leaves children in sessions of their own, which hold its pipes and ignore SIGTERM.

    ARGUMENT is a file that gets their process ids.
    """

    def on_init(self, body):
        for is_double in (False, True):
            if os.fork() == 0:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                if is_double and os.fork():
                    os._exit(0)
                with open(ARGUMENT, "a") as stream:
                    stream.write(f"{os.getpid()}\n")
                os.environ.clear()
                os.execve("/bin/sleep", ["sleep", "3600"], {})


class Eats(Replica):
    """Takes more than it may of ARGUMENT."""

    def after_init(self):
        if self.name != "n2":
            return
        if ARGUMENT == "memory":
            self.held = b"x" * (200 << 20)
        elif ARGUMENT == "files":
            with open(os.path.join(os.environ["PAXBANK_DATA"], "big"), "wb") as stream:
                for _ in range(30):
                    stream.write(b"x" * (1 << 20))
        elif ARGUMENT == "processes":
            for _ in range(30):
                subprocess.Popen(["sleep", "3600"])


class Kills(Forks):
    """Starts children, then kills its parent, or the parent of that: wardens and the keeper."""

    def after_init(self):
        if self.name != "n2":
            return
        written = []
        while len(written) < 2:  # its children are there
            time.sleep(0.01)
            if os.path.exists(ARGUMENT):
                with open(ARGUMENT) as stream:
                    written = stream.readlines()
        victim = os.getppid()
        if "keeper" in ARGUMENT:
            with open(f"/proc/{victim}/stat") as stat:
                victim = int(stat.read().rpartition(")")[2].split()[1])
        os.kill(victim, signal.SIGKILL)


class Misformed(Replica):
    """Tells a state that nobody can read."""

    def say(self, dest, **body):
        if body["type"] == "state_ok":
            body |= {"balances": {"A": "ten"}, "role": "king", "ballot": 3, "executed": -1}
        super().say(dest, **body)


class MisformedLog(Replica):
    """Tells entries and views of its own invention."""

    def take(self, message):
        kind, number = message["body"]["type"], message["body"].get("msg_id")
        if kind == "log":
            told = {"entries": [{"slot": "first"}, 7]}
            self.say(message["src"], type="log_ok", in_reply_to=number, **told)
        elif kind == "views":
            self.say(message["src"], type="views_ok", in_reply_to=number, views="none")
        else:
            super().take(message)


class TwoLeaders(Replica):
    """All lead in one ballot."""

    def say(self, dest, **body):
        if body["type"] == "state_ok":
            body |= {"role": "leader", "ballot": [1, "n1"]}
        super().say(dest, **body)


class Text(Replica):
    """Numbers of messages are text with it, in answers to ARGUMENT."""

    def say(self, dest, **body):
        if body["type"] == ARGUMENT:
            body["in_reply_to"] = str(body["in_reply_to"])
        super().say(dest, **body)


class RefusesInit(Replica):
    def take(self, message):
        number = message["body"]["msg_id"]
        self.name = message["body"]["node_id"]
        self.say(message["src"], type="error", code=13, text="no licence", in_reply_to=number)


class Early(Replica):
    """n1 answers what nobody else has heard of."""

    def answer(self):
        for _, source, told in self.waiting:
            self.say(source, **told)
        self.waiting = []


class Slow(Replica):
    """Answers after so many seconds, when nobody waits any more."""

    def on_request(self, source, body, answer):
        time.sleep(float(ARGUMENT))
        super().on_request(source, body, answer)


class Refuses(Replica):
    def on_request(self, source, body, answer):
        self.say(source, type="error", code=12, text="what is that?", **answer)


KINDS = {
    "early": Early,
    "garbage": Talker,
    "two-on-a-line": TwoOnALine,
    "no-newline": NoNewline,
    "several-lines": SeveralLines,
    "wrong-name": WrongName,
    "passes-on": PassesOn,
    "twice": Twice,
    "contradicts": Contradicts,
    "deep": Deep,
    "large": Large,
    "flood": Flood,
    "endless": Endless,
    "ends": Ends,
    "closes": Closes,
    "mute": Mute,
    "forks": Forks,
    "kills": Kills,
    "eats": Eats,
    "refuses": Refuses,
    "misformed": Misformed,
    "misformed-log": MisformedLog,
    "two-leaders": TwoLeaders,
    "text": Text,
    "refuses-init": RefusesInit,
    "slow": Slow,
}

if __name__ == "__main__":
    KINDS.get(BEHAVIOUR, Replica)().run()
