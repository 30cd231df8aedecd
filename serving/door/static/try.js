// The page to try a model. What comes from the service or the address is put in as text, never as
// markup. A value is kept as the JSON that is sent, so that all has the digits that were typed.

const PAUSE_MS = 150, POINTS = 21, SHOWN = 10, FILTER_FROM = 20;
const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const { abs, max, min } = Math;
const $ = (id) => document.getElementById(id);
const fill = (id, ...parts) => $(id).replaceChildren(...parts);
const json = JSON.stringify;

let models, info, base, fields = [], explains;
let key, again, waiting, timer, choosing, asking, imagining;
let answer, pinned, focused, curve;

// An element: h("p.soft", {id: "a"}, "text", child).
function h(what, ...parts) {
	const [tag, name] = what.split("."), space = /^(svg|path|line|circle|text)$/.test(tag) ? "2000/svg" : "1999/xhtml";
	const made = document.createElementNS(`http://www.w3.org/${space}`, tag);
	if (name) made.setAttribute("class", name);
	for (const part of parts.flat(3)) {
		if (part instanceof Node || typeof part === "string") made.append(part);
		else for (const [name, value] of Object.entries(part || {}))
			typeof value === "function" ? (made[name] = value) : made.setAttribute(name, value);
	}
	return made;
}
const bdi = (text) => h("bdi", { title: text }, text || '""');
const button = (text, onclick) => h("button", { onclick }, text);

// Words

function num(x) {
	const size = abs(x);
	if (!size || typeof x === "string") return String(x);
	return size >= 1e12 || size < 1e-4 ? x.toExponential(2) : String(+(size < 1000 ? x.toPrecision(5) : x.toFixed(1)));
}
const pct = (p) => (p > 0 && p < 5e-4 ? "< 0.1 %" : p < 1 && p >= 0.9995 ? "> 99.9 %" : `${(100 * p).toFixed(1)} %`);
const keyOf = (label) => (typeof label === "string" ? label : json(label));
const plain = (token) => (token === "null" ? "not known" : token.startsWith('"') ? JSON.parse(token) : token);
const sum = (xs) => xs.reduce((a, b) => a + b, 0);

// Asking the service

async function call(path, body, signal) {
	const headers = key ? { "X-API-Key": key } : {};
	if (body) headers["Content-Type"] = "application/json";
	const got = await fetch(path, { method: body ? "POST" : "GET", headers, body, signal });
	const of = (name, part) => part.exec(got.headers.get(name))?.[1];
	const left = of("ratelimit", /;r=(\d+)/);
	if (left) $("quota").textContent = `${left} of ${of("ratelimit-policy", /;q=(\d+)/)} requests left`;
	const told = await got.json().catch(() => null); // cut off, or of a proxy
	if (got.ok && told) return told;
	throw { detail: `status ${got.status}`, ...told, status: got.status, after: of("retry-after", /^(\d+)$/) };
}

const tell = (...parts) => fill("status", ...parts);

function failed(error, retry) {
	const { status, detail, after, errors } = error;
	again = retry;
	$("told").className = "stale";
	$("ask").hidden = status !== 401;
	if (status === 401) tell(key ? "Unknown API key." : "The service asks for an API key.");
	else if (after) {
		tell(`Not answered: ${detail}. Asking again in ${after} s.`);
		waiting ??= setTimeout(() => { waiting = null; again(); }, 1000 * after);
	} else if (errors) tell(`Not accepted: ${errors.length}.`, ...mark(errors, true));
	else tell(status ? `Not answered: ${detail}. ` : "The service can’t be reached. ", button("Try again", retry));
}

// Controls

// What is no number goes out as text; the service says what is wrong.
const numeral = (text) => (NUMBER.test(text) ? text : text && isFinite(text) ? String(+text) : json(text));

function control(spec, at) {
	const { name, type, nullable, trained, domain } = spec, { minimum: low, maximum: high } = trained ?? {};
	const isNumber = /number|integer/.test(type), isWhole = type === "integer", isSwitch = type === "boolean";
	const span = high - low, isRange = span > 1e-300 && span < Infinity;
	const choices = [...new Set([...Object.keys(trained?.categories ?? {}), ...(domain?.values ?? [])])];
	const isChoice = type === "category" && choices.length > 0, isCurve = isRange && !domain.values;
	// The values of the curve, as JSON.
	const steps = min(POINTS - 1, isWhole ? span : POINTS), step = (at) => low + (span * at) / steps;
	const points = isCurve ? Array.from({ length: steps + 1 }, (_, at) => json(isWhole ? Math.round(step(at)) : step(at)))
		: isSwitch ? ["false", "true"] : choices.slice(0, POINTS - 1).map(json);
	if (nullable && !isCurve) points.push("null");

	const message = h("p.message", { id: `m${at}` }), was = h("p.was");
	const own = { id: `f${at}`, "aria-describedby": message.id, autocomplete: "off" };
	const main = isSwitch ? h("input", own, { type: "checkbox", role: "switch" })
		: isNumber ? h("input.number", own, { inputmode: "decimal" })
		: !isChoice ? h(type === "text" ? "textarea" : "input", own)
		: h("select", own, choices.map((choice) => h("option", choice || '""')), (!domain?.values || domain.rare) && h("option", "other…"));
	const other = isChoice && h("input", { "aria-label": name, "aria-describedby": message.id });
	const unknown = nullable && h("input", { type: "checkbox" });
	let slider, scale;
	if (isRange) {
		// Short numbers, but exact ends.
		const digit = 10 ** Math.floor(Math.log10(span / 200));
		const typed = (x) => (isWhole || x === low || x === high ? x : +(Math.round(x / digit) * digit).toPrecision(12));
		slider = h("input", { type: "range", min: low, max: high, step: isWhole ? 1 : "any", "aria-label": name,
			oninput: () => { main.value = typed(+slider.value); } });
		const ticks = Object.values(spec.quantiles).map((x) =>
			`linear-gradient(var(--edge) 0 0) ${(100 * (x - low)) / span}% 0/1px 100% no-repeat`);
		scale = [h("div.ticks", { style: `background:${ticks}` }), h("div.ends", h("span", num(low)), h("span", num(high)))];
	}
	const field = { name, at, spec, isCurve, points, main, message, was };
	const settle = () => {
		for (const part of [main, other, slider]) if (part) part.disabled = unknown?.checked;
		if (other) other.hidden = main.selectedIndex in choices;
		if (slider && document.activeElement !== slider) slider.value = main.value;
		field.token = unknown?.checked ? "null" : isSwitch ? json(main.checked) : isNumber ? numeral(main.value.trim())
			: json(isChoice ? choices[main.selectedIndex] ?? other.value : main.value);
	};
	field.set = (value) => {
		if (unknown) unknown.checked = value === null;
		value ??= spec.example;
		const known = choices.indexOf(value);
		if (isSwitch) main.checked = value === true;
		else if (isChoice) [main.selectedIndex, other.value] = known < 0 ? [choices.length, value] : [known, ""];
		else main.value = value;
		if (slider) slider.value = value;
		settle();
	};
	field.group = h("div.feature", { role: "group", "aria-label": name, "data-feature": name },
		{ oninput: () => { settle(); focus(field); schedule(); } },
		h("label", { for: own.id }, bdi(name)), main, other, slider, scale, unknown && h("label.null", unknown, "not known"), was, message);
	field.group.addEventListener("focusin", () => focus(field));
	return field;
}

// Tells at its control what is said of each value, and gives what is said of none.
function mark(problems, areMistakes) {
	const told = new Map(problems.map(({ pointer, detail }) => [pointer, detail]));
	for (const { name, group, main, message } of fields) {
		const pointer = `/data/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`, isBad = areMistakes && told.has(pointer);
		message.textContent = told.get(pointer) ?? "";
		group.classList.toggle("bad", isBad);
		main.setAttribute("aria-invalid", isBad);
		told.delete(pointer);
	}
	filter();
	return [...told.values()].map((detail) => ` ${detail}.`);
}

function filter() {
	const wanted = $("filter").value.trim().toLowerCase();
	for (const { name, group } of fields) group.hidden = !name.toLowerCase().includes(wanted) && !group.matches(".bad");
}

// The address, and code

const address = () => new URL(`#${new URLSearchParams({ model: info.name, data: written() })}`, location).href;
const written = (name = json, value = String) =>
	`{${fields.map((field) => `${name(field.name)}: ${value(field.token)}`).join(", ")}}`;

function codeFor(language) {
	const url = new URL(`${base}predict`, location).href, shell = (text) => `'${text.replace(/'/g, "'\\''")}'`;
	const given = (text) => (key ? text : "");
	if (/curl/.test(language))
		return `curl -X POST ${shell(url)} -H 'Content-Type: application/json'${given(" -H 'X-API-Key: YOUR_KEY'")} \\
  -d ${shell(`{"data": ${written()}}`)}\n`;
	if (/Python/.test(language)) {
		const data = written(json, (token) => ({ null: "None", true: "True", false: "False" })[token] ?? token);
		return `import requests

data = ${data}
answer = requests.post("${url}", json={"data": data}${given(', headers={"X-API-Key": "YOUR_KEY"}')})
print(answer.json())\n`;
	}
	if (/link/.test(language)) return address();
	return `const data = ${written((name) => (name === "__proto__" ? '["__proto__"]' : json(name)))};
const headers = { "Content-Type": "application/json"${given(', "X-API-Key": "YOUR_KEY"')} };
const answer = await fetch("${url}", { method: "POST", headers, body: JSON.stringify({ data }) });
console.log(await answer.json());\n`;
}

async function copy(language) {
	$("code").hidden = false;
	$("code").value = codeFor(language);
	try { await navigator.clipboard.writeText($("code").value); } catch {
		$("code").select(); // without HTTPS there is no clipboard
		document.execCommand("copy");
	}
	$("copied").textContent = "Copied";
}

// Answers

// Of each target: label or number, shares or scores of classes, and what of training is known.
function views(got) {
	const several = info.targets.length > 1;
	return (several ? info.targets : [info.targets[0] ?? ""]).map((target, at) => {
		const of = (member) => (several && member ? member[at] : member);
		const label = of(got.prediction), shares = of(got.probabilities);
		const each = shares ?? got.scores;
		const name = Object.keys(each ?? {}).find((name) => name === keyOf(label) || +name === label);
		return { target, several, label, each, name, shares, score: got.score, predicted: info.predicted?.find((one) => one.target === target) };
	});
}

// What is drawn: the number of a class, the only number, or the label.
const drawn = ({ each, score, label }, name) => each?.[name] ?? score ?? (info.task === "regression" ? label : keyOf(label));

function shareOf(predicted, name) {
	const bin = /^("|(below|above|missing|rare|unseen)$)/.test(name) ? json(name) : name;
	const rows = predicted?.rows ?? {};
	return Object.hasOwn(rows, bin) ? rows[bin] / sum(Object.values(rows)) : null;
}

function bars(rows, write, ends, rest = 0) {
	const xs = rows.flatMap(({ x, error = 0 }) => (typeof x === "number" ? [x - error, x + error] : []));
	const [low, high] = ends ?? [min(0, ...xs), max(0, ...xs)];
	const place = (x) => (100 * (x - low)) / (high - low || 1);
	const box = (tag, from, to) => h(tag, { style: `left:${place(from)}%;${from < to ? `width:${place(to) - place(from)}%` : ""}` });
	return h("ol.bars", { "aria-live": "off" }, rows.map(({ name, x, seen, strong, error }) => h(strong ? "li.strong" : "li", h("span", bdi(name)),
		h("div.track", typeof x === "number" && [
			box(x < 0 ? "i.minus" : "i", min(0, x), max(0, x)), low < 0 && box("s", 0, 0),
			error && box("u", x - error, x + error), seen != null && box("b", seen, seen)]),
		h("data", { value: x }, write(x), seen != null && h("span.said", `, ${pct(seen)} of answers in training`)))),
	rest > 0 && h("li.soft", `and ${rest} more`));
}

const told = (got) => views(got).map(({ target, several, label, each, name, shares, score, predicted }) => {
	let rows = Object.entries(each ?? {}).map(([own, x]) => ({ name: own, x, strong: own === name, seen: shares && shareOf(predicted, own) }));
	const rest = rows.length - SHOWN, isNumber = info.task === "regression";
	if (rest > 0) rows = rows.sort((a, b) => b.x - a.x).slice(0, SHOWN);
	return h("div", several && h("p.soft", bdi(target)),
		h("p.big", h("data", { value: keyOf(label) }, bdi(isNumber ? num(label) : keyOf(label))), shares && name && h("small", pct(each[name]))),
		isNumber ? among(label, predicted?.edges ?? [])
		: each ? [bars(rows, shares ? pct : num, shares && [0, 1], rest),
			h("small", !shares ? "Scores, not probabilities." : predicted ? "Line in a bar: share of answers in training." : "")]
		: h("small", score != null ? ["Score ", h("data", { value: score }, num(score)), ": below zero for outliers."]
			: predicted ? `So are ${pct(shareOf(predicted, keyOf(label)) ?? 0)} of answers in training.` : ""));
});

// A number within what is usual of training.
function among(x, edges) {
	const first = edges[0], last = edges.at(-1), at = min(100, max(0, 20 + (60 * (x - first)) / (last - first)));
	return edges.length > 1 && [h("div.track", h("i", { style: "left:20%;width:60%" }), h("b", { style: `left:${at}%` })),
		h("small", `Most answers in training: ${num(first)} to ${num(last)}, median ${num(edges[edges.length >> 1])}.`)];
}

function settled(got) {
	answer = { got, tokens: fields.map(({ token }) => token) };
	again = ask;
	tell(...got.model.version === info.version ? [] : [`Version ${got.model.version} answers now. `, button("Show it", start)]);
	$("told").className = "";
	$("ask").hidden = true;
	fill("told", ...told(got));
	$("pin").disabled = false;
	explain([got.explanation ?? []].flat(), mark(got.warnings ?? [], false));
	compare();
}

// Why

const OUTPUTS = {
	value: "prediction", "log-odds": "log-odds (ln p − ln(1 − p))",
	"log-ratio": "log-ratio (ln p less its mean over the classes)",
};

function explain(all, notes) {
	if (!all.length && explains !== true) notes.push(`Not explained: ${explains}.`);
	$("why").hidden = !all.length && !notes.length;
	fill("why", h("h2", "Why"), ...all.flatMap(contributions), ...notes.map((note) => h("p.soft", note)));
}

function contributions({ target, of, output, base, contributions, exact, standard_error: errors }) {
	const values = new Map(fields.map(({ name, token }) => [name, plain(token).slice(0, 50)]));
	const all = Object.entries(contributions).map(([name, x]) => ({ name: `${name} = ${values.get(name)}`, x, error: errors?.[name] }));
	const rows = all.sort((a, b) => abs(b.x) - abs(a.x)).splice(0, SHOWN), total = sum([...rows, ...all].map(({ x }) => x));
	if (all.length) rows.push({ name: `${all.length} more`, x: sum(all.map(({ x }) => x)) });
	const digits = max(0, 2 - Math.floor(Math.log10(abs(rows[0].x) || 1)));
	const isShare = output === "probability", full = (x) => amount(x) + (isShare ? " %" : "");
	const amount = (x) => (isShare ? (100 * x).toFixed(1) : digits > 6 ? x.toExponential(1) : x.toFixed(digits));
	const signed = (x) => (x < 0 ? "−" : "+") + amount(abs(x));
	return [bars(rows, signed), h("small", `On average ${full(base)}; all contributions, ${signed(total)}${isShare ? " points" : ""}, make it ${full(base + total)}: the ${OUTPUTS[output] ?? output}`,
		output === "value" || of === "score" ? "" : [" of ", bdi(keyOf(of))], target && [" (", bdi(target), ")"], ".",
		exact ? "" : " Estimated; thin lines: ± one standard error.")];
}

// What if

function focus(field) {
	if (focused === field) return;
	focused = field;
	clearTimeout(imagine.timer);
	imagine.timer = setTimeout(imagine, PAUSE_MS);
}

function whatIf(...parts) {
	$("whatif").hidden = false;
	fill("whatif", h("h2", "What if ", bdi(focused.name), " changes"), h("div", parts));
}

// Asks for the curve over the feature in focus, unless its own value alone has changed.
async function imagine() {
	const field = focused, { points, at } = field, own = new AbortController();
	clearTimeout(imagine.timer);
	if (!answer || waiting || $("told").className) return;
	const row = (point) => `[${fields.map(({ token }, own) => (own === at ? point : token))}]`;
	own.known = base + at + row("");
	if (own.known === imagining?.known) return curve && draw();
	imagining?.abort();
	imagining = own;
	curve = null;
	if (points.length < 2) return whatIf(h("small", "No curve over this feature."));
	$("whatif").lastChild?.classList.add("stale");
	try {
		const { predictions } = await call(`${base}predict/batch`, `{"data":[${points.map(row)}]}`, own.signal);
		if (own.signal.aborted) return;
		curve = { field, predictions };
		draw();
	} catch (error) {
		if (own.signal.aborted) return;
		imagining = null;
		whatIf(h("small", `No curve: ${error.detail ?? "the service can’t be reached"}.`));
		if (error.after || error.status === 401) failed(error, ask);
	}
}

function draw() {
	const { field, predictions } = curve;
	whatIf(views(answer.got).slice(0, 4).map((view, at) => {
		const ys = predictions.map((each) => drawn(views(each)[at], view.name)), now = drawn(view, view.name);
		const of = view.each ? `${view.shares ? "Probability" : "Score"} of ${view.name}` : view.target || (view.score == null ? "Answer" : "Score");
		return (field.isCurve && typeof now === "number" ? line : columns)(field, ys, now, of, view.shares && [0, 1]);
	}));
}

function columns({ spec: { trained }, token, points, isCurve }, ys, now, of, ends) {
	const counts = Object.entries(trained?.categories ?? {}), rows = sum(counts.map((each) => each[1])) + (trained?.rare_rows ?? 0);
	const each = points.map((point, at) => {
		const seen = counts.find(([name]) => name === plain(point));
		return { name: (isCurve ? num(+point) : plain(point)) + (seen ? ` · ${pct(seen[1] / rows)}` : ""), x: ys[at], strong: point === token };
	});
	return [bars(each, ends ? pct : num, ends, counts.length - POINTS + 1), h("small", `${of}${counts.length ? "; beside each value its share in training" : ""}.`)];
}

function line({ name, spec: { trained, quantiles }, token, points }, ys, now, of, ends) {
	const { minimum: low, maximum: high } = trained, x = +token, isThere = token !== "null" && x >= low && x <= high;
	const W = $("told").clientWidth, H = 150, L = 60, R = W - 6, B = H + 40, write = ends ? pct : num;
	let [least, most] = ends ?? [min(now, ...ys), max(now, ...ys)];
	if (least === most) [least, most] = [least - 1, most + 1];
	const X = (x) => L + ((R - L) * (x - low)) / (high - low), Y = (y) => 8 + ((H - 12) * (most - y)) / (most - least);
	const edges = [[0, low], ...Object.entries(quantiles).sort((a, b) => a[0] - b[0]), [1, high]];
	// As many rows everywhere would be 10 high.
	const rows = edges.slice(1).map(([share, to], at) => {
		const [before, from] = edges[at], tall = min(30, 10 * Math.sqrt(((share - before) * (high - low)) / (to - from)));
		return `M${X(from)} ${B}v${-tall}H${max(X(from) + 1.5, X(to) - 1)}V${B}`;
	});
	const put = (x, y, text, anchor = "end") => h("text", { x, y, "text-anchor": anchor }, text);
	return [h("svg", { viewBox: `0 0 ${W} ${B + 16}`, role: "img",
		"aria-label": `${of} over ${name}, ${num(low)} to ${num(high)}: from ${write(ys[0])} to ${write(ys.at(-1))}` },
	[most, (most + least) / 2, least].map((y) =>
		[h("line.grid", { x1: L, x2: R, y1: Y(y), y2: Y(y) }), put(L - 6, Y(y) + 4, write(y))]),
	h("path.seen", { d: rows.join("") }),
	h("path.curve", { d: points.map((x, at) => `${at ? "L" : "M"}${X(x)} ${Y(ys[at])}`).join("") }),
	isThere && [h("line.now", { x1: X(x), x2: X(x), y1: 8, y2: B }), h("circle", { cx: X(x), cy: Y(now), r: 4.5 })],
	put(L, B + 13, num(low), "start"), put(R, B + 13, num(high))),
	h("small", `${of}${isThere ? "; the dot is now" : ""}. Below: where training’s rows lie.`)];
}

// Compare

function compare() {
	const then = pinned?.tokens ?? fields.map(({ token }) => token);
	for (const { at, token, was } of fields) was.textContent = then[at] === token ? "" : `pinned: ${plain(then[at])}`;
	$("pinned").hidden = !pinned;
	if (pinned) fill("pinned", h("div.row apart", h("h2", "Pinned"), button("Unpin", () => pin(null))), ...told(pinned.got),
		...fields.filter(({ was }) => was.textContent).slice(0, SHOWN).map(({ name, token, was }) => h("small", bdi(name), `, ${was.textContent}, now: ${plain(token)}`)));
}

function pin(what) {
	pinned = what;
	compare();
	$("pin").focus();
}

// Start, choose a model, ask whenever something has changed

function schedule() {
	asking?.abort();
	$("told").className = "stale";
	clearTimeout(timer);
	timer = setTimeout(ask, PAUSE_MS);
}

async function ask() {
	if (waiting) return;
	asking?.abort();
	const own = (asking = new AbortController());
	try { history.replaceState(null, "", address()); } catch { /* too often */ }
	try {
		const got = await call(`${base}predict${explains === true ? "?explain=true" : ""}`, `{"data": ${written()}}`, own.signal);
		if (own.signal.aborted) return;
		settled(got);
		imagine();
	} catch (error) {
		if (own.signal.aborted) return;
		if (!/not-explained$/.test(error.type)) return failed(error, ask);
		explains = error.detail;
		ask();
	}
}

function set(data) {
	for (const { name, spec, set } of fields) set(Object.hasOwn(data, name) ? data[name] : spec.example);
}

async function choose(name, data) {
	const model = models.find((each) => each.name === name) ?? models[0], path = model.default ? "model/" : `models/${encodeURIComponent(model.name)}/`;
	const own = (choosing = {}), told = await call(`${path}info`);
	if (own !== choosing) return; // another was chosen meanwhile
	asking?.abort();
	imagining?.abort();
	info = told;
	base = model.default ? "" : path;
	explains = info.explained.why_not ?? true;
	pinned = answer = imagining = focused = null;
	$("model").value = model.name;
	$("card").href = `${path}card`;
	$("name").textContent = document.title = info.name;
	$("about").textContent = `${info.task} · version ${info.version}`;
	fields = info.features.map(control);
	fill("features", ...fields.map(({ group }) => group));
	$("filter").hidden = fields.length <= FILTER_FROM;
	$("filter").value = "";
	fill("told");
	$("whatif").hidden = true;
	set(data);
	compare();
	focus(fields.find(({ points }) => points.length > 1) ?? fields[0]);
	await ask();
}

async function start() {
	const linked = new URLSearchParams(location.hash.slice(1)), name = linked.get("model");
	let data, lost = "";
	try { data = JSON.parse(linked.get("data")); } catch { lost = "The link is cut off. "; }
	try {
		({ models } = await call("models"));
		$("models").hidden = models.length < 2;
		fill("model", ...models.map(({ name }) => h("option", { value: name }, name)));
		if (name && !models.some((each) => each.name === name)) lost += `There is no model ${name}.`;
		await choose(name, Object(data));
		$("status").prepend(lost);
	} catch (error) {
		failed(error, start);
	}
}

$("model").onchange = function change() { choose($("model").value, {}).catch((error) => failed(error, change)); };
$("filter").oninput = filter;
$("reset").onclick = () => { set({}); schedule(); };
$("pin").onclick = () => pin(answer);
$("ask").onsubmit = (event) => {
	event.preventDefault();
	key = $("key").value.replace(/[^!-~]/g, "?"); // as no header can have it
	$("key").value = "";
	again();
};
$("use").onclick = ({ target }) => target.matches("button") && copy(target.textContent);
addEventListener("hashchange", start);
start();
