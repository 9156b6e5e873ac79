// The partitions of this instance, and the lag of each.

import { drawing, element, mark, number, replace, state, table } from "./dom.js";

const section = document.getElementById("partitions");

/** Draws the partitions of a group, as /health has them. */
export function draw(group) {
  const held = group?.partitions ?? [];
  if (held.length === 0) {
    state(
      section,
      "empty",
      "No partition is assigned to this instance now. Others of its group have them all, or the group is gathering.",
    );
    return;
  }
  const lag = ({ end, position }) => Math.max(0, end - position);
  const most = Math.max(...held.map(lag), 1);
  const row = (of) => [
    `${of.partition}`,
    condition(of, lag(of)),
    [bar(lag(of) / most), ` ${number(lag(of))}`],
    `${of.position}`,
    `${of.end}`,
    of.committed < 0 ? "none" : `${of.committed}`,
  ];
  replace(section.querySelector(".content"), JSON.stringify(held), () =>
    table(
      "Lag is what is still to be processed.",
      ["Partition", "State", "Lag", "Position", "End", "Committed"],
      held.map(row),
    ),
  );
  state(section, "ready");
}

function condition({ restored, error }, lag) {
  if (error) return mark("problem", "is stalled");
  if (!restored) return mark("note", "being restored");
  return lag === 0 ? mark("ok", "caught up") : mark("note", "reading");
}

/** A bar that is full where a partition has the most. The number beside it says the same. */
function bar(part) {
  return element(
    "span",
    { class: "bar", "aria-hidden": "true" },
    drawing(
      "svg",
      { viewBox: "0 0 100 8", preserveAspectRatio: "none" },
      drawing("rect", { class: "track", width: 100, height: 8 }),
      drawing("rect", { class: "fill", width: Math.round(100 * part), height: 8 }),
    ),
  );
}
