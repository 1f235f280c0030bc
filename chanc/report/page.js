"use strict";
// Helpers of every page. Text goes in by textContent only: names come from models and are not trusted.

const SVG = "http://www.w3.org/2000/svg";

function html(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") element.style.cssText = value; // the attribute itself is forbidden by the page's policy
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  for (const child of children) {
    if (child !== null && child !== undefined) element.append(child);
  }
  return element;
}

function formatted(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(2);
  return String(Number(value.toPrecision(4)));
}

const tip = {
  element: null,
  show(event, lines) {
    this.element ??= document.body.appendChild(html("div", { class: "tip" }));
    this.element.replaceChildren(...lines.filter(Boolean).map((line) => html("div", {}, line)));
    this.element.hidden = false;
    const box = this.element.getBoundingClientRect();
    const left = event.clientX + 16 + box.width > innerWidth ? event.clientX - box.width - 12 : event.clientX + 16;
    this.element.style.left = Math.max(4, left) + "px";
    this.element.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - box.height - 6)) + "px";
  },
  hide() {
    if (this.element) this.element.hidden = true;
  },
};

function themeButton() {
  const dark = () => {
    const scheme = document.documentElement.style.colorScheme;
    return scheme ? scheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const button = html("button", { type: "button", title: "Light or dark page" });
  const label = () => { button.textContent = dark() ? "light" : "dark"; };
  button.addEventListener("click", () => {
    document.documentElement.style.colorScheme = dark() ? "light" : "dark";
    label();
  });
  if (["#dark", "#light"].includes(location.hash)) document.documentElement.style.colorScheme = location.hash.slice(1);
  label();
  return button;
}

function pageHead(title) {
  return html("header", {}, html("h1", {}, title), themeButton());
}

// The end of a long name tells more than its beginning.
function shortened(text, letters) {
  return text.length > letters ? "…" + text.slice(1 - letters) : text;
}

function legendItem(text, colour, letters, count) {
  return html(
    "button", { class: "item", type: "button", title: text },
    html("span", { class: "swatch", style: `background:${colour}` }),
    html("span", { class: "name" }, shortened(text, letters)),
    count === undefined ? null : html("span", { class: "count" }, count),
  );
}
