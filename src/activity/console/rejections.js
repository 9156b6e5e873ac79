// Single posts that were refused of late, and why, for admins.

import { Refusal, askJson, holds, onCredentials } from "./client.js";
import { entry, mark } from "./dom.js";

const MOST = 20;
const place = document.querySelector("#refused .latest");
const note = place.querySelector(".note");
const list = place.querySelector("ol");

let seen = 0;
/** An answer that stays the same as long as the credentials do. */
let isClosed = false;

/** Lists anew when more was refused than before. It is not asked all the time: each time is in the audit log. */
export function noticed(refused) {
  const isNews = refused !== seen;
  seen = refused;
  if (isNews && !isClosed) load();
}

async function load() {
  const { key, admin } = holds();
  if (!key && !admin) {
    list.replaceChildren();
    note.textContent = "With an admin token (Access), single ones are listed here.";
    return;
  }
  try {
    const { rejections } = await askJson(`/rejections?limit=${MOST}`, { as: "admin" });
    list.replaceChildren(...rejections.map(item));
    note.textContent = rejections.length ? "" : "None is kept.";
  } catch (error) {
    isClosed = error instanceof Refusal && error.isLasting;
    note.textContent = error.message;
  }
}

function item({ at, client, correlationId, eventId, status, detail, errors = [] }) {
  return entry(
    [at, detail, mark("warning", `${status}`)],
    [
      ["Client", client ?? "not authenticated"],
      ["Correlation id", correlationId ?? "none"],
      ["Event id", eventId ?? "none"],
      ...errors.map(({ field, message }) => [field, message]),
    ],
  );
}

onCredentials(() => {
  isClosed = false;
  if (seen > 0) load();
});
