-- The last erasure of each user in each partition: no record before it is stored again.
CREATE TABLE erasures (
    partition integer NOT NULL,
    -- SHA-256 of the userId as JSON escapes it.
    user_hash bytea NOT NULL,
    -- Kafka's id of the topic that the marker is in.
    topic_id  uuid,
    -- The offset of the erasure's marker.
    marker    bigint NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (partition, user_hash)
);
