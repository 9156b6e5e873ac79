// The dialog that takes credentials, and what a section says where one is needed.

import { NoAnswer, Refusal, hold, holds, onCredentials } from "./client.js";
import { element, state } from "./dom.js";

const dialog = document.getElementById("access");
const form = dialog.querySelector("form");

/** Asks for credentials. */
export function open() {
  const { key, admin } = holds();
  const words = [key && "a key or token", admin && "an admin token"].filter(Boolean);
  dialog.querySelector(".held").textContent = words.length
    ? `The page has ${words.join(" and ")}.`
    : "The page has neither.";
  dialog.returnValue = "";
  dialog.showModal();
}

dialog.addEventListener("close", () => {
  const given = Object.fromEntries(["key", "admin"].map((name) => [name, form.elements[name].value.trim()]));
  form.reset();
  if (dialog.returnValue === "forget") hold({ key: "", admin: "" });
  if (dialog.returnValue === "use") hold(Object.fromEntries(Object.entries(given).filter(([, value]) => value)));
});

const button = document.getElementById("open-access");
button.addEventListener("click", open);
onCredentials(() => {
  const { key, admin } = holds();
  button.textContent = key || admin ? "Access: given" : "Access";
});

/** Says in a section why it has nothing new. */
export function explain(section, error) {
  const give = () => element("button", { type: "button", click: open }, "Give one");
  if (error instanceof NoAnswer)
    state(section, "failed", "The service does not answer. This part is from before.");
  else if (!(error instanceof Refusal)) throw error;
  else if (error.status === 401) {
    state(
      section,
      "refused",
      holds().wasRefused ? "The key or token that was given is not taken. " : "A key or token is needed. ",
      give(),
    );
  } else if (error.status === 403) {
    state(section, "refused", `The key or token has not the scope ${error.scope ?? "that this needs"}. `, give());
  } else if (error.status === 404) state(section, "refused", `This is not to be had here: ${error.message}.`);
  else state(section, "failed", `Not available now (${error.status}): ${error.message}`);
  return error;
}

/** Asks for something and shows it in a section; returns the error, if there was one. */
export async function show(section, request, draw) {
  try {
    draw(await request());
  } catch (error) {
    return explain(section, error);
  }
}
