"""Whether what a file does to replicas can be done to these, by how they are linked. Pure."""

from harness.cluster.nemesis import LINK_FAULTS, Fail, Heal, LinkFault
from harness.errors import HarnessError
from harness.external.description import Description
from harness.files.cases import CaseFile

STREAMS = ("cut", "delay")  # what can be done to a stream of bytes


def link_faults(links: str) -> tuple[str, ...]:
    """Those that replicas linked like this can be put through."""
    return LINK_FAULTS if links == "stdio" else () if links == "none" else STREAMS


def refuse_unfit(description: Description, file: CaseFile) -> None:
    """HarnessError with every step that cannot be done, its place and why."""
    problems = [
        f"{file.path}:{step.line}: {step.text}: {why}"
        for case in file.sets
        for step in case.steps
        if (why := why_not(description.links, step.action))
    ]
    if problems:
        raise HarnessError(*problems)


def why_not(links: str, action: object) -> str:
    """Why this cannot be done to replicas linked like this; "" when it can."""
    match links, action:
        case "stdio", _:
            return ""
        case "none", LinkFault() | Heal():
            told = "links: none: nothing of theirs passes the harness, which has no hand in links"
            return f"{told}, expected crash or pause, or links: template or namespaces"
        case "none", Fail(_, "disconnect"):
            told = "links: none: nothing of theirs passes the harness, which cannot disconnect"
            return f"{told} a replica, expected crash or pause, or links: template or namespaces"
        case _, LinkFault(kind) if kind not in STREAMS:
            told = f"links: {links}: a stream of bytes cannot {kind}"
            return f"{told}, expected cut or delay, or links: stdio"
    return ""
