// Where events come from: the newest as they come, and those that are searched for.

import { Refusal, ask, repeat } from "./client.js";
import { Broken, messages } from "./stream.js";

const LINES = "application/x-ndjson";
const PAGE = 50;
/** How many pages of newest events are read at a time; where more came, some are passed over. */
const PAGES = 4;

/**
 * Follows the events: `take` gets those that are new, in the order of processing, and whether some were passed over between
 * them and the ones before; `fail` gets the error, and may return it to be patient with. Each connection to the stream begins
 * with the newest pages, back to what is known: so it does not matter how long there was none.
 */
export function follow({ take, fail }) {
  let known = null;
  const note = (ids) => (known = new Set([...ids, ...(known ?? [])].slice(0, PAGE * PAGES)));
  const fresh = (found) => found.filter(({ eventId }) => !known?.has(eventId));
  return repeat(1, async (stop) => {
    try {
      for await (const lines of messages("/events/stream", { as: "client", accept: "text/event-stream" }, stop)) {
        // The first one says that the stream has begun: what is not in the pages comes with it.
        const { newest, missed } = lines.length ? { newest: fresh(lines.map(read)), missed: false } : await catchUp();
        note(newest.map(({ eventId }) => eventId).reverse());
        take(newest, missed);
      }
    } catch (error) {
      // A stream that had begun, or was left, is asked for again.
      const isOver = stop.aborted || error instanceof Broken;
      return isOver && !(error instanceof Refusal) ? undefined : fail(error);
    }
  });

  /** The newest events that are not known, in the order of processing, and whether there are more between them and those. */
  async function catchUp() {
    const newest = [];
    let meets = false;
    let path = `/events/processed?order=desc&limit=${PAGE}`;
    for (let page = 0; path && !meets && page < PAGES; page += 1) {
      const found = await events(path);
      const these = fresh(found.events);
      meets = these.length < found.events.length;
      newest.push(...these);
      // At first one page is enough.
      path = known?.size ? found.next : null;
    }
    return { newest: newest.reverse(), missed: Boolean(known?.size) && !meets && newest.length > 0 };
  }
}

/** A page of events: { events, next, whole }. */
export async function events(path) {
  const { text, next, partitions } = await ask(path, { as: "client", accept: LINES });
  return { events: text.split("\n").filter(Boolean).map(read), next, whole: !/whole=\?0/.test(partitions) };
}

/** A page of the events with these fields, the newest first. */
export function search({ userId, eventType }) {
  const wanted = Object.entries({ userId, eventType, order: "desc", limit: `${PAGE}` }).filter(([, value]) => value);
  return events(`/events/processed?${new URLSearchParams(wanted)}`);
}

/** One event, as a page of one. */
export const find = (eventId) => events(`/events/processed/${encodeURIComponent(eventId)}`);

/** An event. Its payload stays as it was written: 1.0 is not 1. It is the last field, and no quote within a string is bare. */
function read(text) {
  const { eventId, userId, eventType, timestamp } = JSON.parse(text);
  const mark = ',"payload":';
  return { eventId, userId, eventType, timestamp, payload: text.slice(text.indexOf(mark) + mark.length, -1) };
}
