// What the live page and a report share. Text becomes text nodes, never markup.

export const $ = (id) => document.getElementById(id);
export const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 2 });

/** Return an element with properties and children; a child may be text. */
export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Return a cell of a table; numbers stand right. */
export function cell(value, properties = {}) {
  const isNumber = typeof value === "number";
  return element("td", { className: isNumber ? "number" : "", ...properties }, isNumber ? number(value) : value);
}

/** Replace the rows of a table, which may have a heading for each column. */
export function fill(table, headings, rows) {
  const caption = table.querySelector("caption");
  const head = element("tr", {}, ...headings.map((text) => element("th", { scope: "col" }, text)));
  table.replaceChildren(caption, element("thead", {}, head), element("tbody", {}, ...rows));
}

/** Return the swatch that stands for an outcome in chart and tables. */
export const swatch = (outcome) => element("span", { className: `swatch ${outcome}` });

/** Return radio buttons of which one is chosen. */
export function choice(name, label, options, chosen, change) {
  const buttons = Object.entries(options).map(([value, text]) => {
    const input = element("input", { type: "radio", name, value, checked: value === String(chosen) });
    input.addEventListener("change", () => change(value));
    return element("label", {}, input, text);
  });
  return element("fieldset", {}, element("legend", { className: "hidden" }, label), ...buttons);
}

/** A chart of requests over time, stacked by outcome, with a table of their numbers. */
export class Chart {
  constructor(outcomes, timeZone) {
    this.timeZone = timeZone;
    this.outcomes = Object.entries(outcomes);
    this.box = $("chart");
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.box);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.build());
  }

  size() {
    return { width: this.box.clientWidth, height: innerWidth < 700 ? 200 : 280 };
  }

  build() {
    const style = getComputedStyle(this.box);
    const axis = { stroke: style.color, grid: { stroke: style.borderColor, width: 1 }, ticks: { show: false } };
    const format = (moment) => new Date(moment * 1000).toLocaleString("en-GB", this.data[0].at(-1) - this.data[0][0] > 86400
      ? { timeZone: this.timeZone, day: "numeric", month: "short", hour: "2-digit" } : { timeZone: this.timeZone, timeStyle: "medium" });
    // The highest sum is drawn first, and lower ones over it.
    const series = [...this.outcomes].reverse().map(([outcome]) => {
      const probe = document.body.appendChild(swatch(outcome));
      const fill = getComputedStyle(probe).backgroundColor;
      probe.remove();
      return { fill, width: 0, points: { show: false }, paths: uPlot.paths.stepped({ align: 1 }) };
    });
    this.plot?.destroy();
    this.plot = new uPlot({
      ...this.size(),
      legend: { show: false },
      cursor: { show: false },
      scales: { y: { range: (_, __, most) => [0, Math.max(most * 1.05, 1)] } },
      axes: [{ ...axis, space: 90, values: (_, moments) => moments.map(format) }, { ...axis, size: 64, values: (_, values) => values.map((value) => (value % 1 ? "" : number(value))) }],
      series: [{}, ...series],
    }, this.data, this.box);
  }

  /** Show counts by moment and outcome, each moment so many seconds long. */
  show(moments, counts, seconds) {
    const sums = [];
    const totals = this.outcomes.map(([outcome], index) => {
      const below = sums[0];
      sums.unshift(counts.map((row, place) => (below ? below[place] : 0) + row[index] / seconds));
      return counts.reduce((total, row) => total + row[index], 0);
    });
    this.data = [moments, ...sums];
    if (this.plot) this.plot.setData(this.data);
    else this.build();
    const all = totals.reduce((one, other) => one + other, 0);
    fill($("legend"), ["outcome", "requests", "share"], this.outcomes.flatMap(([outcome, name], index) => {
      if (index && !totals[index]) return [];
      const share = all ? `${((100 * totals[index]) / all).toFixed(1)} %` : "";
      return [element("tr", {}, element("td", {}, swatch(outcome), name), cell(totals[index]), cell(share, { className: "number" }))];
    }));
  }
}

/** Show the counts of runs side by side, the last two as before and after. */
export function compare(found, outcomes) {
  const { columns, rows } = found;
  let client;
  fill($("comparison"), ["client, outcome", ...columns, ...(columns.length > 1 ? ["change"] : [])], rows.flatMap((row) => {
    const first = row.client !== client;
    client = row.client;
    const sent = element("tr", { className: "client" }, element("th", { scope: "rowgroup", colSpan: columns.length + 2 }, `${client}: ${number(row.sent)} requests`));
    const cells = row.counts.map((count) => cell(count));
    if (columns.length > 1) {
      const [before, after] = row.counts.slice(-2);
      const better = (after > before) === (row.outcome === "admitted");
      const text = after === before ? "same" : `${after > before ? "+" : "−"}${number(Math.abs(after - before))}`;
      cells.push(element("td", { className: `number ${after === before ? "" : better ? "more" : "less"}` }, text));
    }
    const line = element("tr", {}, element("td", {}, swatch(row.outcome), outcomes[row.outcome].replace("refused: ", "")), ...cells);
    return first ? [sent, line] : [line];
  }));
}

/** Return list items of the review's findings. */
export function findings(found, marks = {}) {
  return found.map((one, index) => element("li", { className: one.level },
    element("strong", {}, `${marks[index] ?? ""}${one.level}: `), `${one.key}: ${one.message}`));
}
