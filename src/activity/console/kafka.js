// The brokers with their breakers, and the store.

import { definitions, mark, number, replace, state } from "./dom.js";

const section = document.getElementById("kafka");
const BREAKERS = {
  closed: ["ok", "closed: takes records"],
  "half-open": ["warning", "half-open: being tried"],
  open: ["problem", "open: hangs, refused at once"],
};

/** Draws what /health says of both. */
export function draw({ kafka, store, embedded }) {
  replace(section.querySelector(".content"), JSON.stringify([kafka, store, embedded]), () =>
    definitions([...cluster(kafka, embedded), ...held(store)]),
  );
  state(section, "ready");
}

function cluster(kafka, embedded) {
  if (!kafka) return [];
  const brokers = kafka.brokers ?? [];
  return [
    [
      "Kafka",
      kafka.connected
        ? mark("ok", embedded ? "answers, inside this process" : "answers")
        : mark("problem", "does not answer"),
    ],
    ...brokers.map(({ broker, breaker }) => [
      `Breaker of broker ${broker}`,
      mark(...(BREAKERS[breaker] ?? ["note", breaker])),
    ]),
    ...(brokers.length === 0 ? [["Breakers", "None yet: they come with the first event posted here."]] : []),
  ];
}

function held(store) {
  if (!store) return [["Store", "The store does not tell what it holds."]];
  const many = {
    events: "Events held",
    duplicates: "Came again, not stored twice",
    conflicts: "Of these, with other content",
    evicted: "Left for newer ones",
  };
  return [
    ["Store", store.error ? mark("problem", store.error) : mark("ok", "can be used")],
    ...Object.entries(many)
      .filter(([name]) => name in store)
      .map(([name, term]) => [term, number(store[name])]),
  ];
}
