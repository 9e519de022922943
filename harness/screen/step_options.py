"""What does not go with --step-messages. Apart from it: who does not step loads no simulator."""

from collections.abc import Mapping

from harness.errors import refuse_ignored

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
    "format": "it is a prompt",
    "trace_format": "no report is written",
}
ANYWAY = {"format": "rich", "trace_format": "jsonl"}  # as good as not given, with anything


def refuse_others(options: Mapping[str, object]) -> None:
    """HarnessError for options that do not go with --step-messages, if that is among them."""
    if options["step_messages"]:
        refuse_ignored("--step-messages", options, UNFIT, ANYWAY)
