// Posts that were refused in the last minute and since the start, with the reasons.

import { number, replace, state, table } from "./dom.js";
import { noticed } from "./rejections.js";

const section = document.getElementById("refused");
const MINUTE = 60_000;

const STATUSES = {
  400: "not valid",
  401: "no credential that is taken",
  403: "not allowed to this client",
  404: "no such path",
  405: "no such method",
  408: "sent too slowly",
  413: "too large",
  415: "not JSON",
  421: "for another host",
  429: "over a limit",
  431: "head too large",
  500: "a fault of the service",
  503: "not acknowledged by Kafka, or too much at a time",
};
const REASONS = {
  queue_full: "the queue for Kafka is full",
  circuit_open: "the broker's breaker is open",
  too_large: "too large for Kafka",
  refused: "Kafka refuses the record",
  not_written: "Kafka did not take it in time",
  possibly_written: "no answer: perhaps written",
  stopping: "the instance stops",
};
const COUNTERS = [
  [
    "http_requests_total",
    { method: (method) => ["POST", "other"].includes(method), status: (status) => Number(status) >= 400 },
    ({ route, status }) => [
      route === "other" ? "not a request, or no known path" : route,
      `${status}: ${STATUSES[status] ?? "refused"}`,
    ],
  ],
  ["producer_errors_total", {}, ({ topic, reason }) => [topic, REASONS[reason] ?? reason]],
];

let readings = [];

/** Draws what a reading of the metrics counts, against the one of a minute ago. */
export function draw(now) {
  readings = readings.filter((reading) => now.continues(reading) && now.at - reading.at <= MINUTE);
  const before = readings[0];
  readings.push(now);
  const rows = COUNTERS.flatMap(([name, wanted, words]) =>
    now
      .series(name, wanted)
      .filter(({ value }) => value > 0)
      .map(({ labels, value }) => {
        const recent = before ? value - before.sum(name, labels) : 0;
        return { recent, value, cells: [...words(labels), number(recent), number(value)] };
      }),
  );
  noticed(rows.reduce((sum, { value }) => sum + value, 0));
  if (rows.length === 0) {
    state(section, "empty", "None since this instance started.");
    return;
  }
  rows.sort((one, other) => other.recent - one.recent);
  const cells = rows.map((row) => row.cells);
  replace(section.querySelector(".content"), JSON.stringify(cells), () =>
    table(
      "Answers to POST, and events that Kafka did not acknowledge.",
      ["Where", "Why", "Last minute", "Since the start"],
      cells,
    ),
  );
  state(section, "ready");
}
