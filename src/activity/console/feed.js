// Where events come from: the newest as they come, and those that are searched for.

import { ask, repeat } from "./client.js";

const LINES = "application/x-ndjson";
const PAGE = 50;
/** How many pages of newest events are read at a time; where more came, some are passed over. */
const PAGES = 4;

/**
 * Follows the events: `take` gets those that are new, in the order of processing, and whether some were passed over between
 * them and the ones before; `fail` gets the error, and may return it to be patient with. It asks for the newest page, and goes
 * back by its cursor to what it knows. A stream of events (EventSource) can take its place with the same two functions.
 */
export function follow({ take, fail }) {
  let known = null;
  return repeat(1, async () => {
    try {
      const newest = [];
      let meets = false;
      let path = `/events/processed?order=desc&limit=${PAGE}`;
      for (let page = 0; path && !meets && page < PAGES; page += 1) {
        const found = await events(path);
        const fresh = found.events.filter(({ eventId }) => !known?.has(eventId));
        meets = fresh.length < found.events.length;
        newest.push(...fresh);
        // At first one page is enough.
        path = known && known.size > 0 ? found.next : null;
      }
      const missed = Boolean(known?.size) && !meets && newest.length > 0;
      if (newest.length > 0)
        known = new Set([...newest.map(({ eventId }) => eventId), ...(meets ? known : [])].slice(0, PAGE * PAGES));
      known ??= new Set();
      take(newest.reverse(), missed);
    } catch (error) {
      return fail(error);
    }
  });
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
