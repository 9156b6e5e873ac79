// Dead letters with their reasons, and sending them back.

import { explain, show } from "./access.js";
import { Refusal, ask, askJson, onCredentials } from "./client.js";
import { element, entry, mark, state } from "./dom.js";

const PAGE = 20;
const section = document.getElementById("dead-letters");
const list = section.querySelector("ol");
const filter = section.querySelector("form");
const all = section.querySelector(".all");
const more = section.querySelector(".more");
const done = section.querySelector(".done");
const dialog = document.getElementById("confirm");

let seen = -1;
/** The reason that the list is filtered by. */
let reason = "";
let next = null;

/** Lists anew when more records were set aside than before. It is not asked all the time: each time is in the audit log. */
export function noticed(setAside) {
  if (setAside > seen && seen >= 0) load();
  seen = setAside;
}

const path = () =>
  `/dead-letters?${new URLSearchParams([["limit", `${PAGE}`], ...(reason ? [["reason", reason]] : [])])}`;

function load(from = path()) {
  return show(
    section,
    () => ask(from, { as: "admin" }),
    ({ text, next: link }) => {
      if (from === path()) list.replaceChildren();
      list.append(...JSON.parse(text).deadLetters.map(item));
      next = link;
      more.hidden = !next;
      all.disabled = list.childElementCount === 0;
      if (list.childElementCount > 0 || next) state(section, "ready");
      else
        state(
          section,
          "empty",
          reason ? "No dead letter has this in its reason." : "None: every record could be processed.",
        );
    },
  ).then((error) => {
    if (!error) return;
    all.disabled = true;
    if (!(error instanceof Refusal)) return;
    if (error.status === 404)
      state(
        section,
        "refused",
        "The service has neither ADMIN_TOKEN nor AUTH, so that nobody can list dead letters here.",
      );
  });
}

function item(letter) {
  const { partition, offset, timestamp, reason: why, source, key, value, redrives, redriven, truncatedFrom } = letter;
  const content = (bytes) => (bytes ? (bytes.text ?? `${bytes.base64} (base64)`) : "none");
  const back = element(
    "button",
    {
      type: "button",
      click: () => confirm(`The dead letter at ${partition}/${offset}: ${why}`, { positions: [{ partition, offset }] }),
    },
    "Send back…",
  );
  const from = `${source.topic ?? "?"}, partition ${source.partition ?? "?"}, offset ${source.offset ?? "?"}`;
  return entry(
    [timestamp, why, redriven ? mark("ok", "sent back") : mark("warning", "waits")],
    [
      ["Came from", from],
      ["Is at", `partition ${partition}, offset ${offset}; sent back ${redrives} times before`],
      ["Key", element("code", {}, content(key))],
      ["Value", element("code", {}, content(value), truncatedFrom ? ` … of ${truncatedFrom} bytes` : "")],
    ],
    ...(redriven ? [] : [back]),
  );
}

filter.addEventListener("submit", (event) => {
  event.preventDefault();
  reason = filter.elements.reason.value.trim();
  done.textContent = "";
  load();
});
more.addEventListener("click", () => load(next));
all.addEventListener("click", () =>
  confirm(
    reason ? `All dead letters whose reason contains “${reason}”.` : "All dead letters of the topic.",
    reason ? { reason } : { all: true },
  ),
);

/** Asks whether these are to be sent back, and sends them. */
function confirm(question, selection) {
  dialog.querySelector(".question").textContent = question;
  dialog.returnValue = "";
  dialog.onclose = () => dialog.returnValue === "yes" && redrive(selection);
  dialog.showModal();
}

async function redrive(selection) {
  done.textContent = "Sending back…";
  try {
    done.textContent = words(await askJson("/dead-letters/redrive", { as: "admin", body: selection }));
  } catch (error) {
    done.textContent = `Not sent back: ${error.message}`;
    explain(section, error);
    return;
  }
  await load();
}

function words(report) {
  const stays = {
    exhausted: "were sent back too often",
    truncated: "are kept in part only",
    foreign: "came from another topic",
    refused: "are refused by their topic",
    already: "were sent back before",
    missing: "are not there",
  };
  const others = Object.entries(stays)
    .filter(([name]) => report[name] > 0)
    .map(([name, why]) => `${report[name]} ${why}`);
  const end = report.complete
    ? ""
    : ` Not all are handled yet: ${report.stopped ?? "the time is over"}. Send back again to go on.`;
  return `Sent back: ${report.redriven}.${others.length ? ` Not sent: ${others.join(", ")}.` : ""}${end}`;
}

onCredentials(() => load());
load();
