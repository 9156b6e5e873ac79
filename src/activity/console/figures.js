// Events a second in and out, how long an acknowledgement takes, and the lag, over the last minutes.

import { SPAN, chart } from "./chart.js";
import { state } from "./dom.js";

const section = document.getElementById("figures");
/** The routes whose answer follows Kafka's acknowledgement of one event. */
const POSTS = { method: "POST", route: (route) => ["/events/generate", "/api/events"].includes(route) };

const charts = [
  ["Events a second", "/s", ["in", "out"]],
  ["Acknowledgement of a POST", "ms", ["median", "99th percentile"]],
  ["Lag", "events", ["all partitions"]],
].map((of) => chart(...of));
section.querySelector(".content").append(...charts.map(({ figure }) => figure));

const history = charts.map(() => []);

/** Adds a reading of the metrics to the charts; `before` is the one before it. */
export function draw(now, before) {
  if (!now.continues(before)) {
    // Another process: what it counts begins anew.
    history.forEach((of, place) => push(of, Array(place === 2 ? 1 : 2).fill(null)));
    return;
  }
  // Dead letters have a producer of their own, and a topic that nothing here consumes.
  const topic = now.series("consumer_records_total")[0]?.labels.topic ?? "";
  const rate = (name) => now.rate(name, { topic }, before);
  const seconds = now.quantiles("http_request_duration_seconds", POSTS, before, [0.5, 0.99]);
  push(history[0], [rate("producer_records_total"), rate("consumer_records_total")]);
  push(history[1], seconds?.map((value) => 1000 * value) ?? [null, null]);
  push(history[2], [now.sum("consumer_lag")]);
  charts.forEach(({ draw: line }, place) => {
    line(history[place][0].map((_, series) => history[place].map((values) => values[series])));
  });
  state(section, "ready");
}

function push(kept, values) {
  kept.push(values);
  if (kept.length > SPAN) kept.shift();
}
