-- With the type, so that of a user's events of other types no row is read; with hashes of four bytes, so that an entry takes no
-- more than before.
DROP INDEX events_of_user;
CREATE INDEX events_of_user ON events (hashtext(user_id), partition, position, hashtext(event_type));
