-- The ids of events that the retention has deleted: a copy of such an event is known as one, for good.
CREATE TABLE departed (
    id          uuid PRIMARY KEY,
    departed_at timestamptz NOT NULL DEFAULT now()
);
