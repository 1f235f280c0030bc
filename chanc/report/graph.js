"use strict";
// The channel visualizer: pan and zoom, hover and click on groups, search.

function drawNetwork(graph, alone) {
  const stage = html("div", { class: "stage", style: `--shape:${(graph.height || 1) / (graph.width || 1)}` });
  const view = svg("g", {});
  const root = svg("svg", { role: "img", "aria-label": "the network as a graph, coloured by channel group", "data-plot": "network" }, hatch(), view);
  const side = html("div", { class: "side" });
  stage.append(root);
  const state = { graph, view, root, nodes: [], bars: [], edges: [], chosen: null };
  drawEdges(state);
  drawNodes(state);
  const camera = makeCamera(root, view, graph, alone);
  side.append(html("div", { class: "buttons" },
    html("button", { type: "button", title: "zoom in", onclick: () => camera.zoom(1.4) }, "+"),
    html("button", { type: "button", title: "zoom out", onclick: () => camera.zoom(1 / 1.4) }, "−"),
    html("button", { type: "button", onclick: () => camera.fit() }, "fit all")));
  drawSide(state, side, camera);
  root.addEventListener("click", (event) => {
    if (camera.dragged()) return;
    const bar = event.target.closest("[data-g]");
    choose(state, bar ? Number(bar.dataset.g) : null);
  });
  addEventListener("keydown", (event) => { if (event.key === "Escape") choose(state, null); });
  return html("div", { class: "network" }, stage, side);
}

function hatch() {
  return svg("defs", {}, svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    svg("line", { x1: 0, y1: 0, x2: 0, y2: 6, stroke: "var(--hatch)", "stroke-width": 2.2, "stroke-opacity": 0.55 })));
}

function drawEdges(state) {
  for (const edge of state.graph.edges) {
    let d = `M${edge.p[0]} ${edge.p[1]}`;
    for (let i = 2; i < edge.p.length; i += 6) d += `C${edge.p.slice(i, i + 6).join(" ")}`;
    const path = svg("path", { class: "edge", d });
    // a line is as thick as the part of the tensor that its reader takes
    if (edge.read < 1) path.style.strokeWidth = (0.3 + edge.read).toFixed(2);
    state.view.append(path);
    state.edges.push(path);
  }
}

function drawNodes(state) {
  state.graph.nodes.forEach((node, index) => {
    const element = svg("g", { class: `node ${node.kind}` });
    if (state.graph.circles && node.kind === "layer") drawCircle(state, element, node, index);
    else drawBox(state, element, node, index);
    element.addEventListener("pointermove", (event) => tip.show(event, describe(state.graph, node, event.target.dataset.g)));
    element.addEventListener("pointerleave", () => tip.hide());
    state.view.append(element);
    state.nodes.push(element);
  });
}

function drawBox(state, element, node, index) {
  const [left, top] = [node.x - node.w / 2, node.y - node.h / 2];
  element.append(svg("rect", { class: "box", x: left, y: top, width: node.w, height: node.h, rx: node.kind === "layer" ? 5 : 11 }));
  if (node.pinned && node.kind !== "layer") element.append(svg("rect", { x: left, y: top, width: node.w, height: node.h, rx: 5, fill: "url(#hatch)", "fill-opacity": 0.35, "pointer-events": "none" }));
  element.append(labelOf(node, top + (node.kind === "layer" ? 14 : 15)));
  if (node.kind === "layer") {
    for (const [side, below] of [["in", 19], ["out", 28]]) {
      const was = node[`${side}_was_px`];
      drawBar(state, element, node, node[side], node[`${side}_px`], top + below, 8, index);
      element.append(svg("text", { class: "count", x: node.x + Math.max(node[`${side}_px`], was) / 2 + 3, y: top + below + 7.5 }, node.count[side]));
      if (was) element.append(svg("rect", { class: "was", x: node.x - was / 2, y: top + below, width: was, height: 8, rx: 1.5 }));
    }
  } else if (node.out.length) {
    drawBar(state, element, node, node.out, Math.min(node.out_px, node.w - 6), top + node.h - 6, 4, index);
  }
}

// The area of a circle is the layer's out width; several groups share it by slices.
function drawCircle(state, element, node, index) {
  const [y, r, total] = [node.y - 7, node.radius, sum(node.out, "n")];
  const at = (turn) => `${(node.x + r * Math.sin(turn)).toFixed(2)} ${(y - r * Math.cos(turn)).toFixed(2)}`;
  let turn = 0;
  for (const segment of node.out) {
    const end = turn + (2 * Math.PI * segment.n) / total;
    const whole = segment.n === total;
    const shape = (look) => whole ? svg("circle", { cx: node.x, cy: y, r, ...look })
      : svg("path", { d: `M${node.x} ${y}L${at(turn)}A${r} ${r} 0 ${Number(end - turn > Math.PI)} 1 ${at(end)}Z`, ...look });
    appendSegment(state, element, segment, index, shape);
    turn = end;
  }
  if (node.was_radius) element.append(svg("circle", { class: "was", cx: node.x, cy: y, r: node.was_radius }));
  element.append(svg("text", { class: "count", x: node.x + Math.max(r, node.was_radius) + 3, y: y + 3.5 }, node.count.out));
  element.append(labelOf(node, node.y + node.h / 2 - 3));
}

function labelOf(node, y) {
  const label = svg("text", { class: "label", x: node.x, y, "text-anchor": "middle" }, node.label);
  if (node.detail) label.append(svg("tspan", { class: "detail" }, ` ${node.detail}`));
  return label;
}

// What shows a group: lit with it, and hatched where it can't change. `shape` makes it with a look.
function appendSegment(state, element, segment, index, shape) {
  const group = state.graph.groups[segment.g];
  const mark = shape({ class: group ? "bar" : "bar none", fill: group ? group.colour : null, "data-g": group ? segment.g : null });
  element.append(mark);
  if (segment.r) element.append(shape({ fill: "url(#hatch)", "pointer-events": "none" }));
  if (group) {
    mark.addEventListener("pointerenter", () => light(state, segment.g));
    mark.addEventListener("pointerleave", () => light(state, state.chosen));
  }
  state.bars.push({ bar: mark, g: segment.g, index });
}

function drawBar(state, element, node, segments, length, top, height, index) {
  const total = sum(segments, "n");
  let left = node.x - length / 2;
  for (const segment of segments) {
    const width = (length * segment.n) / total;
    const box = { x: left.toFixed(2), y: top, width: width.toFixed(2), height, rx: 1.5 };
    appendSegment(state, element, segment, index, (look) => svg("rect", { ...box, ...look }));
    if (segment.d) {
      const unread = (width * segment.d) / segment.n;
      element.append(svg("rect", { ...box, class: "unread", x: (left + width - unread).toFixed(2), width: unread.toFixed(2) }));
    }
    left += width;
  }
}

function counted(segments) {
  const [total, dropped] = [sum(segments, "n"), sum(segments, "d")];
  return dropped ? `${total - dropped} of ${total}` : String(total);
}

function sum(segments, key) {
  return segments.reduce((total, segment) => total + segment[key], 0);
}

function describe(graph, node, group) {
  const half = (segments) => {
    const parts = segments.slice(0, 6).map((s) => `${counted([s])} ${s.g >= 0 ? graph.groups[s.g].id : "in no group"}`);
    if (segments.length > 6) parts.push(`${segments.length - 6} more`);
    const reads = sum(segments, "d") ? "reads " : "";
    return `${reads}${counted(segments)} channels: ${parts.join(" + ")}`;
  };
  const reasons = [...new Set([...node.in, ...node.out].map((s) => s.r).filter(Boolean))];
  return [
    `${node.label} ${node.detail}`,
    `${node.op}${node.name === node.label ? "" : `, output ${node.name}`}`,
    node.kind === "layer" ? `in: ${half(node.in)}` : null,
    node.out.length ? `out: ${half(node.out)}` : null,
    node.after.length ? `followed by ${node.after.slice(0, 8).join(", ")}${node.after.length > 8 ? ", …" : ""}` : null,
    node.pinned ? `pinned: ${node.pinned}` : null,
    ...reasons.filter((reason) => reason !== node.pinned).map((reason) => `can't change: ${reason}`),
    group === undefined ? null : `group ${graph.groups[group].id}: click to keep it lit`,
  ];
}

function light(state, group) {
  const on = new Set(group === null ? [] : state.graph.groups[group].nodes);
  state.view.classList.toggle("picked", group !== null);
  state.nodes.forEach((element, index) => element.classList.toggle("on", on.has(index)));
  state.edges.forEach((path, index) => {
    const edge = state.graph.edges[index];
    path.classList.toggle("on", on.has(edge.from) && on.has(edge.to));
    path.style.stroke = path.classList.contains("on") ? state.graph.groups[group].colour : "";
  });
  for (const { bar, g } of state.bars) bar.classList.toggle("off", group !== null && g !== group);
}

function choose(state, group) {
  state.chosen = group;
  light(state, group);
  state.onchoose(group);
}

function drawSide(state, side, camera) {
  const graph = state.graph;
  const search = html("input", { type: "search", placeholder: "search layers and groups (Enter: next)", "aria-label": "search layers and groups" });
  const found = html("div", { class: "soft" });
  const items = graph.groups.map((group, index) => {
    const item = legendItem(group.id, group.colour, 34, `${group.size} · ${group.members}`);
    item.title = `${group.id}: ${group.size} channels, ${group.members} members${group.resizable ? "" : `; can't change: ${group.reason}`}`;
    if (!group.resizable) item.firstChild.style.backgroundImage = "repeating-linear-gradient(45deg, #0009 0 1.5px, #0000 1.5px 4px)";
    item.addEventListener("pointerenter", () => light(state, index));
    item.addEventListener("pointerleave", () => light(state, state.chosen));
    item.addEventListener("click", () => { choose(state, state.chosen === index ? null : index); if (state.chosen !== null) camera.to(graph.groups[index].nodes); });
    return item;
  });
  const chosen = html("div", { class: "chosen" });
  chosen.hidden = true;
  state.onchoose = (group) => {
    items.forEach((item, index) => item.classList.toggle("on", index === group));
    chosen.hidden = group === null;
    if (group === null) return;
    fillChosen(chosen, graph.groups[group]);
    const list = items[group].parentNode;
    list.scrollTop = items[group].offsetTop - list.offsetTop - list.clientHeight / 2;
  };
  wireSearch(state, search, found, items, camera);
  side.append(search, found, key(graph), html("div", { class: "soft" }, `${graph.groups.length} groups: width · members`), html("div", { class: "items" }, ...items), chosen);
}

function fillChosen(chosen, group) {
  const facts = [`${group.size} channels`, group.step > 1 ? `in steps of ${group.step}` : null, `${group.members} members`,
    group.resizable ? "may change" : `can't change: ${group.reason}`, group.exact ? null : "rewrites are not exact"];
  chosen.replaceChildren(html("b", {}, group.id), html("div", {}, facts.filter(Boolean).join(", ")),
    html("ul", {}, ...operandLines(group).map((line) => html("li", {}, line))));
}

// A norm's scale, bias, mean and variance are one line.
function operandLines(group) {
  const nodes = new Map();
  for (const o of group.operands) {
    const key = JSON.stringify([o.node, o.axis, o.role]);
    nodes.set(key, [...(nodes.get(key) ?? []), o]);
  }
  return [...nodes.values()].map((same) => {
    const more = same.length > 1 ? ` and ${same.length - 1} more` : "";
    return `${same[0].op} ${same[0].initializer || same[0].node}${more}, axis ${same[0].axis}, ${same[0].role}`;
  });
}

function wireSearch(state, search, found, items, camera) {
  const graph = state.graph;
  let hits = [];
  let at = -1;
  search.addEventListener("input", () => {
    const text = search.value.trim().toLowerCase();
    hits = text ? graph.nodes.flatMap((node, i) => (`${node.label} ${node.name} ${node.op} ${node.pinned}`.toLowerCase().includes(text) ? [i] : [])) : [];
    at = -1;
    state.nodes.forEach((element, index) => element.classList.toggle("found", hits.includes(index)));
    items.forEach((item, index) => { item.hidden = Boolean(text) && !groupMatches(graph, index, text, hits); });
    found.textContent = text ? `${hits.length} nodes found` : "";
  });
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !hits.length) return;
    at = (at + 1) % hits.length;
    camera.to([hits[at]]);
    found.textContent = `${at + 1} of ${hits.length}: ${graph.nodes[hits[at]].label}`;
  });
}

function groupMatches(graph, index, text, hits) {
  const group = graph.groups[index];
  return group.id.toLowerCase().includes(text) || group.nodes.some((node) => hits.includes(node));
}

function key(graph) {
  const samples = graph.scale.map((sample) => html("span", {}, html("i", { style: `width:${sample.px / 2}px` }), String(sample.n)));
  const hatched = html("i", { style: "width:18px;background-image:repeating-linear-gradient(45deg,#0009 0 1.5px,#0000 1.5px 4px)" });
  const shape = graph.circles ? "the area of a circle: out width (channels)" : "upper bar: in width, lower bar: out width (channels)";
  const before = graph.before ? [html("span", {}, "dashed: the width before")] : [];
  return html("div", { class: "key" }, html("span", {}, shape), ...before, ...unread(graph), ...(graph.circles ? [] : samples), html("span", {}, hatched, "can't change"));
}

function unread(graph) {
  return graph.edges.some((edge) => edge.read < 1) ? [html("span", {}, "pale: not read; thin lines: little of a tensor is read")] : [];
}

function makeCamera(root, view, graph, alone) {
  let [k, x, y] = [1, 0, 0];
  let drag = null;
  let moved = false;
  let touched = false;
  const apply = () => {
    view.setAttribute("transform", `translate(${x} ${y}) scale(${k})`);
    view.classList.toggle("far", k < 0.42);
  };
  const size = () => [root.clientWidth || 900, root.clientHeight || 600];
  const frame = (left, top, width, height, most) => {
    const [w, h] = size();
    k = Math.min(w / width, h / height, most);
    [x, y] = [(w - width * k) / 2 - left * k, (h - height * k) / 2 - top * k];
    apply();
  };
  const fit = () => frame(0, 0, graph.width || 1, graph.height || 1, 1.3);
  const about = (px, py, factor) => {
    const next = Math.max(0.03, Math.min(6, k * factor));
    [x, y] = [px - ((px - x) * next) / k, py - ((py - y) * next) / k];
    k = next;
    touched = true;
    apply();
  };
  // inside a report the wheel scrolls the page until the drawing is clicked
  let active = alone;
  root.addEventListener("pointerleave", () => { active = alone; });
  root.addEventListener("wheel", (event) => {
    if (!active && !event.ctrlKey) return;
    event.preventDefault();
    const box = root.getBoundingClientRect();
    about(event.clientX - box.left, event.clientY - box.top, Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)));
  }, { passive: false });
  root.addEventListener("pointerdown", (event) => { drag = [event.clientX - x, event.clientY - y, event.clientX, event.clientY]; moved = false; active = true; });
  addEventListener("pointermove", (event) => {
    if (!drag) return;
    if (Math.hypot(event.clientX - drag[2], event.clientY - drag[3]) > 4) moved = touched = true;
    if (!moved) return;
    root.classList.add("grabbing");
    [x, y] = [event.clientX - drag[0], event.clientY - drag[1]];
    apply();
  });
  addEventListener("pointerup", () => { drag = null; root.classList.remove("grabbing"); });
  new ResizeObserver(() => { if (!touched) fit(); }).observe(root);
  return {
    fit: () => { touched = false; fit(); },
    zoom: (factor) => about(size()[0] / 2, size()[1] / 2, factor),
    dragged: () => moved,
    to: (indices) => {
      const boxes = indices.map((i) => graph.nodes[i]);
      if (!boxes.length) return;
      const left = Math.min(...boxes.map((n) => n.x - n.w / 2)) - 80;
      const top = Math.min(...boxes.map((n) => n.y - n.h / 2)) - 80;
      const right = Math.max(...boxes.map((n) => n.x + n.w / 2)) + 80;
      const bottom = Math.max(...boxes.map((n) => n.y + n.h / 2)) + 80;
      touched = true;
      frame(left, top, right - left, bottom - top, 1.3);
    },
  };
}
