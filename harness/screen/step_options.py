"""What does not go with --step-messages. Apart from it: who does not step loads no simulator."""

from collections.abc import Mapping

from harness.errors import HarnessError

# Options that have no meaning when nothing happens by itself, and why.
UNFIT = {
    "replicas": "the replicas that are stepped through are our own",
    "watch": "it shows the replicas after every event",
    "no_step": "it stops after every event",
    "report": "nothing is judged set by set",
    "data": "the disks of a simulation are simulated",
    "timing": "time passes only when a timer runs out",
    "write_expected": "it runs no replicas",
    "key": "nothing is judged set by set",
}


def refuse_others(options: Mapping[str, object]) -> None:
    """HarnessError for options that do not go with --step-messages, if that is among them."""
    if not options["step_messages"]:
        return
    problems = [
        f"--{key.replace('_', '-')}: {why}, leave out this or --step-messages"
        for key, why in UNFIT.items()
        if options.get(key)
    ]
    for name, given, why in (
        ("format", "json", "it is a prompt"),
        ("trace_format", "perfetto", "no report is written"),
    ):
        if options.get(name) == given:
            told = f"--{name.replace('_', '-')} {given}: {why}"
            problems.append(f"{told}, leave out this or --step-messages")
    if problems:
        raise HarnessError(*problems)
