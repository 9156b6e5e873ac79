// CloudEvents' SDK for JavaScript posts in each mode and reads its events back, with WRITE_KEY and READ_KEY.  cloudevents_sdk.mjs ADDRESS
import assert from "node:assert";
import { CloudEvent, HTTP, Mode, emitterFor, httpTransport } from "cloudevents";

const base = process.argv[2];
const written = { "x-api-key": process.env.WRITE_KEY };
const reading = { "x-api-key": process.env.READ_KEY };
const attributes = { type: "com.example.login", source: "/js", subject: "bob", comexample: "x", data: { n: 1, list: [1, 2] } };
for (const make of [HTTP.binary, HTTP.structured]) {
  for (const id of [undefined, `js-${make.name}`]) {
    const message = make(new CloudEvent(id ? { ...attributes, id } : attributes));
    const answer = await fetch(`${base}/events/generate`, { method: "POST", headers: { ...message.headers, ...written }, body: message.body });
    assert.equal(answer.status, 201);
    const { eventId } = await answer.json();
    const read = await (await fetch(`${base}/events/processed/${eventId}?wait=10s`, { headers: reading })).json();
    assert.equal(read.userId, "bob");
  }
}
await emitterFor(httpTransport(`${base}/events/generate`), { mode: Mode.STRUCTURED })(new CloudEvent(attributes), { headers: written });
const listing = async () => {
  const answer = await fetch(`${base}/events/processed?userId=bob`, { headers: { ...reading, accept: "application/cloudevents-batch+json" } });
  return HTTP.toEvent({ headers: { "content-type": answer.headers.get("content-type") }, body: await answer.text() });
};
let events = await listing();
for (const end = Date.now() + 10_000; events.length < 5 && Date.now() < end; events = await listing());
assert.equal(events.length, 5);
for (const event of events) {
  event.validate();
  assert.deepEqual(event.data, attributes.data);
  assert.equal(event.subject, attributes.subject);
  assert.equal(event.comexample, "x");
}
