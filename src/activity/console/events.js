// The latest events, and the search.

import { explain, show } from "./access.js";
import { Refusal, onCredentials } from "./client.js";
import { element, entry, state } from "./dom.js";
import { events, find, follow, search } from "./feed.js";

const MOST = 100;
const section = document.getElementById("events");
const title = document.getElementById("events-title");
const list = section.querySelector("ol");
const form = document.getElementById("search");
const back = form.querySelector("[type=reset]");
const found = section.querySelector(".found");
const more = section.querySelector(".more");

/** The newest first, as the list has them while nothing is searched for. */
let latest = [];
/** The fields of the search; null while the latest events are shown. */
let wanted = null;
let next = null;

follow({
  take(fresh, missed) {
    if (missed) latest.unshift(element("li", { class: "gap" }, "More events came in between than this list shows."));
    latest.unshift(...fresh.map(item).reverse());
    latest.splice(MOST);
    if (!wanted && (fresh.length > 0 || section.dataset.state !== "ready")) drawLatest();
  },
  fail(error) {
    if (!wanted) explain(section, error);
    return error;
  },
});
onCredentials(() => {
  latest = [];
});

function drawLatest() {
  title.textContent = "Latest events";
  if (latest.length === 0) {
    const example = `curl ${location.origin}/events/generate -H 'content-type: application/json' -d '{"userId":"ann","eventType":"LOGIN"}'`;
    state(section, "empty", "No event is stored here yet. Post one, and it appears: ", element("code", {}, example));
    return;
  }
  // New ones come in before the others, which stay where they are, opened or focused.
  const first = list.firstElementChild;
  if (!latest.includes(first)) list.replaceChildren(...latest);
  else {
    first.before(...latest.slice(0, latest.indexOf(first)));
    while (list.childElementCount > latest.length) list.lastElementChild.remove();
  }
  state(section, "ready");
}

function item({ eventId, userId, eventType, timestamp, payload }) {
  const of = (field, value, words) =>
    element("button", { type: "button", click: () => fill({ [field]: value }) }, words);
  const code = (text) => element("code", {}, text);
  return entry(
    [timestamp, eventType, element("span", { class: "user" }, userId)],
    [
      ["Event id", code(eventId)],
      ["Timestamp", code(timestamp)],
      ["Payload", code(payload)],
    ],
    of("userId", userId, "Events of this user"),
    of("eventType", eventType, "Events of this type"),
  );
}

function fill(fields) {
  form.reset();
  for (const [name, value] of Object.entries(fields)) form.elements[name].value = value;
  form.requestSubmit();
  title.scrollIntoView({ block: "nearest" });
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const fields = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]));
  if (!Object.values(fields).some(Boolean)) return form.reset();
  wanted = fields;
  back.hidden = false;
  title.textContent = "Events found";
  found.textContent = "";
  list.replaceChildren();
  more.hidden = true;
  state(section, "loading", "Searching…");
  run(fields, () => (fields.eventId ? find(fields.eventId) : search(fields)));
});

more.addEventListener("click", () => run(wanted, () => events(next)));

async function run(fields, request) {
  const answer = async () => {
    try {
      return await request();
    } catch (error) {
      // An event that is not there is no fault.
      if (error instanceof Refusal && error.status === 404) return { events: [], next: null, whole: false };
      throw error;
    }
  };
  more.disabled = true;
  await show(section, answer, (page) => {
    if (wanted === fields) drawFound(fields, page);
  });
  more.disabled = false;
}

function drawFound({ eventId, userId, eventType }, page) {
  // Of an event that was asked for by its id, the other fields may be others.
  const fits = (of) =>
    !eventId ||
    ((!userId || of.userId === userId) && (!eventType || of.eventType.toLowerCase() === eventType.toLowerCase()));
  list.append(...page.events.filter(fits).map(item));
  next = page.next;
  more.hidden = !next;
  const many = list.childElementCount;
  const part = page.whole ? "" : " This instance has not all partitions: another one may have more.";
  found.textContent = `${many === 1 ? "One event" : `${many || "No"} events`}${next ? " so far, the newest first" : ""}.${part}`;
  if (many > 0) state(section, "ready");
  else
    state(
      section,
      "empty",
      "Nothing fits. Users are compared exactly, types without case; an event may not be processed yet.",
    );
}

form.addEventListener("reset", () => {
  wanted = null;
  back.hidden = true;
  more.hidden = true;
  found.textContent = "";
  list.replaceChildren();
  drawLatest();
});
