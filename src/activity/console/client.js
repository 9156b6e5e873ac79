// Requests to this service. Credentials are in this module's memory alone: none is stored, and none is in an address.

const PATIENCE = 10_000; // milliseconds

const held = { key: "", admin: "" };
const watchers = new Set();
let wasRefused = false;
/** Figures and group need the admin token. Elsewhere it is not sent with them: each request that has it is audited. */
let areGuarded = false;

/** Which credentials there are, and whether the last one was refused and is forgotten. */
export const holds = () => ({ key: held.key !== "", admin: held.admin !== "", wasRefused });

/** Takes credentials for the requests that follow; an empty one is forgotten. */
export function hold(credentials) {
  wasRefused = false;
  change(credentials);
}

function change(credentials) {
  Object.assign(held, credentials);
  watchers.forEach((told) => told());
}

/** Calls that function whenever the credentials change. */
export const onCredentials = (told) => watchers.add(told);

/** The service answered with a problem. */
export class Refusal extends Error {
  constructor(response, { title, detail = title ?? `status ${response.status}`, errors = [] }) {
    const fields = errors.map(({ field, message }) => `${field} ${message}`).filter((text) => !detail.includes(text));
    super([detail, ...fields].join("; "));
    this.status = response.status;
    this.scope = /scope="([^"]*)"/.exec(response.headers.get("www-authenticate") ?? "")?.[1];
  }

  /** Asking again changes nothing as long as the credentials are the same. */
  get isLasting() {
    return [401, 403, 404].includes(this.status);
  }
}

/** The service did not answer. */
export class NoAnswer extends Error {}

/**
 * The answer to a request: its text, and where the next page is. `as` says whose request it is: `nobody`'s, the
 * `client`'s, an `operator`'s, who is a client where that is enough, or an `admin`'s.
 */
export async function ask(path, options = {}) {
  // A redrive may take half of REQUEST_TIMEOUT.
  const response = await connect(path, options, AbortSignal.timeout(options.body ? 6 * PATIENCE : PATIENCE));
  const text = await read(response);
  return { text, next: next(response), partitions: response.headers.get("highwater-partitions") ?? "" };
}

/** The answer to a request, whose body is still to be read. */
export async function connect(path, { as = "nobody", accept = "application/json", body }, signal) {
  const strong = held.admin ? "admin" : "key";
  const used = { nobody: null, client: "key", operator: areGuarded ? strong : "key", admin: strong }[as];
  const credential = used && held[used];
  const headers = { accept };
  if (credential) headers.authorization = `Bearer ${credential}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method: body ? "POST" : "GET",
      headers,
      body: body && JSON.stringify(body),
      cache: "no-store",
      credentials: "omit",
      signal,
    });
  } catch (error) {
    throw new NoAnswer("The service does not answer.", { cause: error });
  }
  if (!response.ok) {
    if (as === "operator" && [401, 403].includes(response.status)) areGuarded = true;
    // A credential that is not taken is not sent again: wrong ones are counted, and then none is looked at for a while.
    if (response.status === 401 && credential && held[used] === credential) {
      wasRefused = true;
      change({ [used]: "" });
    }
    throw new Refusal(response, problem(await read(response)));
  }
  return response;
}

async function read(response) {
  try {
    return await response.text();
  } catch (error) {
    throw new NoAnswer("The service does not answer.", { cause: error });
  }
}

/** The answer as JSON. */
export const askJson = async (path, options) => JSON.parse((await ask(path, options)).text);

function problem(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** The page after this one, as a Link header names it (RFC 8288). */
const next = (response) => /<([^>]*)>; rel="next"/.exec(response.headers.get("link") ?? "")?.[1] ?? null;

let isPaused = false;
const polls = new Set();

/** Stops asking, or goes on. */
export function pause(paused) {
  isPaused = paused;
  polls.forEach((poll) => poll());
}

/**
 * Does something now, and again so many seconds after it has ended, as long as the page is seen and not paused. Returns a
 * function that does it at once. A refused task is tried again a minute later, or with other credentials. A task that lasts
 * is told by a signal that the page is not seen any more, or paused, or has other credentials.
 */
export function repeat(seconds, task) {
  let timer = 0,
    isAtWork = false,
    isWanted = false,
    stop = new AbortController();
  const poll = async () => {
    clearTimeout(timer);
    isWanted = isAtWork;
    if (isPaused || document.hidden) stop.abort();
    if (isAtWork || isPaused || document.hidden) return;
    isAtWork = true;
    stop = new AbortController();
    let wait = seconds;
    try {
      const error = await task(stop.signal);
      if (error instanceof Refusal && error.isLasting) wait = 60;
    } finally {
      isAtWork = false;
      timer = setTimeout(poll, isWanted ? 0 : 1000 * wait);
    }
  };
  polls.add(poll);
  onCredentials(() => {
    stop.abort();
    poll();
  });
  poll();
  return poll;
}

document.addEventListener("visibilitychange", () => polls.forEach((poll) => poll()));
