// Prometheus' text format, and what lies between two readings.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** A reading of `/metrics`: by name, each series with its labels and its value. */
export function read(text, at) {
  const families = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = SAMPLE.exec(line) ?? [];
    if (!name) continue;
    const series = {
      labels: Object.fromEntries([...labels.matchAll(LABEL)].map(([, label, of]) => [label, of])),
      value: Number(value),
    };
    families.set(name, [...(families.get(name) ?? []), series]);
  }
  return new Reading(families, at);
}

class Reading {
  constructor(families, at) {
    this.families = families;
    this.at = at; // milliseconds
  }

  /** The series of a name whose labels are these; each wanted label is a value, or a test of it. */
  series(name, wanted = {}) {
    const fits = (value, test) => (typeof test === "function" ? test(value) : value === test);
    return (this.families.get(`highwater_${name}`) ?? this.families.get(name) ?? []).filter(({ labels }) =>
      Object.entries(wanted).every(([label, test]) => fits(labels[label], test)),
    );
  }

  sum(name, wanted) {
    return this.series(name, wanted).reduce((sum, { value }) => sum + value, 0);
  }

  /** The same process as that of another reading: its counters go on from there. */
  continues(other) {
    const start = "process_start_time_seconds";
    return Boolean(other) && this.at > other.at && this.sum(start) === other.sum(start);
  }

  /** The growth of a counter since an earlier reading, a second. */
  rate(name, wanted, since) {
    return Math.max(0, this.sum(name, wanted) - since.sum(name, wanted)) / ((this.at - since.at) / 1000);
  }

  /** About the values of a histogram, at these parts of all that came since an earlier reading; null where none came. */
  quantiles(name, wanted, since, parts) {
    const bounds = new Map();
    for (const [reading, sign] of [
      [this, 1],
      [since, -1],
    ]) {
      for (const { labels, value } of reading.series(`${name}_bucket`, wanted)) {
        const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
        bounds.set(bound, (bounds.get(bound) ?? 0) + sign * value);
      }
    }
    const buckets = [...bounds].sort(([one], [other]) => one - other);
    const all = buckets.at(-1)?.[1] ?? 0;
    return all > 0 ? parts.map((part) => within(buckets, part * all)) : null;
  }
}

/** Where so many values are passed, as if they were spread evenly in their bucket. */
function within(buckets, rank) {
  let below = [0, 0];
  for (const [bound, count] of buckets) {
    if (count >= rank && count > below[1]) {
      return bound === Infinity ? below[0] : below[0] + (bound - below[0]) * ((rank - below[1]) / (count - below[1]));
    }
    below = [bound, count];
  }
  return below[0];
}
