// Shows the result that a file holds.
import { $, Chart, choice, cell, compare, element, fill, findings } from "./view.js";

const result = JSON.parse($("result").textContent);
const chart = new Chart(result.outcomes, "UTC");
const runs = Object.keys(result.timelines);
const clients = Object.keys(result.timelines[runs[0]].clients);
const shown = { run: runs.at(-1), client: "" };

function draw() {
  const { intervalSeconds, clients: timelines } = result.timelines[shown.run];
  const chosen = shown.client ? [timelines[shown.client]] : Object.values(timelines);
  const moments = Array.from({ length: Math.ceil(result.seconds / intervalSeconds - 1e-9) }, (_, index) => index);
  const counts = moments.map((index) => Object.keys(result.outcomes).map((outcome) =>
    chosen.reduce((sum, timeline) => sum + (timeline[outcome]?.[index] ?? 0), 0)));
  chart.show(moments.map((index) => result.start + index * intervalSeconds), counts, intervalSeconds);
}

document.title = $("title").textContent = result.title;
document.body.className = "report";
document.querySelectorAll(".live").forEach((part) => part.remove());
$("trial-title").textContent = "What is refused";
$("about").replaceChildren(...result.about.flatMap((line) => [line, element("br")]));
$("notes").replaceChildren(...result.notes.map((line) => element("p", {}, line)));
const choose = (key) => (value) => { shown[key] = value; draw(); };
if (runs.length > 1) $("choices").append(choice("run", "Run", Object.fromEntries(runs.map((run) => [run, run])), shown.run, choose("run")));
if (clients.length > 1) {
  const select = element("select", {}, element("option", { value: "" }, "all clients"), ...clients.map((client) => element("option", { value: client }, client)));
  select.addEventListener("change", () => choose("client")(select.value));
  $("choices").append(element("label", {}, "Client ", select));
}
draw();
compare(result, result.outcomes);
fill($("settings"), ["limit", "value", "setting"], result.limits.map((row) => element("tr", {},
  element("th", { scope: "row" }, row.limit), cell(row.value), cell(element("code", {}, row.settings.map((one) => one.path).join(", "))))));
$("findings").replaceChildren(...findings(result.findings));
