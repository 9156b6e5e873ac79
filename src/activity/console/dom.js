// Elements and the states of a section. No text becomes markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element with these attributes, in which these nodes and texts are. Attributes that are null are left out. */
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** The same, of SVG. */
export function drawing(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

/** A table with these headings; of a row, each cell is a text, a node or a list of them, and the first one names it. */
export function table(caption, headings, rows) {
  const cells = ([first, ...others]) => [
    element("th", { scope: "row" }, ...[first].flat()),
    ...others.map((cell) => element("td", {}, ...[cell].flat())),
  ];
  return element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...headings.map((heading) => element("th", { scope: "col" }, heading)))),
    element("tbody", {}, ...rows.map((row) => element("tr", {}, ...cells(row)))),
  );
}

/** What each of these terms is, in texts and nodes. */
export function definitions(terms) {
  const pair = ([term, ...is]) => [element("dt", {}, term), element("dd", {}, ...is)];
  return element("dl", {}, ...terms.flatMap(pair));
}

/** An item of a list, of a time, a title and what stands beside it; it opens to its terms and its buttons. */
export function entry([at, title, beside], terms, ...buttons) {
  return element(
    "li",
    {},
    element(
      "details",
      {},
      element("summary", {}, time(at), " ", element("strong", {}, title), " ", beside),
      definitions(terms),
      buttons.length ? element("div", { class: "buttons" }, ...buttons) : null,
    ),
  );
}

/** A word with a shape before it, so that its colour says nothing alone. Levels: ok, note, warning, problem. */
export function mark(level, word) {
  const shapes = { ok: "✓", note: "i", warning: "!", problem: "✕" };
  return element(
    "span",
    { class: `mark ${level}` },
    element("span", { class: "shape", "aria-hidden": "true" }, shapes[level]),
    ` ${word}`,
  );
}

/** The state of a section: loading, ready, empty, refused, or failed, which leaves what was there before. */
export function state(section, name, ...message) {
  section.dataset.state = name;
  const place = section.querySelector(".message");
  const text = message.map((part) => part.textContent ?? part).join("");
  // The same text is not written again, so that a screen reader is not interrupted.
  if (place.textContent !== text || message.some((part) => part.tagName)) place.replaceChildren(...message);
}

/** Replaces the content of an element, unless it is the same as before. */
export function replace(place, key, make) {
  if (place.dataset.shown === key) return;
  place.dataset.shown = key;
  place.replaceChildren(...[make()].flat());
}

export const number = (value) => value.toLocaleString("en", { maximumFractionDigits: value < 10 ? 1 : 0 });

/** A time of day, with the date where it is another day. */
export function time(text) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) return element("span", {}, text);
  const clock = at.toLocaleTimeString("en-GB", { hour12: false });
  const shown = new Date().toDateString() === at.toDateString() ? clock : `${at.toLocaleDateString("en-CA")} ${clock}`;
  return element("time", { datetime: text, title: text }, shown);
}
