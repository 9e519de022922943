"use strict";
// The message diagram. Only the part in sight is in the document, so that a set of any size can be
// scrolled; everything else on this page works without this script. Texts of a run are only ever
// written as text, never as markup.
(() => {
  const $ = (id) => document.getElementById(id);
  const data = JSON.parse($("data").textContent);
  const {lanes: names, words, sets} = data;

  // ---- colours of the page -----------------------------------------------------------------
  const root = document.documentElement, theme = $("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => root.classList.contains("dark") || (dark.matches && !root.classList.contains("light"));
  const label = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
  const remember = (value) => { try { localStorage.setItem("paxbank-theme", value); } catch { /* forbidden: forget it */ } };
  const recall = () => { try { return localStorage.getItem("paxbank-theme"); } catch { return null; } };
  if (["light", "dark"].includes(recall())) root.classList.add(recall());
  theme.hidden = false;
  theme.addEventListener("click", () => {
    const next = isDark() ? "light" : "dark";
    root.classList.remove("light", "dark");
    root.classList.add(next);
    remember(next);
    label();
  });
  dark.addEventListener("change", label);
  label();

  // ---- which set is being read -------------------------------------------------------------
  const links = new Map([...document.querySelectorAll("nav .sets a")].map((a) => [a.hash.slice(1), a]));
  const reading = new IntersectionObserver((entries) => {
    for (const e of entries) links.get(e.target.id)?.classList.toggle("here", e.isIntersecting);
  }, {rootMargin: "-20% 0px -70% 0px"});
  document.querySelectorAll("section.set").forEach((s) => reading.observe(s));

  if (!sets.some((set) => set.messages.length || set.marks.length)) return;
  $("diagram").hidden = false;

  // ---- what is shown -----------------------------------------------------------------------
  const LOST = -1, FAILED_READER = -3, CLIENTS = 0;
  const GROUPS = {
    client: ["REQUEST", "REPLY"], election: ["PREPARE", "ACK", "NEW-VIEW", "LEADER", "NACK"], accept: ["ACCEPT"],
    accepted: ["ACCEPTED"], commit: ["COMMIT"], repair: ["CATCH-UP", "STATE", "CHECKPOINT"],
  };
  const groupOf = Object.fromEntries(Object.entries(GROUPS).flatMap(([group, kinds]) => kinds.map((k) => [k, group])));
  const FAILED = ["disconnected", "crashed", "paused", "stopped"];
  const HEARTBEAT = "HEARTBEAT", EXECUTES = "executes";  // marks, no messages
  const chosen = {set: 0, lanes: new Set(names.keys()), kinds: new Set(), query: ""};

  const view = $("view"), sheet = $("sheet"), card = $("card");
  const SVG = "http://www.w3.org/2000/svg";
  const make = (tag, attributes, ...children) => {
    const e = tag.startsWith("html:") ? document.createElement(tag.slice(5)) : document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes || {})) e.setAttribute(key, value);
    e.append(...children);
    return e;
  };
  const ms = (us) => {
    const value = us / 1000;
    return Math.abs(value) < 100 ? value.toFixed(2) : Math.abs(value) < 10000 ? value.toFixed(1) : value.toFixed(0);
  };
  const duration = (us) => us < 1e6 ? `${ms(us)} ms` : `${(us / 1e6).toFixed(2)} s`;

  // A message of the file: source, sent (null: unknown), kind, ballot, slots, text, then receiver
  // and time of reading (or why there is none) in turn. Numbers of texts are places in `words`.
  const read = (set, [source, sent, kind, ballot, slots, text, ...ends]) => {
    const pairs = [];
    for (let i = 0; i < ends.length; i += 2) pairs.push({lane: ends[i], at: ends[i + 1]});
    return {set, source, sent, kind: words[kind], ballot: words[ballot], slots: words[slots], text: words[text], ends: pairs};
  };
  const messages = sets.map((set, index) => set.messages.map((m) => read(index, m)));
  const kinds = Object.keys(groupOf).concat(HEARTBEAT, EXECUTES);
  const stateOf = (set, lane, at) =>
    sets[set].phases.find(([replica, begin, end]) => replica === lane && begin <= at && at <= end)?.[3];

  // Every word of the search must be found: a kind, a replica, "#14" for a slot, or any text.
  const matcher = (query) => {
    const tests = query.toLowerCase().match(/\([^)]*\)|\S+/g) || [];
    return (m) => tests.every((word) => {
      if (/^#\d+$/.test(word)) {
        const slot = Number(word.slice(1)), [first, last = first] = m.slots.split("-");
        return first !== "" && Number(first) <= slot && (last === "" || slot <= Number(last));
      }
      if (kinds.includes(word.toUpperCase())) return m.kind === word.toUpperCase();
      m.all ??= `${names[m.source]} ${m.kind} ${m.ballot} ${m.slots} ${m.text} ${m.ends.map((e) => names[e.lane]).join(" ")}`.toLowerCase();
      return /^n\d+$/.test(word) ? names[m.source] === word || m.ends.some((e) => names[e.lane] === word) : m.all.includes(word);
    });
  };

  // ---- layout: from times to places ---------------------------------------------------------
  const GUTTER = 54, ROW = 14, BUCKET = 600, LETTER = 6.1, BOLD = 7.5, SMALLEST = 78;  // pixels
  const FAR = 1500;  // longer arrows are drawn in two pieces, at both ends
  const SHORTEST = 20, PAUSE_US = 15000, PRINTED = 12000;
  let things, buckets, shown, matches;  // `shown` are the messages, in order
  let lanes, places, x, spacing, width, height, free, y;

  // The more time, the more room, but far less than in proportion.
  const stretch = (us) => us <= 0 ? 0 : Math.min(3 + 3.5 * Math.log2(1 + us / 60), 42);

  // A label beside a lane takes the gaps that it covers, of which gap n is left of place n;
  // `claim` returns the first y from `at` on at which all of them are free.
  const gaps = (lane, left, text) => {
    const place = places.get(lane), count = Math.max(1, Math.ceil((text.length * LETTER + 8) / spacing));
    return left ? [Math.max(0, place - count + 1), place] : [place + 1, Math.min(place + count, lanes.length)];
  };
  const claim = (at, [first, last] = [0, lanes.length], room = ROW) => {
    for (let gap = first; gap <= last; gap++) at = Math.max(at, free[gap]);
    free.fill(at + room, first, last + 1);
    return at;
  };

  function add(thing, y0 = thing.y - 12, y1 = thing.y + 14) {
    thing.number ??= things.push(thing) - 1;
    for (let b = Math.floor(y0 / BUCKET); b <= Math.floor(y1 / BUCKET); b++) (buckets[b] ??= []).push(thing);
  }

  function layout() {
    things = []; buckets = []; shown = []; x = []; y = 12;
    lanes = [...names.keys()].filter((lane) => chosen.lanes.has(lane));
    places = new Map(lanes.map((lane, place) => [lane, place]));
    spacing = Math.max(SMALLEST, (view.clientWidth - GUTTER - 8) / Math.max(lanes.length, 1));
    for (const [place, lane] of lanes.entries()) x[lane] = GUTTER + spacing * (place + 0.42);
    width = GUTTER + spacing * lanes.length;
    free = new Float64Array(lanes.length + 1);
    matches = matcher(chosen.query);
    const several = chosen.set < 0;
    for (const index of several ? sets.keys() : [chosen.set]) layOut(index, several);
    shown.forEach(span);
    shown.sort((a, b) => a.y - b.y).forEach((thing, place) => { thing.place = place; });
    height = y + 10;
    Object.assign(sheet.style, {height: `${height}px`, width: `${width}px`});
    $("names").style.width = `${width}px`;
    $("names").replaceChildren(...lanes.map((lane) => {
      const b = make("html:b", {}, names[lane]);
      b.style.left = `${x[lane]}px`;
      return b;
    }));
  }

  // One set: whatever happens at a time gets its place in the order of time.
  function layOut(index, several) {
    const set = sets[index];
    if (several) {
      y = claim(y + 6, undefined, 30);
      add({type: "band", y, set: true, text: `Set ${set.set} · live ${set.live}`});
      y += 30;
    }
    const start = y, events = [...messageEvents(index), ...markEvents(set), ...stepEvents(set)];
    events.sort((a, b) => a.at - b.at || a.rank - b.rank);
    timetable[index] = inOrder(events);
    for (const [lane, begin, end, state] of set.phases) {
      const last = !set.phases.some(([other, next]) => other === lane && next >= end);
      addLane(lane, begin ? placeOf(index, begin) : start, last ? y : placeOf(index, end), state);
    }
    addLane(CLIENTS, start, y, "clients");
  }
  function addLane(lane, y0, y1, state) {
    if (chosen.lanes.has(lane)) add({type: "lane", lane, state, y0, y1}, y0, y1);
  }

  // Returns times with their places, for `placeOf`.
  function inOrder(events) {
    let before = 0, ticked = -1e9;
    const found = [[0, y]];
    for (const event of events) {
      const at = Math.max(event.at, 0);
      if (at - before > PAUSE_US) {
        y = claim(y) + 20;
        add({type: "pause", y: y - 4, text: `⋯ ${duration(at - before)}`});
        y += 16;
      } else y += stretch(at - before);
      y = Math.max(y, event.put(y));
      found.push([before = at, y]);
      if (y - ticked >= 26 && event.rank) {
        add({type: "tick", y, text: ms(at)});
        ticked = y;
      }
    }
    y = claim(y) + 24;
    return [...found, [Infinity, y]];
  }

  // Events of one time come by rank: what is read first, what is sent last. `put` is told the
  // place that its time has, and returns the one that it took.
  function* messageEvents(index) {
    const letters = Math.max(SHORTEST, Math.floor((spacing - 14) / LETTER));
    for (const m of messages[index]) {
      if (!chosen.kinds.has(m.kind) || !chosen.lanes.has(m.source) || !matches(m)) continue;
      const ends = m.ends.filter((e) => chosen.lanes.has(e.lane)).map((e) => ({...e, y: 0}));
      if (!ends.length) continue;
      const right = ends.filter((e) => e.lane > m.source).length;
      const known = m.sent !== null && m.sent >= 0;
      let text = [m.kind, m.ballot, m.slots].filter(Boolean).join(" ");
      if (groupOf[m.kind] === "client" || m.text.includes("no-op")) text += ` ${m.text}`;
      if (text.length > letters) text = `${text.slice(0, letters - 1)}…`;
      const left = right < ends.length / 2 && x[m.source] - text.length * LETTER > GUTTER;
      const thing = {type: "message", m, ends, left, text, known, y: 0};
      shown.push(thing);
      yield {at: known ? m.sent : Math.min(...ends.map((e) => e.at)), rank: 4,
        put: (at) => thing.y = claim(at, gaps(m.source, left, text))};
      for (const end of ends) {
        if (end.at >= 0) yield {at: end.at, rank: known ? 0 : 5, put: (at) => end.y = known ? at : thing.y};
      }
    }
  }
  function* markEvents(set) {
    for (const [lane, at, number, word] of set.marks) {
      const kind = words[number], text = words[word], quiet = kind || text.startsWith("follows");
      if (!chosen.lanes.has(lane) || (kind && !chosen.kinds.has(kind))) continue;
      if (!text.toLowerCase().includes(chosen.query.toLowerCase())) continue;
      const left = x[lane] + text.length * LETTER + 30 > width;
      yield {at, rank: 1, put: (when) => {
        const place = quiet ? when : claim(when + 5, gaps(lane, left, text), ROW + 5);
        add({type: "note", y: place, lane, text, kind, quiet, at, left});
        return place;
      }};
    }
  }
  function* stepEvents(set) {
    let point = {};  // what clients asked and heard at one time
    if (chosen.query) return;
    for (const [begin, end, number, text, result, isRequest] of set.steps) {
      const said = `Step ${number} · ${text}`;
      if (!isRequest) {
        yield {at: begin, rank: 2, put: (when) => {
          const place = claim(when + 7, undefined, 24);
          add({type: "band", y: place, text: `${said} · ${result}`});
          return place + 10;
        }};
      } else if (chosen.lanes.has(CLIENTS)) {
        for (const [at, sign] of [[begin, ""], [end, result[0]]]) {  // ✓ or ✗
          if (at !== null) yield {at, rank: 3, put: (when) => {
            if (point.at !== at) add(point = {type: "step", y: claim(when, [0, 0]), at, numbers: [], lines: []});
            point.numbers.push(sign + number);
            point.lines.push(sign ? `${said} · ${result}` : `${said} · asked`);
            return point.y;
          }};
        }
      }
    }
  }
  function span(thing) {
    const last = Math.max(thing.y + 10, ...thing.ends.map((e) => e.y));
    if (last - thing.y <= FAR) {
      add(thing, thing.y - 12, last + 12);
      return;
    }
    add(thing, thing.y - 12, thing.y + FAR);
    for (const end of thing.ends) if (end.y - thing.y > FAR) add(thing, end.y - 20, end.y + 12);
  }

  const timetable = [];  // by set: times and their places, in order
  function placeOf(index, at) {
    const found = timetable[index];
    let low = 0, high = found.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (found[middle][0] < at) low = middle + 1; else high = middle;
    }
    return found[low][1];
  }

  // ---- drawing ------------------------------------------------------------------------------
  const point = (px, py) => `${px.toFixed(1)} ${py.toFixed(1)}`;
  const line = (x0, y0, x1, y1) => `M${point(x0, y0)}L${point(x1, y1)}`;
  const arrow = (x0, y0, x1, y1) => {
    const angle = Math.atan2(y1 - y0, x1 - x0);
    const wing = (turn) => point(x1 - 7 * Math.cos(angle + turn), y1 - 7 * Math.sin(angle + turn));
    return `${line(x0, y0, x1, y1)}M${wing(0.42)}L${point(x1, y1)}L${wing(-0.42)}`;
  };
  const text = (at, y, words, end) => make("text", {x: at, y, ...(end ? {"text-anchor": end} : {})}, words);

  const draw = {
    lane({lane, state, y0, y1}, [from, to]) {
      const kind = FAILED.includes(state) ? "failed" : state;
      return make("line", {class: `lane ${kind}`, x1: x[lane], x2: x[lane], y1: Math.max(y0, from), y2: Math.min(y1, to)});
    },
    message(thing) {
      const {m, y, left} = thing, x0 = x[m.source], fromClients = m.source === CLIENTS;
      const paths = {"": "", lost: "", excused: "", cross: "", "cross excused": ""};
      for (const end of thing.ends) {
        const x1 = x[end.lane], way = Math.sign(x1 - x0), near = x1 - way * 4, far = end.y - y > FAR;
        if (!thing.known) {  // where it came from is in no trace, or in an earlier set's
          paths[""] += fromClients ? arrow(x0, end.y, near, end.y) : arrow(x1 - way * spacing * 0.45, end.y - 9, near, end.y);
        } else if (end.at === LOST || end.at === FAILED_READER) {
          const excused = end.at === FAILED_READER, xe = x1 - way * 16, ye = y + 7;
          paths[excused ? "excused" : "lost"] += line(x0, y, xe, ye);
          paths[excused ? "cross excused" : "cross"] += `M${xe - 4} ${ye - 4}l8 8m0 -8l-8 8`;
        } else if (end.lane === CLIENTS) paths[""] += arrow(x0, y, near, y);
        else if (end.at < 0 || far) paths[""] += arrow(x0, y, x0 + way * spacing * 0.5, y + 10);
        else paths[""] += arrow(x0, y, near, end.y);
        if (far) paths[""] += arrow(x1 - way * spacing * 0.45, end.y - 12, near, end.y);
      }
      const strong = m.kind === "NEW-VIEW" || m.text.includes("no-op") ? " strong" : "";
      const kind = `m ${groupOf[m.kind] || "repair"}${strong}`;
      const g = make("g", {class: kind, id: `m${thing.place}`, role: "option", "aria-selected": "false", "aria-label": spoken(m)});
      g.append(make("path", {d: paths[""] + paths.lost + paths.excused, class: "hit"}));
      for (const [name, d] of Object.entries(paths)) if (d) g.append(make("path", {d, class: name}));
      const label = text(x0 + (left ? -7 : 7), y - 3, thing.text, left && "end");
      return [g, make("g", {class: kind, "aria-hidden": "true"}, label)];
    },
    note({lane, y, text: said, kind: about, quiet, left}) {
      const failed = FAILED.includes(said), word = {leads: "leader", candidate: "candidate"}[said.split(" ")[0]];
      const kind = about.toLowerCase() || (failed ? "failed" : word);
      const g = make("g", {class: `note ${kind}`}, make("circle", {cx: x[lane], cy: y, r: about ? 2.5 : quiet ? 3 : 4.5}));
      if (!quiet) g.append(text(x[lane] + (left ? -9 : 9), y + 4, failed ? `✕ ${said}` : said, left && "end"));
      return g;
    },
    step({y, numbers: [first, ...more]}) {
      const tries = [[first, ...more].join(" "), `${first}…${more.at(-1)}`, `${first}…`];
      const shortest = more.length ? tries.find((t) => t.length < (x[CLIENTS] - GUTTER) / BOLD) ?? tries[2] : first;
      return make("g", {class: "step"}, make("circle", {cx: x[CLIENTS], cy: y, r: 3}), text(x[CLIENTS] - 6, y + 4, shortest));
    },
    band: ({y, text: said, set}) => make("g", {class: set ? "band set" : "band"},
      make("rect", {x: GUTTER, y: y - 10, width: width - GUTTER - 4, height: 20, rx: 4}), text(GUTTER + 8, y + 4, said)),
    pause: ({y, text: said}) => make("g", {class: "pause"}, make("path", {d: `M${GUTTER} ${y}H${width}`}), text(GUTTER + 8, y - 4, said)),
    tick: ({y, text: said}) => text(GUTTER - 14, y + 4, said),
  };

  let svg, gutter, drawn = [1, 0];
  function paint(force = false) {
    const top = view.scrollTop, bottom = top + view.clientHeight, more = view.clientHeight * 0.75;
    if (force || top < drawn[0] || bottom > drawn[1]) drawWindow(Math.max(0, top - more), Math.min(height, bottom + more));
    gutter.setAttribute("transform", `translate(${view.scrollLeft} 0)`);
  }
  function drawWindow(from, to) {
    drawn = [from <= 0 ? -Infinity : from, to >= height ? Infinity : to];
    const found = new Set(), size = Math.max(0, to - from);
    for (let b = Math.max(0, Math.floor(from / BUCKET)); b <= to / BUCKET; b++) {
      for (const thing of buckets[b] || []) found.add(thing);
    }
    svg?.remove();
    svg = make("svg", {width, height: size, viewBox: `0 ${from} ${width} ${size}`});
    svg.style.top = `${from}px`;
    gutter = make("g", {class: "gutter"}, make("rect", {x: 0, y: from, width: GUTTER - 8, height: size}));
    const above = [], labels = [];  // over all arrows
    for (const thing of found) {
      const nodes = [draw[thing.type](thing, [from, to])].flat();
      for (const node of nodes) node.dataset.i = thing.number;
      if (thing.type === "tick") gutter.append(...nodes);
      else if (thing.type === "lane") svg.append(...nodes);
      else { above.push(nodes[0]); labels.push(...nodes.slice(1)); }
    }
    svg.append(...above, ...labels, gutter);
    sheet.append(svg);
    mark();
  }

  // ---- one message ----------------------------------------------------------------------------
  let kept = null;
  const fate = (m, end) => {
    if (end.at >= 0) return m.sent === null ? `read at ${ms(end.at)} ms` : `read at ${ms(end.at)} ms, after ${duration(end.at - m.sent)}`;
    if (end.lane === CLIENTS) return "when it was read is in no trace";
    if (end.at === LOST) return "never read: lost on its way";
    if (end.at !== FAILED_READER) return "whether it was read is in no trace";
    const state = stateOf(m.set, end.lane, m.sent);
    return FAILED.includes(state) ? `never read, ${state}` : "never read, it failed first";
  };
  const origin = (m) => m.sent === null
    ? (m.source === CLIENTS ? "when it was sent is in no trace" : "no trace tells who sent it when: a copy, or the sender's line is missing")
    : m.sent < 0 ? `sent ${duration(-m.sent)} before the set began` : `sent at ${ms(m.sent)} ms`;
  const title = (m) => `${names[m.source]} → ${m.ends.length > 1 && m.ends.length === names.length - 2 ? "all" : m.ends.map((e) => names[e.lane]).join(", ")}`;
  const what = (m) => [m.kind, m.ballot, m.slots && `slots ${m.slots}`].filter(Boolean).join(" · ");
  const fates = (m) => [origin(m), ...m.ends.map((e) => `${names[e.lane]}: ${fate(m, e)}`)];
  const spoken = (m) => `${title(m)}: ${what(m)} ${m.text}; ${fates(m).join("; ")}`;

  function describe(thing) {
    const list = (lines) => make("html:ul", {}, ...lines.map((words) => make("html:li", {}, words)));
    const first = (who, words) => make("html:div", {}, make("html:b", {}, who), words);
    const {type, m} = thing;
    if (type === "message") card.replaceChildren(first(title(m), what(m)), make("html:p", {}, m.text), list(fates(m)));
    else if (type === "note") card.replaceChildren(first(names[thing.lane], thing.text), list([`at ${ms(thing.at)} ms`]));
    else card.replaceChildren(list(thing.lines));
  }
  function show(thing, place) {
    describe(thing);
    card.hidden = false;
    card.classList.toggle("kept", thing === kept);
    const box = card.getBoundingClientRect();
    const left = Math.min(place.x + 16, innerWidth - box.width - 8), below = place.y + 18;
    card.style.left = `${Math.max(8, left)}px`;
    card.style.top = `${Math.max(8, below + box.height > innerHeight - 8 ? place.y - box.height - 14 : below)}px`;
  }
  const hide = () => { card.hidden = true; };
  // What a pointer is on is "hot", what is kept is "on".
  function light(thing, name) {
    svg?.querySelectorAll(`.${name}`).forEach((g) => g.classList.remove(name));
    const nodes = thing && svg ? [...svg.querySelectorAll(`[data-i="${thing.number}"]`)] : [];
    nodes.forEach((g) => g.classList.add(name));
    return nodes;
  }
  function mark() {
    svg?.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
    const [g, label] = light(kept, "on");
    g?.setAttribute("aria-selected", "true");
    if (g) view.setAttribute("aria-activedescendant", g.id); else view.removeAttribute("aria-activedescendant");
    return label;
  }
  function keep(thing, place) {
    kept = thing;
    if (!thing) { mark(); hide(); return; }
    if (!place) {
      const at = thing.y - view.scrollTop, room = view.clientHeight;
      if (at < 40 || at > room - 60) view.scrollTop = thing.y - room * 0.4;
      paint();
    }
    const box = mark()?.getBoundingClientRect();
    show(thing, place || {x: box?.left ?? 0, y: box?.bottom ?? 0});
  }
  const under = (event) => {
    const thing = things[event.target.closest?.("#sheet [data-i]")?.dataset.i];
    return ["message", "note", "step"].includes(thing?.type) ? thing : null;
  };
  let hot = null;
  const leave = () => { if (hot) light(null, "hot"); hot = null; if (kept) describe(kept); else hide(); };
  view.addEventListener("pointermove", (event) => {
    const thing = event.pointerType === "touch" ? null : under(event);
    if (!thing) { leave(); return; }
    if (thing !== hot) light(hot = thing, "hot");
    show(thing, {x: event.clientX, y: event.clientY});
  });
  view.addEventListener("pointerleave", leave);
  view.addEventListener("click", (event) => {
    const thing = under(event), place = {x: event.clientX, y: event.clientY};
    if (thing?.type === "message") keep(thing === kept ? null : thing, place);
    else { keep(null); if (thing) show(thing, place); }
  });
  view.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    let next = null;
    if (step) next = kept ? shown[kept.place + step] : shown.find((thing) => thing.y >= view.scrollTop);
    else if (event.key === "Home") next = shown[0];
    else if (event.key === "End") next = shown.at(-1);
    else if (event.key === "Escape") keep(null);
    else return;
    event.preventDefault();
    if (next) keep(next);
  });

  // ---- choosing ---------------------------------------------------------------------------------
  const many = (count) => count.toLocaleString("en");
  function refresh(scroll = null) {
    const first = scroll === null && shown?.find((thing) => thing.y >= view.scrollTop), above = first && first.y - view.scrollTop;
    keep(null);
    layout();
    const again = first && shown.find((thing) => thing.m === first.m);
    view.scrollTop = scroll ?? (again ? again.y - above : view.scrollTop);
    paint(true);
    const inSets = chosen.set < 0 ? sets : [sets[chosen.set]];
    const all = inSets.reduce((sum, set) => sum + set.messages.length, 0);
    $("count").textContent = `${shown.length === all ? "" : `${many(shown.length)} of `}${many(all)} messages`;
    const dropped = inSets.flatMap((set) =>
      Object.entries(set.dropped).map(([name, count]) => `${many(count)} older lines of ${name} in set ${set.set}`));
    $("dropped").hidden = !dropped.length;
    $("dropped").textContent = `Not kept: ${dropped.join(", ")}. What they tell is missing here.`;
  }
  function toggles(into, items, on, kindOf) {
    const add = (name, attributes, change) => {
      const button = make("html:button", {type: "button", ...attributes}, name);
      button.addEventListener("click", () => {
        change();
        buttons.forEach(([key, b]) => b.setAttribute("aria-pressed", on.has(key)));
        refresh();
      });
      into.append(button);
      return button;
    };
    const buttons = items.map(([key, name]) =>
      [key, add(name, {"aria-pressed": on.has(key), class: kindOf(key)}, () => on.delete(key) || on.add(key))]);
    add("all", {class: "plain"}, () => items.forEach(([key]) => on.add(key)));
    add("none", {class: "plain"}, () => on.clear());
  }
  const which = $("which");
  which.append(...sets.map((set, index) => make("html:option", {value: index}, `${set.set} (${many(set.messages.length)})`)),
    ...(sets.length > 1 ? [make("html:option", {value: -1}, "all")] : []));
  which.addEventListener("change", () => { chosen.set = Number(which.value); refresh(0); });
  let typing = 0;
  $("query").addEventListener("input", (event) => {
    chosen.query = event.target.value.trim();
    clearTimeout(typing);
    typing = setTimeout(() => refresh(0), 120);
  });
  const present = new Set(messages.flat().map((m) => m.kind));
  for (const set of sets) for (const mark of set.marks) if (words[mark[2]]) present.add(words[mark[2]]);
  chosen.kinds = new Set([...kinds.filter((kind) => present.has(kind)), ...present]);
  toggles($("lanes"), [...names.entries()], chosen.lanes, () => "");
  toggles($("kinds"), [...chosen.kinds].map((kind) => [kind, kind]), chosen.kinds, (kind) => groupOf[kind] || "repair");

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("[data-set]");
    if (!link) return;
    event.preventDefault();
    chosen.set = Number(link.dataset.set);
    which.value = chosen.set;
    refresh(0);
    view.scrollTop = placeOf(chosen.set, Number(link.dataset.at)) - 60;
    paint();
    $("messages").scrollIntoView();
    view.focus({preventScroll: true});
  });

  let waiting = false;
  view.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; paint(); });
  }, {passive: true});
  let wide = 0, printing = false;
  new ResizeObserver(() => {
    if (printing) return;
    if (view.clientWidth === wide) paint(true);
    else refresh();
    wide = view.clientWidth;
  }).observe(view);
  addEventListener("beforeprint", () => {  // all of the set, up to some pages
    printing = true;
    drawWindow(-22, Math.min(height, PRINTED));
    x.forEach((at, lane) => svg.append(text(at, -8, names[lane], "middle")));
  });
  addEventListener("afterprint", () => {
    printing = false;
    paint(true);
  });
})();
