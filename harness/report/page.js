// The page's behaviour: charts drawn, completions filtered and read. No text of a model is ever
// parsed as HTML here: nodes are made one by one, and texts are text nodes.

const byId = (id) => document.getElementById(id);

const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
};

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(1);

// charts

const views = [];

const drawCharts = async () => {
  const specs = JSON.parse(byId("specs").textContent);
  for (const [id, spec] of Object.entries(specs)) {
    const place = byId(id);
    spec.config.axisY = { labelLimit: Math.round(Math.min(220, place.clientWidth * 0.42)) };
    const { view } = await window.vegaEmbed(place, spec, {
      renderer: "svg",
      actions: false,
      ast: true, // an interpreter in place of eval, which the page's policy forbids
      defaultStyle: false,
      tooltip: { disableDefaultStyle: true },
    });
    views.push([view, place]);
    view.addEventListener("click", (_event, item) => {
      if (item?.datum?.text) readKey(item.datum.text);
    });
  }
  document.documentElement.dataset.drawn = "yes";
};

// completions

const BLANK = "any";
const OUTCOMES = {
  any: ["All", () => true],
  flipped: ["Flipped", (outcome) => outcome === "gained" || outcome === "lost"],
  gained: ["Gained", (outcome) => outcome === "gained"],
  lost: ["Lost", (outcome) => outcome === "lost"],
};

const state = { task: null, candidate: 0, outcome: BLANK, type: BLANK, current: null };
const shown = { changes: true, slop: true, repeated: true };
let runs = [];
let exchanges = [];
let found = [];

const keyOf = (exchange) => `${exchange.task}/${exchange.id}/${exchange.sample}`;
const outcomeOf = (exchange) => exchange.outcomes[state.candidate] ?? null;
const isProse = (exchange) => exchange.instructions.length === 0;

const load = async () => {
  const packed = Uint8Array.from(atob(byId("exchanges").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
};

const fill = (select, choices, chosen) => {
  select.replaceChildren(...choices.map(([value, label]) => make("option", { value, selected: value === chosen }, label)));
  select.value = chosen;
};

const setUp = () => {
  const form = byId("filters");
  const tasks = [...new Set(exchanges.map((exchange) => exchange.task))];
  state.task = tasks[0] ?? null;
  fill(form.elements.task, tasks.map((task) => [task, task]), state.task);
  byId("tasks").hidden = tasks.length < 2;
  fill(form.elements.candidate, runs.slice(1).map((name, index) => [String(index), name]), "0");
  byId("candidates").hidden = runs.length < 3;
  const choices = byId("outcomes").querySelector(".choices");
  choices.replaceChildren(...Object.entries(OUTCOMES).map(([value, [label]]) =>
    make("label", {}, make("input", { type: "radio", name: "outcome", value, checked: value === state.outcome }), make("span", {}, label))));
  byId("outcomes").hidden = runs.length < 2;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", () => {
    const task = form.elements.task.value;
    if (task !== state.task) {
      state.task = task;
      offerTypes(BLANK);
    }
    state.candidate = Number(form.elements.candidate.value || 0);
    state.outcome = form.elements.outcome?.value || BLANK;
    state.type = form.elements.type.value || BLANK;
    filter();
  });
  const list = byId("list");
  list.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) read(Number(item.dataset.index));
  });
  list.addEventListener("keydown", (event) => {
    const page = 10;
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -found.length, End: found.length };
    if (event.key in steps && found.length) {
      event.preventDefault();
      const next = Math.min(found.length - 1, Math.max(0, found.indexOf(state.current) + steps[event.key]));
      read(next);
    }
  });
  offerTypes(BLANK);
  form.hidden = tasks.length === 0;
  byId("reader").hidden = false;
};

const offerTypes = (chosen) => {
  const types = new Set();
  for (const exchange of exchanges) {
    if (exchange.task === state.task) exchange.instructions.forEach(([id]) => types.add(id));
  }
  state.type = chosen;
  const select = byId("filters").elements.type;
  fill(select, [[BLANK, "Any type"], ...[...types].sort().map((id) => [id, id])], chosen);
  byId("types").hidden = types.size === 0;
};

const filter = () => {
  const [, wanted] = OUTCOMES[state.outcome];
  found = exchanges.filter((exchange) =>
    exchange.task === state.task &&
    (state.outcome === BLANK || wanted(outcomeOf(exchange)?.outcome)) &&
    (state.type === BLANK || exchange.instructions.some(([id]) => id === state.type)));
  const weight = (exchange) => exchange.weights[state.candidate] ?? 0;
  found.sort((a, b) => weight(b) - weight(a));
  const all = exchanges.filter((exchange) => exchange.task === state.task).length;
  byId("count").textContent = `${found.length} of ${all} prompts`;
  byId("list").replaceChildren(...found.map(listed));
  const kept = found.indexOf(state.current);
  read(kept >= 0 ? kept : 0);
};

const outcomeSign = (exchange) => {
  const outcome = outcomeOf(exchange);
  if (!outcome) return null;
  const kind = outcome.outcome;
  const sign = kind === "gained" ? "▲ " : kind === "lost" ? "▼ " : "";
  const what = outcome.moved === undefined ? kind : kind === "same" ? "same H" : `H ${signed(outcome.moved)}`;
  const tone = kind === "gained" || kind === "lost" ? kind : "same";
  return make("span", { class: `outcome ${tone}` }, sign + what);
};

const askedLast = (exchange) => exchange.messages[exchange.messages.length - 1][1];

const listed = (exchange, index) =>
  make("li", { role: "option", id: `item-${index}`, "data-index": index, "aria-selected": "false" },
    make("span", { class: "head" }, make("span", { class: "id" }, exchange.id + (exchange.sample ? ` · ${exchange.sample}` : "")), outcomeSign(exchange)),
    make("span", { class: "said" }, askedLast(exchange).slice(0, 120)));

const read = (index) => {
  const list = byId("list");
  list.querySelector('[aria-selected="true"]')?.setAttribute("aria-selected", "false");
  state.current = found[index] ?? null;
  if (!state.current) {
    list.removeAttribute("aria-activedescendant");
    byId("pair").replaceChildren(make("p", { class: "none" }, "No prompt is left; widen the filter."));
    return;
  }
  const item = list.children[index];
  item.setAttribute("aria-selected", "true");
  list.setAttribute("aria-activedescendant", item.id);
  if (item.offsetTop < list.scrollTop) list.scrollTop = item.offsetTop;
  const below = item.offsetTop + item.offsetHeight - list.clientHeight;
  if (below > list.scrollTop) list.scrollTop = below;
  byId("pair").replaceChildren(...pair(state.current, index));
};

const readKey = (key) => {
  const wanted = exchanges.find((exchange) => keyOf(exchange) === key);
  if (!wanted) return;
  const form = byId("filters");
  Object.assign(state, { task: wanted.task, outcome: BLANK, current: wanted });
  form.elements.task.value = wanted.task;
  form.querySelector(`input[name="outcome"][value="${BLANK}"]`).checked = true;
  offerTypes(BLANK);
  filter();
  byId("completions").scrollIntoView();
  byId("list").focus({ preventScroll: true });
};

// one exchange

const pair = (exchange, index) => {
  const outcome = outcomeOf(exchange);
  const step = (label, to) => {
    const button = make("button", { type: "button", disabled: to < 0 || to >= found.length }, label);
    button.addEventListener("click", () => {
      read(to);
      const again = [...byId("pair").querySelectorAll("button")].find((other) => other.textContent === label);
      (again && !again.disabled ? again : byId("list")).focus({ preventScroll: true });
    });
    return button;
  };
  const sides = [0, ...(runs.length > 1 ? [state.candidate + 1] : [])];
  const changes = exchange.changes[state.candidate] ?? null;
  return [
    make("div", { class: "bar" },
      make("h3", {}, `${exchange.task} ${exchange.id}${exchange.sample ? `, answer ${exchange.sample + 1}` : ""} `, outcomeSign(exchange)),
      make("div", { class: "steps" }, step("Previous", index - 1), step("Next", index + 1))),
    outcome?.parts ? make("p", { class: "why" }, why(outcome)) : null,
    ...exchange.messages.map(([role, content], at) => make("div", { class: "turn" },
      make("p", {}, role === "user" ? (at === exchange.messages.length - 1 ? "Prompt" : "User") : role === "system" ? "System" : "Assistant"),
      make("div", {}, content))),
    exchange.instructions.length ? verdicts(exchange, sides) : null,
    toggles(exchange, changes),
    answers(exchange, sides, changes),
  ].filter((node) => node !== null);
};

const why = (outcome) => {
  const parts = Object.entries(outcome.parts).map(([name, points]) => `${name.replace("_", " ")} ${signed(points)}`);
  return parts.length ? `H moved by ${signed(outcome.moved)}: ${parts.join(", ")}` : "H did not move";
};

const verdicts = (exchange, sides) => {
  const cell = (answer, at) => {
    if (!answer) return make("td", {}, "–");
    if (answer.strict[at]) return make("td", {}, "followed");
    return make("td", { class: "flag" }, "failed", answer.loose[at] ? make("small", {}, " passes loosely") : null);
  };
  return make("div", { class: "scroll verdicts", tabindex: "0", role: "group", "aria-label": "Instructions" },
    make("table", {},
      make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "Instruction"), ...sides.map((side) => make("th", { scope: "col" }, runs[side])))),
      make("tbody", {}, ...exchange.instructions.map(([id, given], at) =>
        make("tr", {}, make("th", { scope: "row" }, id, given ? make("small", {}, given) : null), ...sides.map((side) => cell(exchange.answers[side], at)))))));
};

const toggles = (exchange, changes) => {
  const box = (name, label) => {
    const input = make("input", { type: "checkbox", checked: shown[name] });
    input.addEventListener("change", () => {
      shown[name] = input.checked;
      byId("pair").querySelector(".sides").classList.toggle(`show-${name}`, input.checked);
    });
    return make("label", { class: `show-${name}` }, input, label);
  };
  const sample = (tag, name, text) => make(tag, { class: name }, text);
  const compared = runs.length > 1 && exchange.answers[state.candidate + 1];
  return make("div", { class: "toggles", role: "group", "aria-label": "Marks in the texts" },
    compared && changes ? box("changes", sample("ins", null, "Differences")) : null,
    box("slop", sample("span", "slop", "Slop")),
    box("repeated", sample("span", "repeated", "Repetition")),
    compared && !changes ? make("span", { class: "hint" }, "Different texts: differences are not marked.") : null);
};

const answers = (exchange, sides, changes) => {
  const active = Object.keys(shown).filter((name) => shown[name]).map((name) => `show-${name}`);
  return make("div", { class: ["sides", sides.length < 2 ? "alone" : "", ...active].join(" ") },
    ...sides.map((side) => {
      const answer = exchange.answers[side];
      const spans = changes ? (side === 0 ? changes.baseline : changes.candidate) : [];
      return make("div", { class: "side", role: "group", "aria-label": runs[side] },
        make("h4", {}, runs[side]),
        answer ? make("p", { class: "rates" }, ...facts(answer)) : null,
        answer ? body(answer, spans, side === 0 ? "del" : "ins") : make("p", { class: "none" }, "This run has no answer to it."));
    }));
};

const facts = (answer) => {
  const said = [];
  if (answer.rates) {
    const { H, slop, rep3g, word_count: words } = answer.rates;
    said.push(`H ${H.toFixed(1)}`);
    if (slop !== null) said.push(`slop ${slop.toFixed(1)}`);
    if (rep3g !== null) said.push(`repetition ${rep3g.toFixed(1)} %`);
    said.push(`${words} words`);
  } else {
    said.push(`${answer.tokens} tokens`);
  }
  const nodes = [said.join(" · ")];
  if (answer.stop === "length" || answer.stop === "context") nodes.push(" · ", make("span", { class: "flag" }, "cut off"));
  if (answer.unclosed) nodes.push(" · ", make("span", { class: "flag" }, "thought not closed"));
  else if (answer.thought) nodes.push(" · thought left out");
  return nodes;
};

const body = (answer, changed, changeTag) => {
  const characters = Array.from(answer.text); // spans count code points
  if (!answer.text.trim()) return make("p", { class: "none" }, "An empty answer.");
  const layers = [
    [changed, (children) => make(changeTag, {}, ...children)],
    [answer.slop, (children) => make("span", { class: "slop" }, ...children)],
    [answer.repeated, (children) => make("span", { class: "repeated" }, ...children)],
  ];
  const edges = [...new Set([0, characters.length, ...changed, ...answer.slop, ...answer.repeated])].sort((a, b) => a - b);
  const cursors = layers.map(() => 0);
  const nodes = [];
  for (let i = 0; i + 1 < edges.length; i += 1) {
    const [start, end] = [edges[i], edges[i + 1]];
    let node = document.createTextNode(characters.slice(start, end).join(""));
    layers.forEach(([spans, wrap], layer) => {
      while (cursors[layer] < spans.length && spans[cursors[layer] + 1] <= start) cursors[layer] += 2;
      if (cursors[layer] < spans.length && spans[cursors[layer]] <= start) node = wrap([node]);
    });
    nodes.push(node);
  }
  return make("div", { class: "answer" }, ...nodes);
};

// paper: what is folded is unfolded, and charts are drawn as wide as a page, so that their
// letters keep their size

const PAPER_WIDE = 660;
const PAPER_NARROW = 315;

addEventListener("beforeprint", () => {
  document.querySelectorAll("details.folded:not([open])").forEach((details) => {
    details.open = true;
    details.dataset.folded = "yes";
  });
  for (const [view, place] of views) {
    view.signal("width", place.closest(".wide") ? PAPER_WIDE : PAPER_NARROW).run();
  }
});

addEventListener("afterprint", () => {
  document.querySelectorAll("details[data-folded]").forEach((details) => {
    details.open = false;
    delete details.dataset.folded;
  });
  for (const [view, place] of views) view.signal("width", place.clientWidth).run();
});

({ runs, exchanges } = await load());
setUp();
filter();
await drawCharts();
