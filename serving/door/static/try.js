// The page to try a model: controls made of its description, and what it answers to their values.
// All that comes from the service or the address is put in as text, never as markup. Values are kept
// as the JSON that is sent, so that what is typed, sent and copied has the same digits.
"use strict";

const PAUSE_MS = 150, POINTS = 21, SHOWN = 10, FILTER_FROM = 20;
const $ = (id) => document.getElementById(id);
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

let key = "", needsKey = false, again = start;
let models = [], base = "", info = null, fields = [];
let explains = false, whyNot = "";
let answer = null, pinned = null, focused = null, curve = null;
let asking = null, imagining = null, timer = 0, waiting = 0;

// Elements

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made[name] = value;
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.flat().filter((child) => child != null && child !== false));
  return made;
}
const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const named = (text) => h("bdi", { title: text }, text === "" ? '""' : text);

// Words

function num(x) {
  if (typeof x !== "number") return String(x);
  const size = Math.abs(x);
  if (size >= 1e12 || (size && size < 1e-4)) return x.toExponential(2);
  return String(size >= 1000 ? +x.toFixed(1) : +x.toPrecision(5));
}
const signed = (x) => (x < 0 ? "−" : "+") + num(Math.abs(x));
const pct = (p) =>
  p > 0 && p < 0.0005 ? "< 0.1 %" : p < 1 && p >= 0.9995 ? "> 99.9 %" : `${+(100 * p).toFixed(1)} %`;
const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const keyOf = (label) => (typeof label === "string" ? label : JSON.stringify(label));
const same = (name, label) => name === keyOf(label) || (typeof label === "number" && Number(name) === label);
const binOf = (name) =>
  /^"|^(below|above|missing|rare|unseen)$/.test(name) ? JSON.stringify(name) : name;

// Asking the service

class Refused extends Error {
  constructor(status, problem, headers) {
    super(problem.detail || problem.title || `the service answered ${status}`);
    this.status = status;
    this.slug = String(problem.type).split("/").pop();
    this.errors = problem.errors || [];
    this.after = parseInt(headers.get("retry-after")) || 0;
  }
}

async function call(path, body, signal) {
  const headers = { Accept: "application/json" };
  if (key) headers["X-API-Key"] = key;
  if (body) headers["Content-Type"] = "application/json";
  const got = await fetch(path, { method: body ? "POST" : "GET", headers, body, signal, cache: "no-store" });
  const left = /;r=(\d+)/.exec(got.headers.get("ratelimit"));
  const whole = /;q=(\d+)/.exec(got.headers.get("ratelimit-policy"));
  if (left && whole) $("quota").textContent = `${left[1]} of ${count(+whole[1], "request")} left`;
  const text = await got.text();
  let told = {};
  try { told = JSON.parse(text); } catch { if (got.ok) throw new Error("what answers here is not the service"); }
  if (!got.ok) throw new Refused(got.status, told, got.headers);
  if (key) $("ask").hidden = true;
  return told;
}

// Tells what went wrong, greys what was answered before, and may ask again later.
function failed(error, retry) {
  again = retry;
  $("told").classList.add("stale");
  if (error.status === 401) {
    needsKey = true;
    $("ask").hidden = false;
    return tell(key ? "The service does not know this key." : "The service asks for an API key.");
  }
  if (error.after && (error.status === 429 || error.status === 503)) {
    tell(`${upper(error.message)}. Asking again in ${error.after} s.`);
    waiting = setTimeout(() => { waiting = 0; again(); }, 1000 * error.after);
    return;
  }
  if (error.status === 422 && error.errors.length) {
    const unplaced = mark(error.errors, true);
    return tell([`${count(error.errors.length, "value")} not accepted.`, ...unplaced].join(" "));
  }
  tell(error instanceof Refused ? `${upper(error.message)}. ` : "The service can’t be reached. ",
    h("button", { type: "button", onclick: () => again() }, "Try again"));
}
const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const tell = (...parts) => $("status").replaceChildren(...parts);

// Controls

const isNumber = (spec) => spec.type === "number" || spec.type === "integer";
const rangeOf = (spec) => (isNumber(spec) && spec.trained ? [spec.trained.minimum, spec.trained.maximum] : null);
const namesOf = (spec) => Object.keys((spec.trained && spec.trained.categories) || {});
const choicesOf = (spec) => [...new Set([...namesOf(spec), ...((spec.domain || {}).values || [])])];

function tokenOf(spec, text) {
  const trimmed = text.trim();
  if (!isNumber(spec)) return JSON.stringify(text);
  if (NUMBER.test(trimmed)) return trimmed;
  return trimmed && isFinite(trimmed) ? String(Number(trimmed)) : JSON.stringify(text);
}

// A step that people would choose: 0.01 for a range of 3.6.
const round = (x, [low, high]) => {
  const step = 10 ** Math.floor(Math.log10((high - low) / 200));
  return +(Math.round(x / step) * step).toPrecision(12);
};

function control(spec, at) {
  const { name } = spec, id = `f${at}`, range = rangeOf(spec);
  const field = { spec, name, at, token: "null" };
  const message = h("p", { class: "message", id: `${id}m` });
  const attributes = { id, "aria-describedby": message.id };
  const below = [], parts = [];
  let main, other = null, slider = null, read, write;
  if (spec.type === "boolean") {
    main = h("input", { ...attributes, type: "checkbox", role: "switch" });
    read = () => String(main.checked);
    write = (value) => { main.checked = value === true; };
    parts.push(main);
  } else if (spec.type === "category" && choicesOf(spec).length) {
    const choices = choicesOf(spec), isClosed = spec.domain && spec.domain.values && !spec.domain.rare;
    main = h("select", { ...attributes, class: "wide" }, choices.map((choice) => h("option", {}, choice || '""')),
      isClosed ? null : h("option", {}, "other…"));
    other = h("input", { class: "wide", "aria-label": name, "aria-describedby": message.id, hidden: true });
    read = () => JSON.stringify(main.selectedIndex < choices.length ? choices[main.selectedIndex] : other.value);
    write = (value) => {
      const known = choices.indexOf(value);
      main.selectedIndex = known < 0 && !isClosed ? choices.length : Math.max(known, 0);
      other.value = known < 0 ? String(value) : "";
    };
    below.push(main, other);
  } else {
    const isText = spec.type === "text";
    main = h(isText ? "textarea" : "input", { ...attributes, autocomplete: "off", spellcheck: "false",
      ...(isText ? { rows: 2 } : {}), ...(isNumber(spec) ? { inputmode: "decimal" } : { class: "wide" }) });
    read = () => tokenOf(spec, main.value);
    write = (value) => { main.value = typeof value === "string" ? value : String(value); };
    (isNumber(spec) ? parts : below).push(main);
    if (range && range[0] < range[1]) {
      const [low, high] = range, whole = spec.type === "integer";
      slider = h("input", { type: "range", min: low, max: high, step: whole ? 1 : "any", "aria-label": name });
      slider.addEventListener("input", () => {
        const x = Number(slider.value);
        main.value = String(whole || x === low || x === high ? x : Math.min(high, Math.max(low, round(x, range))));
      });
      const ticks = Object.values(spec.quantiles).map((x) =>
        `linear-gradient(var(--edge) 0 0) ${(100 * (x - low)) / (high - low)}% 0 / 1px 100% no-repeat`);
      below.push(slider, h("div", { class: "ticks", style: `background:${ticks}` }),
        h("div", { class: "ends", "aria-hidden": "true" }, h("span", {}, num(low)), h("span", {}, num(high))));
    }
  }
  const unknown = spec.nullable && h("input", { type: "checkbox" });
  const was = h("p", { class: "was" });
  const label = h("label", { for: id, id: `${id}l` }, named(name));
  const group = h("div", { class: "feature", role: "group", "aria-labelledby": label.id, "data-feature": name },
    h("div", { class: "head" }, label, ...parts), ...below,
    unknown && h("label", { class: "null" }, unknown, "not known"), was, message);
  const settle = () => {
    const isNull = unknown && unknown.checked;
    for (const part of [main, other, slider]) if (part) part.disabled = isNull;
    if (other) other.hidden = main.selectedIndex < choicesOf(spec).length;
    field.token = isNull ? "null" : read();
    if (slider) {
      const x = Number(main.value);
      if (main.value.trim() && Number(slider.value) !== x && isFinite(x)) slider.value = x;
      slider.setAttribute("aria-valuetext", main.value);
    }
  };
  group.addEventListener("input", () => { settle(); focus(field); schedule(); });
  group.addEventListener("focusin", () => focus(field));
  field.set = (value) => {
    if (unknown) unknown.checked = value === null;
    write(value === null ? spec.example : value);
    settle();
  };
  return Object.assign(field, { group, message, main, was });
}

function mark(problems, isMistake) {
  const byName = new Map(fields.map((field) => [field.name, field])), told = new Map(), unplaced = [];
  for (const { pointer, detail } of problems) {
    const name = (pointer.split("/")[2] || "").replace(/~1/g, "/").replace(/~0/g, "~");
    const field = byName.get(name);
    if (field) told.set(field, detail);
    else unplaced.push(`${pointer}: ${detail}.`);
  }
  for (const field of fields) {
    const detail = told.get(field) || "";
    if (field.message.textContent !== detail) field.message.textContent = detail;
    field.group.classList.toggle("bad", isMistake && detail !== "");
    field.main.setAttribute("aria-invalid", isMistake && detail !== "");
  }
  filter();
  return unplaced;
}

function filter() {
  const wanted = $("filter").value.trim().toLowerCase();
  for (const { name, group } of fields)
    group.hidden = !name.toLowerCase().includes(wanted) && !group.classList.contains("bad");
}

// The address, and code

const objectOf = (names = JSON.stringify) => `{${fields.map((f) => `${names(f.name)}: ${f.token}`).join(", ")}}`;

function link() {
  const data = encodeURIComponent(objectOf());
  try { history.replaceState(null, "", `#model=${encodeURIComponent(info.name)}&data=${data}`); } catch { /* too often */ }
}

function linked() {
  const told = new URLSearchParams(location.hash.slice(1));
  let data = null;
  try { data = JSON.parse(told.get("data")); } catch { /* it was cut off */ }
  return { model: told.get("model"), data: data && typeof data === "object" ? data : {} };
}

function codeFor(language) {
  const url = new URL(`${base}predict`, location.href.split("#")[0]).href;
  const shell = (text) => `'${text.replace(/'/g, "'\\''")}'`;
  const lines = (names, values = (token) => token) =>
    fields.map((f) => `    ${names(f.name)}: ${values(f.token)},\n`).join("");
  if (language === "link") return location.href;
  if (language === "curl")
    return `curl -X POST ${shell(url)} \\\n  -H 'Content-Type: application/json' \\\n` +
      (needsKey ? "  -H 'X-API-Key: YOUR_KEY' \\\n" : "") + `  -d ${shell(`{"data": ${objectOf()}}`)}\n`;
  if (language === "Python") {
    const literal = (token) => ({ null: "None", true: "True", false: "False" })[token] || token;
    return `import requests\n\ndata = {\n${lines(JSON.stringify, literal)}}\nanswer = requests.post(\n    ` +
      `${JSON.stringify(url)},\n` + (needsKey ? '    headers={"X-API-Key": "YOUR_KEY"},\n' : "") +
      '    json={"data": data},\n)\nanswer.raise_for_status()\nprint(answer.json())\n';
  }
  const name = (text) => (text === "__proto__" ? '["__proto__"]' : JSON.stringify(text));
  const headers = `"Content-Type": "application/json"${needsKey ? ', "X-API-Key": "YOUR_KEY"' : ""}`;
  return `const data = {\n${lines(name)}};\nconst answer = await fetch(${JSON.stringify(url)}, {\n` +
    `    method: "POST",\n    headers: { ${headers} },\n    body: JSON.stringify({ data }),\n});\n` +
    "console.log(await answer.json());\n";
}

async function copy(language) {
  const code = $("code");
  code.hidden = false;
  code.value = codeFor(language);
  try { await navigator.clipboard.writeText(code.value); } catch {
    code.select();
    document.execCommand("copy"); // where the page is not served by HTTPS there is no clipboard
  }
  $("copied").textContent = "Copied";
}

// Answers, target by target

function views(got) {
  const several = info.targets.length > 1;
  return (several ? info.targets : [info.targets[0] || ""]).map((target, at) => {
    const of = (member) => (several && member ? member[at] : member);
    const label = several ? got.prediction[at] : got.prediction;
    const shares = of(got.probabilities) || null;
    const scores = shares ? null : several ? null : (got.scores ?? got.score ?? null);
    const main = shares && Object.keys(shares).find((name) => same(name, label));
    const predicted = (info.predicted || []).find((each) => each.target === target) || null;
    return { target, several, label, shares, scores, main, predicted };
  });
}

// What of a view is drawn: of another prediction, that of the class that was answered.
function figureOf(view, main) {
  if (view.shares) return view.shares[main];
  if (info.task === "regression") return view.label;
  if (typeof view.scores === "number") return view.scores;
  return view.scores && !Array.isArray(view.scores) ? view.scores[main ?? keyOf(view.label)] : null;
}

function shareOf(predicted, name) {
  if (!predicted) return null;
  const rows = Object.values(predicted.rows).reduce((sum, each) => sum + each, 0);
  const found = Object.entries(predicted.rows).find(([bin]) => bin === binOf(name));
  return found && rows ? found[1] / rows : null;
}

// Where in a track, from 0 to 1, something begins, and how wide it is.
const at = (from, width) => ({ style: `left:${100 * Math.min(1, Math.max(0, from))}%;width:${width ?? ""}` });
const span = (from, to) => at(from, `${100 * Math.max(0, to - from)}%`);

function bar({ name, from = 0, to, zero, seen, text, value, strong, minus, error }) {
  return h("li", { class: strong ? "strong" : null },
    h("span", {}, named(name)),
    h("div", { class: "track", "aria-hidden": "true" },
      h("i", { class: minus ? "minus" : null, ...span(from, to) }),
      error && h("u", span(...error)),
      zero != null && h("b", at(zero, "1px")),
      seen != null && h("b", at(seen))),
    h("data", { value: value ?? text }, text, seen != null && h("span", { class: "said" }, `, ${pct(seen)} in training`)));
}

function more(parts, left) {
  return left > 0 ? [...parts, h("li", { class: "soft" }, `and ${left} more`)] : parts;
}

function told(got) {
  return views(got).map((view) => {
    const share = view.shares && view.shares[view.main];
    const parts = [view.several && h("p", { class: "target" }, named(view.target))];
    const shown = typeof view.label === "number" && info.task !== "clustering" ? num(view.label) : keyOf(view.label);
    parts.push(h("p", { class: "big" }, h("data", { value: keyOf(view.label), title: keyOf(view.label) }, named(shown)),
      share != null && h("small", {}, pct(share))));
    if (view.shares || (view.scores && typeof view.scores === "object")) {
      let all = Object.entries(view.shares || view.scores);
      const ends = view.shares ? [0, 1] : [Math.min(0, ...all.map((e) => e[1])), Math.max(0, ...all.map((e) => e[1]))];
      const place = (x) => (x - ends[0]) / (ends[1] - ends[0] || 1);
      const left = all.length - SHOWN;
      if (left > 0) all = all.sort((a, b) => b[1] - a[1]).slice(0, SHOWN);
      let anySeen = false;
      const bars = all.map(([name, x]) => {
        const seen = view.shares && shareOf(view.predicted, name);
        anySeen ||= seen != null;
        return bar({ name: Array.isArray(view.scores) ? `score ${+name + 1}` : name, from: place(Math.min(0, x)),
          to: place(Math.max(0, x)), zero: view.shares ? null : place(0), seen, value: x,
          text: view.shares ? pct(x) : num(x), strong: same(name, view.label), minus: x < 0 });
      });
      parts.push(h("ol", { class: "bars", "aria-live": "off" }, more(bars, left)));
      parts.push(h("small", {}, view.shares ? anySeen && "The line in a bar: the share in training." : "Scores, not probabilities."));
    } else if (info.task === "regression") parts.push(...among(view));
    else if (typeof view.scores === "number")
      parts.push(h("p", { class: "soft" }, "Score ", h("data", { value: view.scores }, num(view.scores)), ": below zero for outliers."));
    else {
      const seen = shareOf(view.predicted, keyOf(view.label));
      parts.push(h("p", { class: "soft" }, seen == null ? "This model tells no probabilities." : `So are ${pct(seen)} in training.`));
    }
    return h("div", {}, ...parts.filter(Boolean));
  });
}

// A number within what is usual of training.
function among({ label, predicted }) {
  const edges = (predicted && predicted.edges) || [];
  if (edges.length < 2) return [];
  const first = edges[0], last = edges[edges.length - 1], room = (last - first) / 3;
  const place = (x) => (x - first + room) / (last - first + 2 * room);
  return [
    h("div", { class: "track range", "aria-hidden": "true" }, h("i", span(place(first), place(last))),
      edges.map((edge) => h("i", at(place(edge), "1px;opacity:1"))), h("b", at(place(label)))),
    h("small", {}, `Most of training lies between ${num(first)} and ${num(last)}, the middle is ${num(edges[edges.length >> 1])}.`),
  ];
}

function settled(got) {
  answer = { got, tokens: fields.map((field) => field.token) };
  again = ask;
  tell();
  $("told").classList.remove("stale");
  $("told").replaceChildren(...told(got));
  $("pin").disabled = false;
  explain(got, mark(got.warnings || [], false));
  compare();
}

// Why

const OUTPUTS = {
  probability: ["the probability", pct], value: ["the prediction", num], score: ["the score", num],
  "log-odds": ["the log-odds: ln(p / (1 − p)) of the probability p", num],
  "log-ratio": ["the log-ratio: ln p less the mean of ln p of all classes", num],
};

function explain(got, notes) {
  const all = [got.explanation ?? []].flat();
  $("why").hidden = !all.length && !whyNot && !notes.length;
  $("why").replaceChildren(h("h2", {}, "Why"), ...all.flatMap((each) => contributions(each)),
    ...[all.length ? "" : whyNot, ...notes].filter(Boolean).map((note) => h("p", { class: "soft" }, upper(note))));
}

function contributions({ target, of, output, base: from, contributions: each, exact, standard_error: errors }) {
  const tokens = new Map(fields.map((field) => [field.name, field.token]));
  const all = Object.entries(each).sort((a, b) => Math.abs(b[1]) - Math.abs(a[1]));
  const total = all.reduce((sum, [, x]) => sum + x, from), rest = all.slice(SHOWN);
  const shown = all.slice(0, SHOWN).map(([name, x]) => [name, x, (errors && errors[name]) || 0, tokens.get(name)]);
  if (rest.length) shown.push([count(rest.length, "other"), rest.reduce((sum, [, x]) => sum + x, 0), 0]);
  const low = Math.min(0, ...shown.map(([, x, e]) => x - e)), high = Math.max(0, ...shown.map(([, x, e]) => x + e));
  const place = (x) => (x - low) / (high - low || 1);
  const [words, write] = OUTPUTS[output] || [output, num];
  const about = [target, of].filter((name) => name != null && name !== "score" && output !== "value").map(keyOf);
  return [
    h("ol", { class: "bars why" }, shown.map(([name, x, e, token]) => bar({
      name: token == null ? name : `${name} = ${token.startsWith('"') ? JSON.parse(token) : token}`, zero: place(0),
      from: place(Math.min(0, x)), to: place(Math.max(0, x)), minus: x < 0, value: x,
      error: e ? [place(x - e), place(x + e)] : null,
      text: output === "probability" ? `${signed(100 * x).slice(0, 6)} %` : signed(x) }))),
    h("small", {}, `On average ${write(from)}; with all contributions (${signed(total - from)}) ${write(total)}: ${words}`,
      about.length ? " of " : "", ...about.map(named), ".",
      exact ? "" : " Estimated by samples; the thin lines are one standard error to each side."),
  ];
}

// What if

const plottable = (spec) => (isNumber(spec) ? !!rangeOf(spec) : spec.type !== "text" && pointsOf(spec).length > 1);

function pointsOf(spec) {
  const range = rangeOf(spec);
  if (spec.type === "boolean") return ["false", "true", ...(spec.nullable ? ["null"] : [])];
  if (spec.type === "category")
    return [...choicesOf(spec).slice(0, POINTS - 1).map((name) => JSON.stringify(name)), ...(spec.nullable ? ["null"] : [])];
  if (!range) return [];
  if (spec.domain.values) return spec.domain.values.slice(0, POINTS).map(String);
  const steps = spec.type === "integer" ? Math.min(POINTS - 1, range[1] - range[0]) : POINTS - 1;
  const points = Array.from({ length: steps + 1 }, (_, step) => range[0] + ((range[1] - range[0]) * step) / (steps || 1));
  return [...new Set(points.map((x) => String(spec.type === "integer" ? Math.round(x) : x)))];
}

function focus(field) {
  if (focused === field) return;
  if (focused) focused.group.classList.remove("on");
  focused = field;
  field.group.classList.add("on");
  clearTimeout(focus.timer);
  focus.timer = setTimeout(imagine, PAUSE_MS);
}

async function imagine() {
  const field = focused;
  if (!field || !answer || waiting || $("told").classList.contains("stale")) return;
  if (imagining) imagining.abort();
  const figure = $("whatif");
  figure.hidden = false;
  if (!plottable(field.spec)) return whatIf(h("p", { class: "soft" }, "There is no curve over this feature."));
  const tokens = fields.map((each) => (each === field ? "?" : each.token));
  const known = [base, field.at, ...tokens].join();
  if (curve && curve.known === known) return draw();
  const own = (imagining = new AbortController()), points = pointsOf(field.spec);
  figure.lastChild && figure.lastChild.classList.add("stale");
  try {
    const rows = points.map((point) => `[${tokens.map((token, at) => (at === field.at ? point : token))}]`);
    const { predictions } = await call(`${base}predict/batch`, `{"data":[${rows}]}`, own.signal);
    if (own !== imagining || own.signal.aborted) return;
    curve = { known, field, points, predictions };
    draw();
  } catch (error) {
    if (own.signal.aborted) return;
    curve = null;
    whatIf(h("p", { class: "soft" }, `No curve: ${error.message}.`));
    if (error.status === 429 || error.status === 401) failed(error, ask);
  }
}

function whatIf(...parts) {
  $("whatif").replaceChildren(h("h2", {}, "What if ", focused ? named(focused.name) : "", " changes"), h("div", {}, ...parts));
}

function draw() {
  const { field, points, predictions } = curve;
  const charts = views(answer.got).slice(0, 4).map((view, at) => {
    const ys = predictions.map((each) => {
      const other = views(each)[at];
      return figureOf(other, view.main ?? keyOf(view.label)) ?? keyOf(other.label);
    });
    const now = figureOf(view, view.main ?? keyOf(view.label)) ?? keyOf(view.label);
    const of = view.shares ? `Probability of ${keyOf(view.label)}` :
      info.task === "regression" ? `${view.target || "Prediction"}` : typeof now === "number" ? "Score" : "Label";
    return (isNumber(field.spec) && !field.spec.domain.values ? line : columns)(field, points, ys, now, of, !!view.shares);
  });
  whatIf(...charts.flat());
}

function columns(field, points, ys, now, of, isShare) {
  const categories = (field.spec.trained && field.spec.trained.categories) || {};
  const rows = Object.values(categories).reduce((sum, each) => sum + each, 0) + ((field.spec.trained || {}).rare_rows || 0);
  const numbers = ys.filter((y) => typeof y === "number");
  const low = isShare ? 0 : Math.min(0, ...numbers), high = isShare ? 1 : Math.max(0, ...numbers);
  const place = (y) => (typeof y === "number" ? (y - low) / (high - low || 1) : 0);
  const bars = points.map((point, at) => {
    const name = point === "null" ? "not known" : point.startsWith('"') ? JSON.parse(point) : point;
    const seen = Object.entries(categories).find(([category]) => category === name);
    return bar({ name: seen && rows ? `${name} · ${pct(seen[1] / rows)}` : name, from: place(Math.min(0, ys[at])), to: place(Math.max(0, ys[at])),
      text: isShare ? pct(ys[at]) : num(ys[at]), value: ys[at], strong: point === field.token, minus: ys[at] < 0 });
  });
  return [h("small", {}, `${of}, by value; beside each value its share in training.`),
    h("ol", { class: "bars" }, more(bars, choicesOf(field.spec).length - POINTS + 1))];
}

function line(field, points, ys, now, of, isShare) {
  const W = Math.max(260, $("whatif").clientWidth), H = 150, L = 54, B = H + 40;
  const [low, high] = rangeOf(field.spec), labels = ys.every((y) => typeof y === "string") ? [...new Set([...ys, now])] : null;
  const level = (y) => (labels ? labels.length - labels.indexOf(y) : y), all = [...ys, now].map(level);
  let [least, most] = isShare ? [0, 1] : labels ? [0.5, labels.length + 0.5] : [Math.min(...all), Math.max(...all)];
  if (least === most) [least, most] = [least - 1, most + 1];
  const X = (x) => L + ((W - L - 6) * (x - low)) / (high - low || 1);
  const Y = (y) => 8 + ((H - 12) * (most - level(y))) / (most - least);
  const write = isShare ? pct : num, xs = points.map(Number);
  const ticks = labels || [most, (most + least) / 2, least];
  const path = xs.map((x, at) => `${at ? "L" : "M"}${X(x).toFixed(1)} ${Y(ys[at]).toFixed(1)}`).join("");
  const quantiles = Object.entries(field.spec.quantiles).map(([share, x]) => [Number(share), x]).sort((a, b) => a[0] - b[0]);
  const bins = [...quantiles, [1, high]].map(([share, x], at) => {
    const [before, from] = at ? quantiles[at - 1] : [0, low];
    return { from, to: x, dense: (share - before) / Math.max(x - from, (high - low) / 60) };
  });
  const densest = Math.max(...bins.map(({ dense }) => dense));
  const value = Number(field.token), isThere = field.token !== "null" && value >= low && value <= high;
  const said = `${of} over ${field.name}, ${num(low)} to ${num(high)}: from ${write(ys[0])} to ${write(ys[ys.length - 1])}`;
  return [
    svg("svg", { viewBox: `0 0 ${W} ${B + 16}`, role: "img", "aria-label": said },
      ticks.flatMap((y) => [svg("line", { class: "grid", x1: L, x2: W - 6, y1: Y(y), y2: Y(y) }),
        svg("text", { x: L - 6, y: Y(y) + 4, "text-anchor": "end" }, String(write(y)).slice(0, 9))]),
      bins.map(({ from, to, dense }) => {
        const tall = 26 * Math.sqrt(dense / densest);
        return svg("rect", { class: "seen", x: X(from), y: B - tall, width: Math.max(1.5, X(to) - X(from) - 1), height: tall });
      }),
      svg("path", { class: "curve", d: path }),
      isThere && svg("line", { class: "now", x1: X(value), x2: X(value), y1: 8, y2: B }),
      isThere && svg("circle", { cx: X(value), cy: Y(now), r: 4.5 }),
      svg("text", { x: L, y: B + 13 }, num(low)), svg("text", { x: W - 6, y: B + 13, "text-anchor": "end" }, num(high))),
    h("small", {}, `${of}; ${isThere ? "the dot is now" : "now is beyond the curve"}. Below: where training’s rows lie.`),
  ];
}

// Compare

function compare() {
  for (const field of fields) {
    const differs = pinned && pinned.tokens[field.at] !== field.token;
    field.was.textContent = differs ? `pinned: ${pinned.tokens[field.at]}` : "";
  }
  $("pinned").hidden = !pinned;
  if (!pinned) return;
  const changes = fields.filter((field) => field.was.textContent);
  $("pinned").replaceChildren(
    h("div", { class: "row apart" }, h("h2", {}, "Pinned"), h("button", { type: "button", onclick: unpin }, "Unpin")),
    ...told(pinned.got),
    h("p", { class: "soft" }, changes.length ? `Since then ${count(changes.length, "value")} changed: ` : "The same values.",
      changes.slice(0, SHOWN).flatMap((f, n) => [n ? "; " : "", named(f.name), ` ${pinned.tokens[f.at]} → ${f.token}`])));
}

function unpin() {
  pinned = null;
  compare();
  $("pin").focus();
}

// The story: start, choose a model, ask whenever something has changed

function schedule() {
  if (asking) asking.abort();
  clearTimeout(timer);
  timer = setTimeout(ask, PAUSE_MS);
}

async function ask() {
  if (waiting || !info) return;
  if (asking) asking.abort();
  const own = (asking = new AbortController());
  link();
  try {
    const got = await call(`${base}predict${explains ? "?explain=true" : ""}`, `{"data":${objectOf()}}`, own.signal);
    if (own !== asking || own.signal.aborted) return;
    settled(got);
    imagine();
  } catch (error) {
    if (own.signal.aborted) return;
    if (explains && error.slug === "not-explained") {
      [explains, whyNot] = [false, error.message];
      return ask();
    }
    failed(error, ask);
  }
}

async function choose(name, data) {
  const model = models.find((each) => each.name === name) || models[0];
  const path = `models/${encodeURIComponent(model.name)}/`;
  base = model.default ? "" : path;
  info = await call(model.default ? "model/info" : `${path}info`);
  const explained = info.explained || {};
  [explains, whyNot] = [!!explained.method, explained.why_not ? `Not explained: ${explained.why_not}` : ""];
  [pinned, answer, curve, focused] = [null, null, null, null];
  $("model").value = model.name;
  $("card").href = model.default ? "model/card" : `${path}card`;
  $("name").textContent = document.title = info.name;
  $("about").textContent = `${info.task}, version ${info.version}, ${count(info.features.length, "feature")}` +
    (info.training ? `, trained on ${count(info.training.rows, "row")}` : "");
  fields = info.features.map(control);
  $("features").replaceChildren(...fields.map(({ group }) => group));
  $("filter").hidden = fields.length <= FILTER_FROM;
  $("filter").value = "";
  set(data);
  $("told").replaceChildren();
  $("whatif").hidden = true;
  compare();
  focus(fields.find(({ spec }) => plottable(spec)) || fields[0]);
  ask();
}

function set(data) {
  for (const field of fields) {
    const given = Object.hasOwn(data, field.name) ? data[field.name] : field.spec.example;
    field.set(given !== null && typeof given === "object" ? field.spec.example : given);
  }
}

async function start() {
  try {
    ({ models } = await call("models"));
    $("models").hidden = models.length < 2;
    $("model").replaceChildren(...models.map(({ name }) => h("option", { value: name }, name)));
    const { model, data } = linked();
    await choose(model, data);
    if (model && model !== info.name) tell(`There is no model ${model} here: this is ${info.name}.`);
  } catch (error) {
    failed(error, start);
  }
}

$("model").onchange = () => choose($("model").value, {}).catch((error) => failed(error, start));
$("filter").oninput = filter;
$("reset").onclick = () => { set({}); schedule(); };
$("pin").onclick = () => { pinned = answer; compare(); };
$("form").onsubmit = (event) => event.preventDefault();
$("ask").onsubmit = (event) => {
  event.preventDefault();
  if (!/^[\x21-\x7e]+$/.test($("key").value)) return tell("A key has letters, digits and signs of ASCII alone.");
  key = $("key").value;
  $("key").value = "";
  again();
};
for (const button of document.querySelectorAll("[data-code]")) button.onclick = () => copy(button.dataset.code);
addEventListener("hashchange", start);
addEventListener("resize", () => curve && focused === curve.field && draw());
start();
