// The live page: shows the news that the server sends, and tries other limits.
import { $, Chart, choice, cell, compare, element, fill, findings, number, swatch } from "./view.js";

const SHOWN_REFUSALS = 50;
const TRIAL_MS = 3000; // between trials of new requests

// The link carries the token behind the #, which no request has. Take it out of the address.
if (location.hash) {
  sessionStorage.setItem("token", location.hash.slice(1));
  history.replaceState(null, "", location.pathname);
}
const headers = { authorization: `Bearer ${sessionStorage.getItem("token")}` };

let stack; // what is deployed
let chart;
let changes = {}; // of the stack's file, by path: in force, or to try
let range = 60; // seconds shown
const history_ = new Map(); // counts by second

async function ask(path, body) {
  const response = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.message);
  return answer;
}

/** Follow the news. Not an EventSource, which cannot send the token. */
async function follow() {
  let again = true;
  try {
    const response = await fetch("page/news", { headers });
    again = response.status !== 401;
    if (!response.ok) throw new Error(again ? (await response.json()).message : "Open the link that make up printed: this one has no valid token.");
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = "", part; !(part = await reader.read()).done;) {
      const events = (text + part.value).split("\n\n");
      text = events.pop();
      events.forEach((event) => show(JSON.parse(event.slice("data: ".length))));
    }
    throw new Error("The sandbox has ended.");
  } catch (error) {
    state(`${error.message}${again ? " Trying again …" : ""}`, true);
  }
  if (again) setTimeout(follow, 2000);
}

function state(text, bad = false) {
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").className = bad ? "bad" : "";
}

function show(news) {
  if (news.stack) deployed(news.stack);
  for (const [second, counts] of Object.entries(news.seconds)) history_.set(Number(second), counts);
  for (const second of history_.keys()) if (second < news.now - 900) history_.delete(second);
  draw(Math.floor(news.now));
  gauges(news.gauges);
  refusals(news.refusals);
  $("stop").disabled = !news.sending;
  if (news.number !== decided && Date.now() > triedAt + TRIAL_MS && !document.hidden) tried(news.number);
  state(news.sending ? "Live. Sending traffic." : "Live.");
}

function draw(now) {
  const moments = Array.from({ length: range }, (_, index) => now - range + index);
  const none = Object.keys(stack.outcomes).map(() => 0);
  chart.show(moments, moments.map((second) => history_.get(second) ?? none), 1);
}

function gauges(found) {
  const groups = Map.groupBy(found, (one) => one.of || "all clients");
  $("gauges").replaceChildren(...[...groups].sort(([one], [other]) => (one === "all clients" ? -1 : one.localeCompare(other))).map(([name, rows]) =>
    element("div", { className: "card" }, element("h3", {}, name), ...rows.map(gauge))));
}

function gauge({ what, used, most }) {
  const share = Math.min(1, used / most);
  const text = `${number(used)} of ${number(most)}`;
  const level = element("div", { className: share >= 0.75 ? "nearly" : "" });
  level.style.width = `${100 * share}%`;
  const bar = element("div", { className: "bar", role: "meter", ariaLabel: what, ariaValueMin: 0, ariaValueMax: most, ariaValueNow: used, ariaValueText: `${text} used` }, level);
  return element("div", { className: "gauge" }, element("span", {}, what), element("span", { className: "number" }, text), bar);
}

function refusals(newest) {
  const table = $("refusals");
  if (!table.tBodies.length) fill(table, ["time", "client", "request", "address", "refused by", "why"], []);
  const rows = newest.map((one) => element("tr", {},
    cell(new Date(one.time * 1000).toLocaleTimeString("en-GB")),
    cell(one.client || "no valid key"), cell(element("code", {}, one.request)), cell(element("code", {}, one.address)),
    element("td", {}, swatch(one.layer), (stack.outcomes[one.layer] ?? "").replace("refused: ", "") + (one.subject ? ` (${one.subject})` : ""), ` ${one.status}`),
    cell(stack.reasons[one.layer])));
  const body = table.tBodies[0];
  body.prepend(...rows.reverse());
  while (body.rows.length > SHOWN_REFUSALS) body.lastChild.remove();
}

/** Show another deployment. */
function deployed(about) {
  stack = about;
  changes = { ...about.changes };
  chart ??= new Chart(about.outcomes);
  document.title = $("title").textContent = `Limits of stack ${about.name}`;
  $("about").textContent = about.url;
  $("problem").textContent = about.problem ?? "";
  const form = $("traffic").elements;
  if (!form.client.options.length) {
    form.client.replaceChildren(...about.clients.map((client) => element("option", { value: client }, client)));
    suggest();
  }
  if (!$("trial-about").textContent) $("trial-about").textContent = "Starting what decides requests again …";
  fill($("settings"), ["limit", "in force", "try"], about.limits.map((row) => element("tr", {},
    element("th", { scope: "row" }, row.limit), cell(row.value), element("td", { className: "sliders" }, ...row.settings.map(slider)))));
  tried();
}

/** Suggest traffic of which the client's plan refuses some. */
function suggest() {
  const form = $("traffic").elements;
  const of = (name) => stack.limits.flatMap((row) => row.settings).find((one) => one.path === `usagePlans.${form.client.value.split("/")[0]}.${name}`)?.value ?? 5;
  form.rate.value = Math.min(500, 2 * of("rateLimit"));
  form.burst.value = Math.min(1000, Math.ceil(1.5 * of("burstLimit")));
}

const written = (value) => (value === null ? "none" : String(value));

/** Return numbers of two digits: they grow by about the same factor all the way up. */
function ladder(least, most, whole) {
  const steps = [];
  for (let value = least; value < most;) {
    steps.push(value);
    const step = Math.max(10 ** Math.floor(Math.log10(value) - 1 + 1e-9), whole ? 1 : 0);
    value = Number((Math.floor(value / step + 1 + 1e-9) * step).toPrecision(2));
  }
  return [...steps, most];
}

/** Return a slider, with a field for exact values. */
function slider(setting) {
  const { path, choices, least, most, whole } = setting;
  const steps = choices ?? ladder(least, most, whole);
  const value = setting.value ?? stack.file[path] ?? least;
  const place = (one) => (choices ? choices.findIndex((each) => String(each) === one) : steps.findIndex((each) => each >= one));
  const range = element("input", { type: "range", min: 0, max: steps.length - 1, value: place(String(value)), ariaLabel: `${path}, slider` });
  const field = choices
    ? element("select", {}, ...choices.map((one) => element("option", { selected: one === value }, String(one))))
    : element("input", { type: "number", min: least, max: most, step: whole ? 1 : "any", value });
  field.ariaLabel = path;
  const none = element("input", { type: "checkbox", ariaLabel: `${path}: none`, checked: setting.value === null });
  const made = element("div", { className: "slider" },
    element("code", {}, path), range, field, ...(setting.optional ? [element("label", {}, none, "none")] : []),
    element("p", { className: "hint" }, setting.description));
  const set = () => {
    const text = none.checked ? "none" : field.value;
    range.ariaValueText = text;
    range.disabled = field.disabled = none.checked;
    made.classList.toggle("changed", text !== written(setting.value));
    return text;
  };
  const change = () => {
    const text = set();
    if (!field.validity.valid || !text) return;
    if (text === written(stack.file[path])) delete changes[path];
    else changes[path] = text;
    tried();
  };
  range.addEventListener("input", () => { field.value = steps[range.value]; change(); });
  field.addEventListener("input", () => { range.value = place(field.value); change(); });
  none.addEventListener("change", change);
  set();
  return made;
}

let asking = false;
let waiting = false;
let decided; // requests there were at the last trial
let triedAt = 0;

/** Try the changes. While one trial runs, the newest changes wait. */
async function tried(requests) {
  if (asking) { waiting = true; return; }
  asking = true;
  decided = requests;
  triedAt = Date.now();
  const list = Object.entries(changes).map(([path, value]) => `${path}=${value}`);
  try {
    shown(await ask("page/try", { changes: list }));
  } catch (error) {
    $("problem").textContent = error.message;
  }
  asking = false;
  if (waiting) { waiting = false; tried(); }
}

function shown(trial) {
  const none = !Object.keys(changes).length;
  $("problem").textContent = trial.problem ?? stack.problem ?? "";
  $("commands").textContent = none ? "Move a slider to try another limit." : (trial.commands ?? []).join("\n");
  $("copy").disabled = $("apply").disabled = none || Boolean(trial.problem);
  $("undo").disabled = none;
  if (trial.problem) return;
  const since = trial.requests ? new Date(trial.from * 1000).toLocaleTimeString("en-GB") : "";
  $("trial-about").textContent = trial.requests
    ? `The newest ${number(trial.requests)} requests, since ${since}, decided again in ${trial.milliseconds} ms. Buckets and quotas are full at the beginning. The limits in force decide ${number(100 * trial.agreement)} % of them as it happened; the rest differs when limits have changed.`
    : "No requests yet. Make some traffic.";
  if (trial.rows) compare(trial, stack.outcomes);
  const marks = Object.fromEntries(trial.new.map((index) => [index, "new "]));
  const [before, after] = trial.cost.map((dollars) => `$${number(Math.round(dollars))}`);
  $("findings").replaceChildren(...findings(trial.findings, marks),
    ...findings(trial.gone).map((item) => { item.className = "gone"; item.prepend("gone: "); return item; }),
    element("li", {}, element("strong", {}, "cost: "), `a month can bill at most ${after}${after === before ? ", as before" : `; ${before} under the limits in force`}. AWS WAF bills every request it sees, blocked ones too.`));
}

/** Deploy the stack here with changes, and say so. */
async function deploy(changes) {
  $("apply").disabled = $("undo").disabled = true;
  $("change-state").textContent = "Deploying here …";
  try {
    await ask("page/deploy", { changes });
    $("change-state").textContent = changes.length ? "Applied here. The stack's file is as it was." : "The limits of the stack's file are in force.";
  } catch (error) {
    $("change-state").textContent = error.message;
    $("apply").disabled = $("undo").disabled = false;
  }
}

$("choices").append(choice("range", "Time shown", { 60: "1 minute", 300: "5 minutes", 900: "15 minutes" }, range, (value) => { range = Number(value); }));
$("apply").addEventListener("click", () => deploy(Object.entries(changes).map(([path, value]) => `${path}=${value}`)));
$("undo").addEventListener("click", () => (Object.keys(stack.changes).length ? deploy([]) : deployed(stack)));
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("commands").textContent);
  $("change-state").textContent = "Copied.";
});
$("traffic").elements.client.addEventListener("change", suggest);
$("stop").addEventListener("click", () => send({ seconds: 0, rate: 0, burst: 0 }));
$("traffic").addEventListener("submit", (event) => { event.preventDefault(); send({}); });

async function send(instead) {
  const { client, rate, burst, seconds, address } = $("traffic").elements;
  $("traffic-problem").textContent = "";
  try {
    await ask("page/traffic", { client: client.value, rate: Number(rate.value), burst: Number(burst.value), seconds: Number(seconds.value), address: address.value.trim(), ...instead });
  } catch (error) {
    $("traffic-problem").textContent = error.message;
  }
}
follow();
