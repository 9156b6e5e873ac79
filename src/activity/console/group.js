// The members of the group, and the last rebalances with their reasons.

import { show } from "./access.js";
import { askJson, repeat } from "./client.js";
import { element, number, replace, state, table, time } from "./dom.js";

const section = document.getElementById("group");

/** Asks for the group now; also called when /health tells of another generation. */
export const refresh = repeat(5, () => show(section, () => askJson("/group", { as: "operator" }), draw));

function draw(group) {
  const { members, membersError, rebalances, member, phase, protocol, generation, id } = group;
  replace(
    section.querySelector(".content"),
    JSON.stringify([members, membersError, rebalances, phase, generation]),
    () => [
      element("p", {}, `${id}: ${phase}, generation ${generation}, protocol ${protocol || "not chosen yet"}.`),
      element(
        "div",
        { class: "scrolled", tabindex: 0, role: "region", "aria-label": "Members" },
        members
          ? table(
              count(members.length, "member"),
              ["Member", "Client", "Partitions"],
              members.map((of) => [
                [of.instanceId ?? of.memberId, of.memberId === member ? " (this instance)" : ""],
                of.host ? `${of.clientId} at ${of.host}` : of.clientId,
                assignment(of.partitions),
              ]),
            )
          : element("p", {}, `The coordinator did not tell the members: ${membersError}`),
      ),
      element("h3", {}, "Last rebalances of this instance"),
      rebalances.length === 0
        ? element("p", {}, "None yet.")
        : element("ol", { class: "rebalances", role: "list" }, ...rebalances.map(rebalance)),
    ],
  );
  state(section, "ready");
}

function rebalance({ at, reason, generation, durationMs, assigned, revoked }) {
  const change = [
    assigned.length && `got ${assigned.join(", ")}`,
    revoked.length && `gave up ${revoked.join(", ")}`,
  ].filter(Boolean);
  return element(
    "li",
    {},
    time(at),
    ` ${reason}. Generation ${generation} after ${number(durationMs)} ms; ${change.join("; ") || "nothing changed here"}.`,
  );
}

const count = (many, what) => (many === 1 ? `One ${what}` : `${many} ${what}s`);

function assignment(partitions) {
  if (!partitions) return "not known while the group rebalances";
  const topics = Object.values(partitions).filter((those) => those.length);
  return topics.length === 0 ? "none" : topics.map((those) => those.join(", ")).join("; ");
}
