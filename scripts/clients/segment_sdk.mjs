// Segment's and RudderStack's SDKs for Node, with WRITE_KEY, through a proxy that loses answers.  segment_sdk.mjs LOSSY SERVICE
import assert from "node:assert";
import Rudder from "@rudderstack/rudder-sdk-node";
import { Analytics } from "@segment/analytics-node";

const [lossy, service] = process.argv.slice(2);
const { WRITE_KEY, READ_KEY } = process.env;
const reading = { headers: { "x-api-key": READ_KEY } };
const count = async (user) => (await (await fetch(`${service}/api/events/user/${user}`, reading)).json()).count;
const stored = async (user, expected) => {
  for (const end = Date.now() + 30_000; (await count(user)) < expected && Date.now() < end; );
  assert.equal(await count(user), expected, user);
};

const errors = [];
const segment = new Analytics({ writeKey: WRITE_KEY, host: lossy, flushAt: 20, maxRetries: 5 });
segment.on("error", (error) => errors.push(error));
for (let number = 0; number < 50; number++) segment.track({ userId: "node", event: "Bought", properties: { number } });
segment.identify({ userId: "node", traits: { plan: "free" } });
segment.page({ anonymousId: "anonymous", name: "Home" });
segment.group({ userId: "node", groupId: "g" });
segment.alias({ userId: "node", previousId: "old" });
segment.screen({ userId: "node", name: "Screen" });
await segment.closeAndFlush({ timeout: 30_000 });
assert.deepEqual(errors, []);
await stored("node", 54);
await stored("anonymous", 1);

const rudder = new (Rudder.default ?? Rudder)(WRITE_KEY, { dataPlaneUrl: lossy, flushAt: 10, gzip: true });
for (let number = 0; number < 25; number++) rudder.track({ userId: "rudder", event: "Bought", properties: { number } });
await new Promise((done) => rudder.flush(done));
await stored("rudder", 25);
process.exit(0);
