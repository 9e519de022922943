"""The page for people: what it says, that no name can break it, and in a browser that it works."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from random import Random

import browser
import pytest
from rich.console import Group
from rich.rule import Rule
from rich.text import Text
from screen_fakes import CONFIG, graded, long_set, many_accounts, render, sent, set_six, troubled

from bank.ballot import Ballot
from bank.events import Leads
from bank.messages import Accept, Accepted, ClientRequest
from harness.cluster.journal import Entry, QueueReplaced, Traces, Way
from harness.files.cases import CaseFile
from harness.files.config import ClusterConfig
from harness.files.testset import load
from harness.report import charts, html, writer
from harness.report.documents import PAGE
from harness.report.markup import element, embedded_json, join
from harness.report.screen import shown, words
from harness.run import story
from harness.run.runner import Runner
from harness.screen import tables
from harness.sim.world import SimCluster

ROOT = Path(__file__).parents[1]
VOID = {"meta", "input", "br"}
EVIL = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)>&\"'{{data}}"


def page(*reports, traces=None, moments=(), file=CaseFile("x.csv", ()), **more):  # noqa: B008
    traces = [{} for _ in reports] if traces is None else traces
    config = more.pop("config", CONFIG)
    return html.page(file, config, reports, (), traces=traces, moments=moments, **more)


class Reader(HTMLParser):
    """Text and elements of a page, and whether every element is closed in its place."""

    def __init__(self, source):
        super().__init__()
        self.texts, self.elements, self.open = [], [], []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"script", "style"} & set(self.open):
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


# ---- markup ------------------------------------------------------------------------------------


def test_text_is_escaped_and_markup_is_not():
    inner = element("b", "a<b", class_='x"y')
    assert inner == '<b class="x&quot;y">a&lt;b</b>'
    assert element("p", inner, None, 3, hidden=True, id=None) == f"<p hidden>{inner}3</p>"
    assert element("p", data_set=0, lang=False) == '<p data-set="0"></p>'
    assert join("<", inner) == f"&lt;{inner}"
    assert embedded_json({"a": "</script>&"}) == '{"a":"\\u003c/script\\u003e\\u0026"}'


def test_styles_become_classes():
    text = Text.assemble(("✓", "green"), " and ", ("n1", "bold"))
    assert words(text) == '<span class="good">✓</span> and <span class="strong">n1</span>'
    assert words(Text("a<b", style="magenta")) == '<span class="look">a&lt;b</span>'
    assert words(Text("")) == "" and shown(Text("")) == ""


def test_what_no_table_is_made_of_is_refused():
    with pytest.raises(AssertionError, match="Rule is not shown on a page"):
        shown(Group(Text("a"), Rule()))


# ---- what it says ------------------------------------------------------------------------------


@pytest.mark.parametrize("report", [set_six(), troubled(), long_set(), graded(), many_accounts()])
def test_everything_on_the_screen_is_on_the_page(report, monkeypatch):
    monkeypatch.setattr(tables, "FOLD_BEYOND", 1000)  # the page shows all steps
    found = Reader(page(report)).text
    before = {curve.account: curve.points[0][1] for curve in charts.curves([report])}
    for word in render(tables.set_screen(report, CONFIG.failure, before), 200).split():
        assert word in found or set(word) <= {"─", "·"}, word
    for step in report.steps:
        assert f"{step.label} {step.text}" in found


def test_the_head_tells_of_the_run():
    file = CaseFile("some/tour.csv", (), name="A tour", description="Through <everything>")
    told = Reader(page(set_six(), file=file, command="python run.py a.csv --seed 7", written="now"))
    for text in (
        "A tour", "Through <everything>", "some/tour.csv", "✓ valid: every check holds over 1 set",
        "failure disconnect", "seed 7", "written now", "python run.py a.csv --seed 7",
    ):  # fmt: skip
        assert text in told.text


def test_what_nobody_tells_is_not_made_up():
    untold = frozenset({"balances", "following", "promised", "executed_upto", "committed_upto"})
    views = tuple(replace(view, untold=untold) for view in set_six().views)
    text = Reader(page(replace(set_six(), views=views, ballot=None))).text
    assert "None" not in text and "never changed" not in text
    assert text.count("no replica tells its balances") == 2, "over the slots, and of the set"


def test_a_run_without_any_set_has_a_page():
    told = Reader(page())
    assert "No set yet." in told.text and "Set 1" not in told.text


def test_verdicts_are_in_the_navigation():
    links = [a for tag, a in Reader(page(set_six(), troubled())).elements if tag == "a"]
    titles = {a["href"]: a["title"] for a in links if a.get("title", "").startswith("Set")}
    assert titles == {"#set-6": "Set 6: valid", "#set-12": "Set 12: invalid"}


def test_no_text_is_markup():
    file = CaseFile(EVIL, (), name=EVIL, description=EVIL)
    evil = replace(set_six().steps[0], text=EVIL, label=EVIL)
    evil_request = ClientRequest(((EVIL, 1, "transfer", EVIL, EVIL, 1),))
    trace = {1: ((sent(Way.SENT, (2,), evil_request, 1),), 0), 2: ((), 0)}
    source = page(
        replace(set_six(), steps=(evil,)), file=file, traces=[trace], command=EVIL, written=EVIL
    )
    plain = Reader(page(set_six(), command="x", traces=[trace]))
    told = Reader(source)
    assert told.text.count(EVIL) >= 7  # title, head, step, command, …
    for tag in ("script", "img", "style"):
        assert [t for t, _ in told.elements].count(tag) == [t for t, _ in plain.elements].count(tag)


def test_it_asks_for_nothing_and_its_style_and_script_are_small():
    source = page(set_six())
    assert not re.search(r"\ssrc=|url\(|@import|href=\"(?!#)", source)
    assert "default-src 'none'" in dict(Reader(source).elements[3][1])["content"]
    parts = ROOT / "harness" / "report"
    assert sum((parts / f"page.{end}").stat().st_size for end in ("html", "css", "js")) <= 42 * 1024


# ---- in a browser ------------------------------------------------------------------------------

PROGRAM = browser.find()
needs_browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium is installed")
VIEW = "document.querySelector('#view')"
SHOWN = f"[...{VIEW}.querySelectorAll('g.m[role=option]')]"
COUNT = "document.querySelector('#count').textContent"
CARD = "document.querySelector('#card')"


@pytest.fixture(scope="module")
def chromium():
    with browser.Browser(PROGRAM) as running:
        yield running


def simulate(folder, path, seen=lambda: None, **settings):
    """The page of a simulated run of a file, written as `--report` writes it after every set."""
    config = ClusterConfig(seed=7, **settings)
    world, cases = SimCluster(config), load(path, config)
    written = writer.Writer(folder, cases, config, "python run.py x.csv --sim --seed 7")

    def write():
        written.update(runner, world)
        seen()

    runner = Runner(world, config, cases, on_done=write)
    world.start()
    while runner.remaining:
        runner.run_next()
    return folder / PAGE, runner.reports


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Its second set is the one with a leader that fails."""
    path = ROOT / "testsets" / "leader_failure.csv"
    return simulate(tmp_path_factory.mktemp("report"), path)


@pytest.fixture
def drawn(chromium, written):
    window = chromium.open(written[0])
    window.wait(f"{SHOWN}.length > 5")
    yield window
    assert window.errors == []
    assert [url for url in window.requests if not url.startswith("file:")] == []
    assert len(window.requests) == 1
    window.close()


def choose(window, index):
    window.run(f"""(() => {{ const s = document.querySelector('#which'); s.value = {index};
        s.dispatchEvent(new Event('change')); }})()""")


def search(window, text, expected):
    window.run(f"""(() => {{ const q = document.querySelector('#query'); q.value = {text!r};
        q.dispatchEvent(new Event('input')); }})()""")
    return window.wait(f"{COUNT}.includes({expected!r}) && {COUNT}")


def press(window, group, name):
    window.run(f"""[...document.querySelectorAll('#{group} button')]
        .find(b => b.textContent === {name!r}).click()""")


def where(window, text):
    """The middle of the first label with this text in sight."""
    return window.run(f"""(() => {{ const t = [...{VIEW}.querySelectorAll('.m text')]
        .find(t => t.textContent.startsWith({text!r}));
        t.scrollIntoView({{block: 'center'}});
        const r = t.getBoundingClientRect();
        return [r.x + r.width / 2, r.y + r.height / 2]; }})()""")


@needs_browser
def test_a_page_is_drawn_and_its_links_lead_into_the_diagram(drawn, written):
    choose(drawn, 1)
    found = drawn.run(f"{SHOWN}.map(g => g.getAttribute('aria-label'))")
    assert any(re.match(r"n\d → all: NEW-VIEW · \(2, n\d\)", label) for label in found), found
    assert any("never read, disconnected" in label for label in found)
    bands = drawn.run(f"[...{VIEW}.querySelectorAll('.band text')].map(t => t.textContent)")
    assert bands == ["Step 2 · LF · n1 disconnected"]
    leads = drawn.run(f"[...{VIEW}.querySelectorAll('.note.leader text')].map(t => t.textContent)")
    assert leads and all(text.startswith("leads (2, n") for text in leads)
    assert drawn.run("document.querySelectorAll('#view .lane.leader').length") == 2
    drawn.run("document.querySelector('#set-3 .steps tbody tr:last-child a').click()")
    assert drawn.run("document.querySelector('#which').value") == "2"
    band = f"[...{VIEW}.querySelectorAll('.step text')].at(0).getBoundingClientRect().y"
    assert 0 < drawn.run(band) < 900


@needs_browser
def test_hovering_clicking_and_keys_show_the_whole_message(drawn):
    choose(drawn, 1)
    assert drawn.run(f"{CARD}.hidden")
    drawn.mouse("mouseMoved", *where(drawn, "NEW-VIEW"))
    told = drawn.wait(f"!{CARD}.hidden && {CARD}.textContent")
    assert "NEW-VIEW · (2, n" in told and "n1: never read, disconnected" in told
    assert len(re.findall(r"read at [\d.]+ ms, after [\d.]+ ms", told)) == 3
    drawn.mouse("mouseMoved", 5, 300)
    drawn.wait(f"{CARD}.hidden")
    drawn.click(*where(drawn, "NEW-VIEW"))
    drawn.wait(f"{CARD}.classList.contains('kept')")
    kept = drawn.run(f"{SHOWN}.findIndex(g => g.getAttribute('aria-selected') === 'true')")
    drawn.run(f"{VIEW}.focus()")
    drawn.key("ArrowDown")
    active = drawn.run(f"{VIEW}.getAttribute('aria-activedescendant')")
    assert active != drawn.run(f"{SHOWN}[{kept}].id")
    assert drawn.run(f"document.getElementById({active!r}).getAttribute('aria-selected')") == "true"
    assert drawn.run(f"{CARD}.textContent") != told
    drawn.key("Escape")
    assert drawn.run(f"{CARD}.hidden && !{VIEW}.hasAttribute('aria-activedescendant')")


@needs_browser
def test_a_finger_shows_it_too(drawn):
    drawn.resize(360, 740, phone=True)
    choose(drawn, 1)
    x, y = where(drawn, "ACCEPT (1")
    for kind, points in (("touchStart", [{"x": x, "y": y}]), ("touchEnd", [])):
        drawn.call("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    drawn.wait(f"!{CARD}.hidden && {CARD}.textContent.includes('ACCEPT')")
    box = drawn.run(f"(r => [r.left, r.right, r.bottom])({CARD}.getBoundingClientRect())")
    assert box[0] >= 0 and box[1] <= 360 and box[2] <= 740


@needs_browser
def test_filters_by_set_replica_kind_and_text(drawn, written):
    total = int(drawn.run(COUNT).split()[0])
    press(drawn, "kinds", "ACCEPT")
    without = drawn.run(COUNT)
    assert int(without.split()[0]) < total and f"of {total} messages" in without
    assert drawn.run(f"{SHOWN}.filter(g => g.classList.contains('accept')).length") == 0
    press(drawn, "kinds", "all")
    assert drawn.run(COUNT) == f"{total} messages"
    press(drawn, "lanes", "none")
    assert drawn.run(f"{SHOWN}.length") == 0
    for name in ("n1", "n2"):
        press(drawn, "lanes", name)
    labels = drawn.run(f"{SHOWN}.map(g => g.getAttribute('aria-label').split(':')[0])")
    assert labels and all(re.match("n1 → (all|n2)|n2 → (all|n1)", label) for label in labels)
    assert drawn.run("document.querySelector('#names').textContent") == "n1n2"
    press(drawn, "lanes", "all")
    search(drawn, "#2 ACCEPTED n3", "1 of ")
    (label,) = drawn.run(f"{SHOWN}.map(g => g.getAttribute('aria-label'))")
    assert label.startswith("n3 → n1: ACCEPTED")
    search(drawn, "(nothing like it)", "0 of ")
    choose(drawn, -1)
    search(drawn, "new-view", " of ")
    bands = drawn.run(f"[...{VIEW}.querySelectorAll('.band.set')].length")
    assert bands == len(written[1])


HIDDEN_BY_TIMES = """(() => {
  const cut = document.querySelector('#view .gutter rect').getBoundingClientRect().right;
  return [...document.querySelectorAll('#view .m text, #view .step text')]
    .map((t) => [t.textContent, t.getBoundingClientRect()])
    .filter(([, box]) => box.left < cut - 8).map(([words]) => words);
})()"""


@needs_browser
def test_no_label_is_hidden_by_the_times_and_nothing_scrolls_by_a_hair(chromium, tmp_path):
    path, _ = simulate(tmp_path, ROOT / "testsets" / "no_quorum_and_recovery.csv")
    window = chromium.open(path)
    for width in (1280, 390):
        window.resize(width, 1400, phone=width < 600)
        window.wait(f"innerWidth === {width} && {SHOWN}.length > 1")
        choose(window, -1)
        window.wait(f"{VIEW}.scrollHeight > 3000")
        tall = window.run(f"{VIEW}.scrollHeight")
        for part in range(8):
            window.run(f"{VIEW}.scrollTop = {part / 8 * tall}")
            window.run(
                "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
            )
            assert window.run(HIDDEN_BY_TIMES) == [], width
        assert window.run("document.documentElement.scrollWidth") <= width
        if width > 1000:
            frame = "document.querySelector('.timeline').parentElement"
            assert window.run(f"{frame}.scrollWidth - {frame}.clientWidth") == 0


@needs_browser
def test_light_and_dark(drawn):
    paper = f"getComputedStyle({VIEW}).backgroundColor"
    drawn.media(prefers_color_scheme="light")
    light = drawn.run(paper)
    drawn.media(prefers_color_scheme="dark")
    dark = drawn.wait(f"{paper} !== {light!r} && {paper}")
    drawn.run("document.querySelector('#theme').click()")
    assert drawn.run(paper) == light
    drawn.run("document.querySelector('#theme').click()")
    assert drawn.run(paper) == dark


CONTRAST = """(() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const shine = ([r, g, b]) => { const f = (c) => (c /= 255) <= 0.04045 ? c / 12.92
    : ((c + 0.055) / 1.055) ** 2.4; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const behind = (e) => { for (; e; e = e.parentElement) {
    const c = getComputedStyle(e).backgroundColor; if (c !== 'rgba(0, 0, 0, 0)') return c; }
    return 'rgb(255, 255, 255)'; };
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()) || !e.checkVisibility()
        || ['SCRIPT', 'STYLE', 'NOSCRIPT', 'TITLE', 'title'].includes(e.tagName)) continue;
    if (e.closest('.timeline rect, .ballot')) continue;  // on its bar, below
    const style = getComputedStyle(e), back = behind(e);
    const front = e.namespaceURI.endsWith('svg') ? style.fill : style.color;
    const [a, b] = [shine(numbers(front)), shine(numbers(back))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${e.textContent.slice(0, 30)} ${front} on ${back}: ${ratio}`);
  }
  for (const e of document.querySelectorAll('.ballot')) {
    const fill = (x) => shine(numbers(getComputedStyle(x).fill));
    const [a, b] = [fill(e), fill(e.previousElementSibling)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${e.textContent}: ${ratio}`);
  }
  return bad;
})()"""


@needs_browser
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_enough_contrast(chromium, tmp_path, theme, written):
    path = tmp_path / PAGE
    path.write_text(page(set_six(), troubled(), graded()))
    for source in (path, written[0]):
        window = chromium.open(source)
        window.media(prefers_color_scheme=theme)
        assert window.run(CONTRAST) == []


@needs_browser
def test_nothing_is_wider_than_the_window(drawn):
    for width in (800, 1280, 360):
        drawn.resize(width, 740, phone=width < 500)
        drawn.wait(f"innerWidth === {width}")
        assert drawn.run("document.documentElement.scrollWidth") <= width
        # What is too wide for it can be moved inside its own frame.
        assert drawn.run(f"{VIEW}.scrollWidth") >= 6 * 78, width


@needs_browser
def test_on_a_screen_no_table_and_no_lane_is_cut(drawn):
    """The digest and the last set's lane were outside of their frames, and nothing said so."""
    for width in (1000, 1100, 1200, 1279, 1280, 1440):
        drawn.resize(width, 900)
        drawn.wait(f"innerWidth === {width}")
        cut = drawn.run("""[...document.querySelectorAll('.scroll')]
            .filter(frame => frame.scrollWidth > frame.clientWidth + 1)
            .map(frame => frame.textContent.slice(0, 60))""")
        assert cut == [], width


@needs_browser
def test_print_has_the_whole_set_and_its_lanes(drawn):
    choose(drawn, 1)
    total = int(drawn.run(COUNT).split()[0])
    drawn.run("dispatchEvent(new Event('beforeprint'))")
    drawn.media("print")
    assert drawn.run(f"{SHOWN}.length") == total
    assert drawn.run(f"[...{VIEW}.querySelectorAll('svg > text')].map(t => t.textContent)") == [
        "clients", "n1", "n2", "n3", "n4", "n5",
    ]  # fmt: skip


@needs_browser
def test_names_that_look_like_markup_do_nothing(chromium, tmp_path):
    evil_request = ClientRequest(((EVIL, 1, "transfer", EVIL, EVIL, 1),))
    entries = tuple(sent(Way.SENT, (2,), evil_request, n) for n in range(9))
    trace = {1: (entries, 0), 2: ((Entry(3, QueueReplaced(1, EVIL)),), 0)}
    path = tmp_path / PAGE
    evil = replace(set_six(), steps=(replace(set_six().steps[0], text=EVIL, begun_us=1),))
    path.write_text(page(evil, traces=[trace], file=CaseFile("x", (), name=EVIL), command=EVIL))
    window = chromium.open(path)
    window.wait(f"{SHOWN}.length === 9")
    assert window.run("document.title") == f"{EVIL} · paxbank"
    assert window.run("document.querySelectorAll('img').length") == 0
    assert window.errors == [] and len(window.requests) == 1


@needs_browser
def test_what_was_not_kept_is_said(chromium, tmp_path):
    path, _ = simulate(tmp_path, ROOT / "testsets" / "leader_failure.csv", trace_messages=10)
    window = chromium.open(path)
    said = window.wait("document.querySelector('#dropped').textContent")
    assert re.search(r"\d+ older lines of n1 in set 1", said)


@needs_browser
def test_without_messages_there_is_no_diagram_and_no_error(chromium, tmp_path):
    path = tmp_path / PAGE
    path.write_text(page(set_six()))
    window = chromium.open(path)
    assert window.run("document.querySelector('#diagram').hidden")
    assert window.errors == []


def traffic(messages):
    """The traces of a set with as many messages, some of them lost."""
    random, traces, at = Random(1), Traces(range(1, 6), 10**6), 0

    def send(source, to, message, at):
        traces.add(source, [sent(Way.SENT, () if len(to) > 1 else to, message, at)])
        for reader in to:
            if random.random() < 0.99:
                late = at + random.randint(50, 900)
                traces.add(reader, [sent(Way.READ, (source,), message, late)])

    for slot in range(1, messages // 5 + 1):
        at += random.randint(300, 2000)
        request = ("A", slot, "transfer", "A", "B", 1)
        send(1, (2, 3, 4, 5), Accept(Ballot(1, 1), slot, (request,), 0), at)
        for backup in (2, 3, 4, 5):
            send(backup, (1,), Accepted(Ballot(1, 1), slot, slot, 0), at + 1000)
    return {r: traces.of_set(r) for r in range(1, 6)}, at


@needs_browser
def test_of_ten_thousand_messages_only_those_in_sight_are_drawn(chromium, tmp_path):
    trace, last = traffic(10_000)
    report = replace(set_six(), steps=(), seconds=last / 1e6)
    path = tmp_path / PAGE
    path.write_text(page(report, traces=[trace]))
    window = chromium.open(path)
    window.wait(f"{SHOWN}.length > 5")
    assert window.run(COUNT) == "10,000 messages"
    tall = window.run(f"{VIEW}.scrollHeight")
    assert tall > 40_000
    first = None
    for part in (0, 0.25, 0.5, 0.75, 1):
        window.run(f"{VIEW}.scrollTop = {part * tall}")
        # What is in sight is drawn: an arrow begins in each of these fifths of the frame.
        window.wait(f"""(() => {{ const f = {VIEW}.getBoundingClientRect(), n = 5;
            const parts = new Set([...{VIEW}.querySelectorAll('.m text')].map(t =>
              Math.floor((t.getBoundingClientRect().y - f.y) / f.height * n)));
            return parts.has(1) && parts.has(2) && parts.has(3); }})()""")
        assert window.run(f"{VIEW}.querySelectorAll('*').length") < 3_000
        assert window.run(f"{VIEW}.querySelector('svg').getBoundingClientRect().height") < 5_000
        ids = window.run(f"{SHOWN}.map(g => Number(g.id.slice(1)))")
        assert first is None or min(ids) > first
        first = min(ids)
    assert window.errors == []


@pytest.mark.parametrize("share", [-1, 1000], ids=["no-time", "all-the-time"])
def test_a_page_is_drawn_when_there_is_time_and_after_the_last_set(tmp_path, monkeypatch, share):
    monkeypatch.setattr(writer, "PAGE_SHARE", share)
    seen = []
    path = ROOT / "testsets" / "leader_failure.csv"
    _, reports = simulate(tmp_path, path, seen=lambda: seen.append((tmp_path / PAGE).exists()))
    assert len(seen) == len(reports)
    assert seen == [share > 0] * (len(reports) - 1) + [True]


def test_of_a_long_run_the_page_keeps_the_last_messages(tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "MOST_LINES", 300)
    path, reports = simulate(tmp_path, ROOT / "testsets" / "leader_failure.csv")
    found = path.read_text()
    data = json.loads(re.search('<script type="application/json" id="data">(.*?)<', found)[1])
    counts = [(bool(case["messages"]), bool(case["dropped"])) for case in data["sets"]]
    assert counts[0] == (False, True) and counts[-1] == (True, False)
    assert len(counts) == len(reports)
    assert (tmp_path / "trace.jsonl").read_text().count('"set": 1,') > 50


def test_the_timeline_of_a_run_is_told_in_words_as_well(written):
    told = Reader(written[0].read_text()).text
    assert "leads (1, n1)" in told and "n1 disconnected (LF)" in told


def test_heads_of_tables_are_as_many_as_their_cells():
    source = page(set_six(), troubled(), graded())
    for body in re.findall(r"<table>(.*?)</table>", source):
        rows = [len(re.findall("<t[hd][ >]", row)) for row in re.findall("<tr>(.*?)</tr>", body)]
        assert all(one == other for one, other in pairwise(rows))


def test_a_made_up_story_needs_no_cluster():
    note = Entry(1, Leads(Ballot(1, 1)))
    moments = story.timeline([(1, note)], [(replace(set_six(), number=6), ())], 5)
    told = page(set_six(), traces=[{1: ((note,), 0)}], moments=moments)
    assert "Who led when" in told and "Who led when" not in page(set_six())
