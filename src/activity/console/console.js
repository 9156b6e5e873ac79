// The live page: asks how the service is, and hands the answers to the modules that show them.

import { show } from "./access.js";
import { NoAnswer, Refusal, ask, askJson, pause, repeat } from "./client.js";
import { mark } from "./dom.js";
import { noticed } from "./dead-letters.js";
import "./events.js";
import { draw as drawFigures } from "./figures.js";
import { refresh as refreshGroup } from "./group.js";
import { draw as drawKafka } from "./kafka.js";
import { read } from "./metrics.js";
import { draw as drawPartitions } from "./partitions.js";
import { draw as drawRefused } from "./refused.js";
import { draw as drawTroubles, drawNoAnswer } from "./troubles.js";

const SECONDS = 2;
const now = document.getElementById("now");
const instance = document.getElementById("instance");
let answered = new Date();
let generation = null;

repeat(SECONDS, async () => {
  const error = await show(
    now,
    async () => [await askJson("/health"), await obstacle()],
    ([health, why]) => {
      answered = new Date();
      drawInstance(health, drawTroubles(health, why));
      drawPartitions(health.group);
      drawKafka(health);
      const current = `${health.group?.phase} ${health.group?.generation}`;
      if (generation !== null && generation !== current) refreshGroup();
      generation = current;
    },
  );
  if (error instanceof NoAnswer) {
    drawNoAnswer(answered.toLocaleTimeString("en-GB"));
    instance.replaceChildren(mark("problem", "no answer"));
  }
  document.body.classList.toggle("stale", error instanceof NoAnswer);
  return error;
});

/** Why the service is not ready; null where it is. */
async function obstacle() {
  try {
    await ask("/ready");
    return null;
  } catch (error) {
    if (error instanceof Refusal && error.status === 503) return error.message;
    throw error;
  }
}

const WORDS = { ok: "runs", warning: "runs, with warnings", problem: "in trouble" };

function drawInstance({ service, version, group }, level) {
  const text = ` ${service} ${version}${group?.member ? `, ${group.member}` : ""}`;
  if (instance.textContent.includes(text) && instance.dataset.level === level) return;
  instance.dataset.level = level;
  instance.replaceChildren(mark(level, WORDS[level]), text);
}

let before = null;

const metrics = () => ask("/metrics", { as: "operator", accept: "text/plain" });
repeat(SECONDS, async () => {
  const reading = async () => read((await metrics()).text, performance.now());
  const draw = (current) => {
    drawFigures(current, before);
    drawRefused(current);
    noticed(current.sum("dead_letters_total"));
    before = current;
  };
  const error = await show(document.getElementById("figures"), reading, draw);
  // Both sections are of the same answer.
  if (error)
    await show(
      document.getElementById("refused"),
      () => Promise.reject(error),
      () => {},
    );
  return error;
});

const button = document.getElementById("pause");
button.addEventListener("click", () => {
  const isPaused = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", `${isPaused}`);
  pause(isPaused);
});
