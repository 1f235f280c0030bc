"use strict";
// Lines, points and heat maps as inline SVG, redrawn when the page changes its width.

const HEIGHT = 380;

function linearTicks(low, high, count, whole) {
  const raw = (high - low) / Math.max(count, 1) || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
  if (whole) step = Math.max(1, Math.ceil(step));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high, count) {
  let powers = [];
  for (let e = Math.ceil(Math.log2(low) - 1e-9); 2 ** e <= high * 1.0000001; e++) powers.push(2 ** e);
  if (powers.length < 3) return linearTicks(low, high, count, false);
  const stride = Math.ceil(powers.length / Math.max(count, 2));
  return powers.filter((_, index) => index % stride === 0);
}

function scale(values, log, from, to, padding) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const forward = log ? Math.log : (v) => v;
  if (!(high > low)) [low, high] = log ? [low / 1.5, high * 1.5] : [low - (Math.abs(low) || 1) * 0.1, high + (Math.abs(high) || 1) * 0.1];
  else if (log) [low, high] = [low * (low / high) ** padding, high * (high / low) ** padding];
  else {
    const room = (high - low) * padding;
    [low, high] = [low >= 0 && low - room < 0 ? 0 : low - room, high + room];
  }
  const [a, b] = [forward(low), forward(high)];
  const place = (v) => from + ((forward(v) - a) / (b - a)) * (to - from);
  return Object.assign(place, { low, high });
}

function extent(plot, axis) {
  const values = [];
  for (const series of plot.series) {
    for (let i = 0; i < series.y.length; i++) {
      const x = plot.xs ? plot.xs[i] : series.x[i];
      if (x === null || series.y[i] === null) continue;
      const reach = series.errors[i] ?? 0;
      if (axis === "x") values.push(x);
      else values.push(series.y[i] - reach, series.y[i] + reach, series.low[i] ?? series.y[i], series.high[i] ?? series.y[i]);
    }
  }
  for (const reference of plot.references) if (reference.axis === axis) values.push(reference.value);
  const log = plot[axis].log && values.every((v) => v > 0);
  return { values: values.length ? [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))] : [0, 1], log, whole: values.every(Number.isInteger) };
}

function marker(shape, x, y, colour) {
  const common = { fill: colour };
  const r = 4.5;
  if (shape === "square") return svg("rect", { ...common, x: x - r, y: y - r, width: 2 * r, height: 2 * r });
  if (shape === "diamond") return svg("path", { ...common, d: `M${x} ${y - 7}L${x + 7} ${y}L${x} ${y + 7}L${x - 7} ${y}Z` });
  if (shape === "triangle") return svg("path", { ...common, d: `M${x} ${y - 6}L${x + 6} ${y + 5}L${x - 6} ${y + 5}Z` });
  return svg("circle", { ...common, cx: x, cy: y, r: 4 });
}

function drawAxes(root, plot, frame, x, y, xInfo, yInfo) {
  const yTicks = yInfo.log ? logTicks(y.low, y.high, 7) : linearTicks(y.low, y.high, 6, yInfo.whole);
  const xTicks = xInfo.log ? logTicks(x.low, x.high, 8) : linearTicks(x.low, x.high, Math.max(2, Math.floor((frame.right - frame.left) / 90)), xInfo.whole);
  for (const tick of yTicks) {
    root.append(svg("line", { class: "grid", x1: frame.left, x2: frame.right, y1: y(tick), y2: y(tick) }));
    root.append(svg("text", { class: "tick", x: frame.left - 8, y: y(tick) + 4, "text-anchor": "end" }, formatted(tick)));
  }
  for (const tick of xTicks) {
    root.append(svg("line", { class: "axis", x1: x(tick), x2: x(tick), y1: frame.bottom, y2: frame.bottom + 5 }));
    root.append(svg("text", { class: "tick", x: x(tick), y: frame.bottom + 19, "text-anchor": "middle" }, formatted(tick)));
  }
  root.append(svg("line", { class: "axis", x1: frame.left, x2: frame.right, y1: frame.bottom, y2: frame.bottom }));
  axisTitles(root, plot, frame);
}

function axisTitles(root, plot, frame) {
  const middle = (frame.top + frame.bottom) / 2;
  root.append(svg("text", { x: (frame.left + frame.right) / 2, y: frame.bottom + 40, "text-anchor": "middle" }, plot.x.text));
  root.append(svg("text", { x: 14, y: middle, "text-anchor": "middle", transform: `rotate(-90 14 ${middle})` }, plot.y.text));
}

function drawReferences(root, plot, frame, x, y) {
  const across = plot.references.filter((r) => r.axis === "y").sort((a, b) => b.value - a.value);
  let last = -Infinity;
  for (const reference of across) {
    const at = y(reference.value);
    root.append(svg("line", { class: "reference", x1: frame.left, x2: frame.right, y1: at, y2: at }));
    last = Math.max(at - 4, last + 13);
    root.append(referenceText(reference, frame.right - 4, last, "end"));
  }
  const down = plot.references.filter((r) => r.axis === "x").sort((a, b) => a.value - b.value);
  down.forEach((reference, row) => {
    const at = x(reference.value);
    const flip = at > (frame.left + frame.right) / 2;
    root.append(svg("line", { class: "reference", x1: at, x2: at, y1: frame.top, y2: frame.bottom }));
    root.append(referenceText(reference, at + (flip ? -5 : 5), frame.bottom - 8 - 14 * row, flip ? "end" : "start"));
  });
}

function referenceText(reference, x, y, anchor) {
  const element = svg("text", { class: "referencetext", x, y, "text-anchor": anchor }, reference.label);
  element.append(svg("title", {}, reference.source));
  return element;
}

function drawSeries(root, plot, x, y, yInfo) {
  return plot.series.map((series, index) => {
    const points = [];
    let path = "";
    let open = false;
    series.y.forEach((value, i) => {
      const at = plot.xs ? plot.xs[i] : series.x[i];
      if (value === null || at === null || (yInfo.log && value <= 0)) { open = false; return; }
      const [px, py] = [x(at), y(value)];
      points.push({ px, py, x: at, y: value, i });
      path += `${open ? "L" : "M"}${px.toFixed(1)} ${py.toFixed(1)}`;
      open = true;
    });
    const parts = series.low.length ? [band(points, series, y)] : [];
    if (series.line && points.length > 1) parts.push(svg("path", { class: `series of${series.lead ? " lead" : ""}`, d: path, stroke: series.colour, "stroke-dasharray": series.dash ? "5 4" : null }));
    for (const point of points) if (series.errors[point.i]) parts.push(errorBar(point, series, y));
    if (series.marker) for (const point of points) parts.push(fill(marker(series.marker, point.px, point.py, series.colour), { class: "mark of" }, []));
    root.append(...parts);
    return { series, index, points, parts };
  });
}

function band(points, series, y) {
  const border = (values, of) => of.map((point) => `${point.px.toFixed(1)} ${y(values[point.i]).toFixed(1)}`).join("L");
  const d = `M${border(series.low, points)}L${border(series.high, [...points].reverse())}Z`;
  return svg("path", { class: "band of", d, fill: series.colour, stroke: series.colour });
}

function errorBar(point, series, y) {
  const [low, high] = [-1, 1].map((side) => y(point.y + side * series.errors[point.i]).toFixed(1));
  const d = `M${point.px} ${low}V${high}M${point.px - 4} ${low}h8M${point.px - 4} ${high}h8`;
  return svg("path", { class: "error of", d, stroke: series.colour });
}

function inFront(root, drawn) {
  for (const item of drawn) if (item.series.lead) root.append(...item.parts);
}

function nearest(drawn, x, y) {
  let best = null;
  for (const item of drawn) {
    for (const point of item.points) {
      const distance = (point.px - x) ** 2 + (point.py - y) ** 2;
      if (!best || distance < best.distance) best = { distance, item, point };
    }
  }
  return best && best.distance < 60 ** 2 ? best : null;
}

function ranged(hit) {
  const { low, high } = hit.item.series;
  return low.length ? `range: ${formatted(low[hit.point.i])} to ${formatted(high[hit.point.i])}` : null;
}

function linePlot(holder, plot) {
  const canvas = html("div", { class: "canvas" });
  const legend = plot.series.length > 1 ? plotLegend(plot, (index) => emphasise(index), (index) => { locked = index; emphasise(null); }) : null;
  holder.append(canvas, ...(legend ? [legend.element] : []));
  let drawn = [];
  let root = null;
  let locked = null;

  function emphasise(index) {
    const chosen = index ?? locked;
    root.classList.toggle("dim", chosen !== null);
    for (const item of drawn) for (const part of item.parts) part.classList.toggle("on", item.index === chosen);
    if (legend) legend.mark(chosen);
    const front = drawn.find((item) => item.index === chosen);
    inFront(root, drawn);
    if (front) root.append(...front.parts);
  }

  function draw() {
    const width = Math.max(320, canvas.clientWidth || 900);
    const [xInfo, yInfo] = [extent(plot, "x"), extent(plot, "y")];
    const frame = { left: 0, right: width - 14, top: 12, bottom: HEIGHT - 52 };
    const y = scale(yInfo.values, yInfo.log, frame.bottom, frame.top, 0.05);
    const ticks = yInfo.log ? logTicks(y.low, y.high, 7) : linearTicks(y.low, y.high, 6, yInfo.whole);
    frame.left = 36 + 7 * Math.max(...ticks.map((tick) => formatted(tick).length));
    const x = scale(xInfo.values, xInfo.log, frame.left, frame.right, plot.series.some((s) => !s.line || s.marker) ? 0.05 : 0.015);
    root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img", "aria-label": `${plot.title}: ${plot.y.text} against ${plot.x.text}`, "data-plot": plot.id });
    root.classList.toggle("many", plot.series.length > 40);
    drawAxes(root, plot, frame, x, y, xInfo, yInfo);
    drawReferences(root, plot, frame, x, y);
    drawn = drawSeries(root, plot, x, y, yInfo);
    root.addEventListener("pointermove", (event) => {
      const box = root.getBoundingClientRect();
      const hit = nearest(drawn, (event.clientX - box.left) * (width / box.width), (event.clientY - box.top) * (HEIGHT / box.height));
      if (!hit) { emphasise(null); tip.hide(); return; }
      if (drawn.length > 1) emphasise(hit.item.index);
      tip.show(event, [hit.item.series.name, hit.item.series.labels[hit.point.i], `${plot.x.text}: ${formatted(hit.point.x)}`, `${plot.y.text}: ${formatted(hit.point.y)}${hit.item.series.errors[hit.point.i] ? ` ± ${formatted(hit.item.series.errors[hit.point.i])}` : ""}`, ranged(hit)]);
    });
    root.addEventListener("pointerleave", () => { emphasise(null); tip.hide(); });
    canvas.replaceChildren(root);
    emphasise(null);
  }
  whenResized(canvas, draw);
}

function plotLegend(plot, hover, lock) {
  const items = plot.series.map((series, index) => {
    const item = legendItem(series.name, series.colour, 28);
    if (series.marker && !plot.ordered) item.firstChild.replaceWith(svg("svg", { class: "shape", viewBox: "-8 -8 16 16" }, marker(series.marker, 0, 0, series.colour)));
    item.addEventListener("pointerenter", () => hover(index));
    item.addEventListener("pointerleave", () => hover(null));
    item.addEventListener("click", () => { chosen = chosen === index ? null : index; lock(chosen); });
    return item;
  });
  let chosen = null;
  const element = html("div", { class: "legend" });
  if (plot.ordered) {
    const places = plot.series.filter((series) => !series.lead);
    const stops = places.filter((_, i) => i % Math.ceil(places.length / 12) === 0).map((s) => s.colour);
    const ramp = html("div", {});
    if (stops.length > 1) ramp.style.background = `linear-gradient(90deg, ${stops.join(",")})`;
    element.append(html("div", { class: "ramp" }, ramp, html("span", {}, plot.ordered)));
  }
  if (items.length > 15) {
    const filter = html("input", { type: "search", placeholder: `filter ${items.length} lines`, "aria-label": "filter the legend" });
    filter.addEventListener("input", () => {
      items.forEach((item, i) => { item.hidden = !plot.series[i].name.toLowerCase().includes(filter.value.toLowerCase()); });
    });
    element.append(filter);
  }
  element.append(html("div", { class: "items" }, ...items));
  return { element, mark: (index) => items.forEach((item, i) => item.classList.toggle("on", i === index)) };
}

function whenResized(element, draw) {
  let width = -1;
  new ResizeObserver(() => {
    if (Math.abs(element.clientWidth - width) < 2) return;
    width = element.clientWidth;
    draw();
  }).observe(element);
  draw();
}

function heatMap(holder, plot, palette) {
  const canvas = html("div", { class: "canvas" });
  holder.append(canvas);
  const known = plot.values.flat().filter((v) => v !== null);
  const log = plot.value.log && known.every((v) => v > 0);
  const colourScale = scale([known.reduce((a, b) => Math.min(a, b), Infinity), known.reduce((a, b) => Math.max(a, b), -Infinity)], log, 0, palette.length - 1, 0);
  const colour = (v) => palette[Math.max(0, Math.min(palette.length - 1, Math.round(colourScale(v))))];

  whenResized(canvas, () => {
    const width = Math.max(320, canvas.clientWidth || 900);
    // together as tall as the legend to the right and the title to the left
    const few = Math.max(LEGEND, 6.5 * plot.y.text.length) / plot.rows.length;
    const rowHeight = Math.max(1, Math.min(Math.max(18, few), 620 / plot.rows.length));
    const labels = plot.rows.map((row) => row.replace(/\.weight$/, ""));
    const letters = Math.min(30, Math.floor(width / 24), labels.reduce((most, label) => Math.max(most, label.length), 0));
    const frame = { left: 40 + letters * 6.2, right: width - 75, top: 24, bottom: 24 + rowHeight * plot.rows.length };
    const height = Math.max(frame.bottom + 52, frame.top + LEGEND + 12);
    const cell = (frame.right - frame.left) / Math.max(plot.columns.length, 1);
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img", "aria-label": `${plot.title}: ${plot.value.text}`, "data-plot": plot.id });
    const labelEvery = Math.ceil(12 / rowHeight);
    plot.rows.forEach((row, r) => {
      const top = frame.top + r * rowHeight;
      const label = shortened(labels[r], letters);
      if (r % labelEvery === 0) root.append(svg("text", { class: "tick", x: frame.left - 8, y: top + rowHeight / 2 + 3.5, "text-anchor": "end", style: "font-size:11px" }, label));
      plot.values[r].forEach((value, c) => {
        if (value !== null) root.append(svg("rect", { x: (frame.left + c * cell).toFixed(2), y: top.toFixed(2), width: (cell + 0.4).toFixed(2), height: (rowHeight + 0.4).toFixed(2), fill: colour(value) }));
      });
    });
    const columnEvery = Math.ceil(34 / cell);
    plot.columns.forEach((column, c) => {
      if (c % columnEvery === 0) root.append(svg("text", { class: "tick", x: frame.left + (c + 0.5) * cell, y: frame.bottom + 18, "text-anchor": "middle" }, formatted(column)));
    });
    axisTitles(root, plot, frame);
    heatLegend(root, palette, colourScale, log, known.every(Number.isInteger), frame.right + 18, frame.top);
    root.append(svg("text", { x: width - 4, y: 14, "text-anchor": "end" }, plot.value.text));
    root.addEventListener("pointermove", (event) => {
      const box = root.getBoundingClientRect();
      const c = Math.floor(((event.clientX - box.left) * (width / box.width) - frame.left) / cell);
      const r = Math.floor(((event.clientY - box.top) * (height / box.height) - frame.top) / rowHeight);
      const value = plot.values[r]?.[c];
      if (value === undefined) tip.hide();
      else tip.show(event, [plot.rows[r], `${plot.x.text}: ${formatted(plot.columns[c])}`, `${plot.value.text}: ${formatted(value)}`]);
    });
    root.addEventListener("pointerleave", () => tip.hide());
    canvas.replaceChildren(root);
  });
}

const LEGEND = 160;

function heatLegend(root, palette, colourScale, log, whole, left, top) {
  const height = LEGEND;
  palette.forEach((colour, i) => {
    root.append(svg("rect", { x: left, y: top + 4 + height - ((i + 1) * height) / palette.length, width: 14, height: height / palette.length + 0.5, fill: colour }));
  });
  const at = (v) => top + 4 + height * (1 - colourScale(v) / (palette.length - 1));
  for (const tick of log ? logTicks(colourScale.low, colourScale.high, 6) : linearTicks(colourScale.low, colourScale.high, 5, whole)) {
    root.append(svg("text", { class: "tick", x: left + 20, y: at(tick) + 4, style: "font-size:11px" }, formatted(tick)));
  }
}

// The same numbers as a map: with many lines it is the easier one to read, and shown first.
const CROWD = 100;

function asMap(plot) {
  return { kind: "heat", id: `${plot.id}-map`, title: `${plot.title}, map`, note: plot.note, x: plot.x, y: { text: plot.ordered }, value: plot.y,
    rows: plot.series.map((series) => series.name), columns: plot.xs, values: plot.series.map((series) => series.y) };
}

function drawSection(section, palette) {
  section.plots.push(...section.plots.filter((plot) => plot.mapped && plot.xs).map(asMap));
  const holder = html("div", { class: "plot" });
  const note = html("p", { class: "note" });
  const show = (index) => {
    const plot = section.plots[index];
    holder.replaceChildren();
    (plot.kind === "heat" ? (p) => heatMap(holder, p, palette) : (p) => linePlot(holder, p))(plot);
    note.textContent = plot.note;
  };
  const choice = html("select", { "aria-label": `view of ${section.title}`, onchange: () => show(Number(choice.value)) },
    ...section.plots.map((plot, index) => html("option", { value: index }, plot.title)));
  const head = html("div", { class: "sectionhead" }, html("div", {}, html("h2", {}, section.title), html("p", { class: "soft" }, section.text)),
    section.plots.length > 1 ? choice : null);
  const element = html("section", { id: section.id }, head, holder, note);
  const first = section.plots[0];
  choice.value = Math.max(0, first.kind === "lines" && first.series.length > CROWD ? section.plots.findIndex((plot) => plot.id === `${first.id}-map`) : 0);
  queueMicrotask(() => show(Number(choice.value)));
  return element;
}
