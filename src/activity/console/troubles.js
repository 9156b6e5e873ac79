// The troubles of the service in words, the worst first.

import { element, mark, state } from "./dom.js";

const section = document.getElementById("now");
const WORDS = { problem: "Problem", warning: "Warning", note: "Note", ok: "All is well" };

/** Draws the troubles of a body of /health, and the reason why /ready is not 200, if there is one. */
export function draw(health, obstacle) {
  const found = troubles(health, obstacle);
  const worst = found.find(({ level }) => level !== "note");
  const all = worst ? found : [{ level: "ok", text: well(health) }, ...found];
  const list = section.querySelector(".content");
  const shown = JSON.stringify(all);
  if (list.dataset.shown !== shown) {
    list.dataset.shown = shown;
    list.replaceChildren(
      ...all.map(({ level, text }) => element("li", { class: level }, mark(level, WORDS[level]), ` ${text}`)),
    );
  }
  state(section, "ready");
  return worst?.level ?? "ok";
}

/** The service does not answer at all. */
export function drawNoAnswer(since) {
  const text = `The service has not answered since ${since}. It is down, or this browser cannot reach it. The page is as it was then.`;
  section.querySelector(".content").dataset.shown = "";
  section
    .querySelector(".content")
    .replaceChildren(element("li", { class: "problem" }, mark("problem", "Problem"), ` ${text}`));
  state(section, "ready");
}

function well({ kafka, group }) {
  const held = group?.partitions.length ?? 0;
  const reading = group
    ? ` ${held === 0 ? "No partition is" : held === 1 ? "One partition is" : `${held} partitions are`} assigned here.`
    : "";
  return `${kafka ? "Kafka answers." : "The service answers."}${reading}`;
}

function troubles(health, obstacle) {
  const { kafka = {}, group, groups = {}, store, state: tables = [] } = health;
  const found = [];
  const add = (level, text) => {
    // The same trouble is told once, where it is told first.
    if (!found.some((other) => other.text.includes(text))) found.push({ level, text });
  };
  if (obstacle) add("problem", consequence(obstacle, kafka));
  if (kafka.connected === false) add("problem", kafka.error ?? "Kafka cannot be reached.");
  for (const { topic, reason } of kafka.refusals ?? []) add("problem", `Kafka takes nothing for ${topic}: ${reason}`);
  for (const { broker, breaker } of kafka.brokers ?? []) {
    if (breaker === "open")
      add("problem", `Broker ${broker} hangs: posts for its partitions are answered 503 at once.`);
    if (breaker === "half-open")
      add("warning", `Broker ${broker} answers again, and is being tried with one record a partition.`);
  }
  for (const of of [group, ...Object.values(groups)].filter(Boolean)) {
    if (of.error) add("problem", of.error);
    for (const { partition, error } of of.partitions)
      if (error) add("problem", `Partition ${partition} is stalled: ${error}`);
  }
  if (store?.error) add("problem", `The store cannot be used: ${store.error}`);
  for (const table of tables) {
    for (const { partition, error } of table.partitions ?? [])
      if (error) add("problem", `Topic ${table.topic}, partition ${partition}: ${error}`);
  }
  for (const warning of [...(health.warnings ?? []), ...(kafka.warnings ?? [])]) add("warning", capital(warning));
  if (health.embedded) add("note", "Kafka is the broker inside this process: nothing survives its end.");
  if (store?.evicted > 0)
    add("note", `${store.evicted.toLocaleString("en")} events have left the store for newer ones.`);
  return found;
}

function consequence(obstacle, kafka) {
  const after =
    kafka.connected === false
      ? " Posts are answered 503 until it is back; reads go on with what is stored, and the rest resumes by itself."
      : "";
  return `${capital(obstacle).replace(/\.?$/, ".")}${after}`;
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
