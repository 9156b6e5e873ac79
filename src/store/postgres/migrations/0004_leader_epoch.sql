-- The leader epoch of the record before `next`, where it is known: it tells whether the log still has what was read.
ALTER TABLE partitions ADD COLUMN leader_epoch integer;
