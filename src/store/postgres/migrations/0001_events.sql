-- The state of each partition of the topic. A process that writes a partition's events locks its row.
CREATE TABLE partitions (
    partition integer PRIMARY KEY,
    topic     text NOT NULL,
    -- Kafka's id of the topic that `base` is for: a topic that is deleted and made again has another.
    topic_id  uuid,
    -- Rises with each claim. A write that names an older one is refused.
    epoch     bigint NOT NULL DEFAULT 1,
    owner     text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    -- The position of a record is its offset plus this. It is 0 until the log is made anew or cut, so that positions
    -- rise whatever the log does.
    base      bigint NOT NULL DEFAULT 0,
    -- The position of the next record; null until it is known where to start.
    next      bigint,
    -- When the last batch was stored: it never goes back, whatever the clock does.
    stored_at timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 40);

CREATE TABLE events (
    partition   integer NOT NULL,
    position    bigint NOT NULL,
    id          uuid NOT NULL,
    -- Both as JSON escapes them: a backslash is two, and what text cannot hold has its place.
    user_id     text COLLATE "C" NOT NULL,
    -- In lower case: types are compared without case.
    event_type  text COLLATE "C" NOT NULL,
    occurred_at timestamptz NOT NULL,
    -- With the partition and the position, the order of events: the same for a batch.
    stored_at   timestamptz NOT NULL,
    event       json NOT NULL,
    PRIMARY KEY (partition, position),
    UNIQUE (id)
);

-- By hashes, since an index takes no text of more than 2,700 bytes.
CREATE INDEX events_of_user ON events (hashtextextended(user_id, 0), partition, position);
CREATE INDEX events_of_type ON events (hashtextextended(event_type, 0), partition, position);

-- A summary of 1,024 neighbours. A query by time passes over all of them at once, and a count is a sum.
CREATE TABLE blocks (
    partition integer NOT NULL,
    block     bigint NOT NULL,
    earliest  timestamptz NOT NULL,
    latest    timestamptz NOT NULL,
    events    bigint NOT NULL,
    PRIMARY KEY (partition, block)
) WITH (fillfactor = 70);
