// Lines over the last minutes, drawn as SVG.

import { drawing, element, number } from "./dom.js";

const [WIDTH, HEIGHT] = [300, 80];
/** The most readings that a chart shows; and the fewest that it has room for, so that the first ones are seen to grow. */
export const SPAN = 120;
const LEAST = 30;

/** A chart of one or two series, which differ by their dashes too: { figure, draw(values of each series) }. */
export function chart(title, unit, names) {
  const lines = names.map((_, place) => drawing("path", { class: `line line-${place}` }));
  const picture = drawing(
    "svg",
    { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
    drawing("path", { class: "ground", d: `M0 ${HEIGHT - 1}H${WIDTH}` }),
    ...lines,
  );
  const values = names.map(() => element("strong", {}, "–"));
  const top = element("span", { class: "top" });
  const keys = names.map((name, place) =>
    element(
      "span",
      { class: "key" },
      drawing(
        "svg",
        { viewBox: "0 0 24 8", "aria-hidden": "true" },
        drawing("path", { class: `line line-${place}`, d: "M0 4H24" }),
      ),
      ` ${name} `,
      values[place],
    ),
  );
  const figure = element(
    "figure",
    {},
    element("figcaption", {}, element("span", { class: "title" }, title), ...keys),
    element("div", { class: "plot" }, top, picture),
  );

  const draw = (series) => {
    const most = Math.max(...series.flat().filter((value) => value !== null), 0);
    const scale = nice(most);
    series.forEach((of, place) => {
      lines[place].setAttribute("d", path(of, scale));
      const last = of.at(-1) ?? null;
      values[place].textContent = last === null ? "–" : `${number(last)} ${unit}`;
    });
    top.textContent = `${number(scale)} ${unit}`;
    const now = names.map((name, place) => `${name} ${values[place].textContent.replace("–", "nothing")}`).join(", ");
    picture.setAttribute("aria-label", `${title}. Now: ${now}. The most in the last minutes: ${number(most)} ${unit}.`);
  };
  return { figure, draw };
}

/** A line through the values, the last one at the right; where there is none it is interrupted. */
function path(values, scale) {
  const x = (place) => WIDTH - (values.length - 1 - place) * (WIDTH / (Math.max(values.length, LEAST) - 1));
  const y = (value) => HEIGHT - 2 - (value / scale) * (HEIGHT - 6);
  let isDrawn = false;
  return values
    .map((value, place) => {
      if (value === null) return ((isDrawn = false), "");
      const step = `${isDrawn ? "L" : "M"}${x(place).toFixed(1)} ${y(value).toFixed(1)}`;
      // A value between two gaps is a dot.
      const isAlone = !isDrawn && (values[place + 1] ?? null) === null;
      isDrawn = true;
      return isAlone ? `${step}h1` : step;
    })
    .join("");
}

/** The next of 1, 2, 5, 10, 20, 50… */
function nice(most) {
  if (most <= 1) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].find((step) => step * power >= most) * power;
}
