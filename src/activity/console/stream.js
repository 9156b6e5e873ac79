// Server-sent events by fetch(): EventSource sends no credential.

import { connect } from "./client.js";

/** A stream that had begun has broken. */
export class Broken extends Error {}

/** How long a stream may be silent before it is taken for gone; the service says something each 15 seconds. */
const SILENCE = 40_000; // milliseconds

/** The data of a stream's messages, in arrays of those that came together; the first, when it has begun, is empty. */
export async function* messages(path, options, stop) {
  const gone = new AbortController();
  const reader = (await connect(path, options, AbortSignal.any([stop, gone.signal]))).body
    .pipeThrough(new TextDecoderStream())
    .getReader();
  yield [];
  let text = "";
  try {
    for (;;) {
      const timer = setTimeout(() => gone.abort(), SILENCE);
      const { value, done } = await reader.read().finally(() => clearTimeout(timer));
      if (done) return;
      const whole = (text + value).split("\n\n");
      text = whole.pop();
      const found = whole.filter((message) => !message.startsWith("event:")).flatMap(data);
      if (found.length > 0) yield found;
    }
  } catch (error) {
    throw new Broken("The stream has broken.", { cause: error });
  } finally {
    reader.cancel().catch(() => {});
  }
}

const data = (message) => [...message.matchAll(/^data: (.*)$/gm)].map(([, value]) => value);
