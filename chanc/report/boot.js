"use strict";
// Builds the page from its data: the report of a run, or the channel visualizer alone.

function summaryTable(table) {
  return html("div", { class: "scroll" }, html("table", {},
    html("thead", {}, html("tr", {}, ...table.head.map((text) => html("th", {}, text)))),
    html("tbody", {}, ...table.rows.map((row) => html("tr", {}, ...row.map((text) => html("td", {}, text)))))));
}

function networkSection(data, alone) {
  const graph = data.graph;
  const text = `${formatted(graph.params)} params, ${formatted(graph.macs)} MACs, ${graph.groups.length} channel groups, `
    + `${graph.groups.filter((group) => group.resizable).length} of them may change. ${alone ? "Wheel" : "Click, then wheel"}: zoom; drag: move; click a ${graph.circles ? "circle" : "bar"}: keep its group lit.`
    + (graph.before ? ` Before: ${formatted(graph.before.params)} params, ${formatted(graph.before.macs)} MACs.` : "");
  return [html("h2", {}, data.network_title ?? "Channel groups"), html("p", { class: "soft" }, text), drawNetwork(graph, alone)];
}

function reportPage(root, data) {
  const report = data.report;
  root.append(html("div", { class: "facts" }, ...report.facts.map(([name, value]) => html("span", {}, html("span", { class: "soft" }, `${name} `), html("b", {}, value)))));
  if (report.command) root.append(html("code", { class: "command" }, report.command));
  for (const line of report.warnings) root.append(html("p", { class: "warning" }, line));
  for (const line of report.verdict) root.append(html("p", { class: "verdict" }, line));
  for (const table of report.tables) root.append(summaryTable(table), table.note ? html("p", { class: "note" }, table.note) : "");
  for (const section of report.sections) root.append(drawSection(section, report.palette));
  if (data.graph) root.append(html("section", { id: "network" }, ...networkSection(data, false)));
  else if (report.no_graph) root.append(html("section", { id: "network" }, html("h2", {}, "Channel groups"), html("p", { class: "soft" }, report.no_graph)));
  if (report.settings.length) {
    const all = html("details", {}, html("summary", {}, "All settings of the run"));
    all.append(summaryTable({ head: ["setting", "value"], rows: report.settings }));
    root.append(html("h2", {}, "Settings"), all);
  }
}

const data = JSON.parse(document.getElementById("data").textContent);
const root = document.getElementById("root");
root.append(pageHead(data.title));
if (data.report) reportPage(root, data);
else {
  root.classList.add("whole");
  root.append(...networkSection(data, true).slice(1));
}
document.documentElement.dataset.ready = "yes";
