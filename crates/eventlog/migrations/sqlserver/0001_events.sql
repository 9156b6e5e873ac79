-- One row an event; the row is what makes the event exist.
--
-- sequence tells events of one timestamp apart and grows with each row; ids would not do, as SQL Server sorts them
-- by their last bytes first. The collation compares code points, so that neither case nor accents make two users
-- one. details_bytes is the length of what DynamoDB keeps, 0 where the event has no details.
CREATE TABLE dbo.events (
    sequence BIGINT IDENTITY(1, 1) NOT NULL,
    event_id UNIQUEIDENTIFIER NOT NULL,
    user_id NVARCHAR(512) COLLATE Latin1_General_BIN2 NOT NULL,
    event_type NVARCHAR(256) COLLATE Latin1_General_BIN2 NOT NULL,
    occurred_at DATETIME2(3) NOT NULL,
    details_bytes INT NOT NULL,
    CONSTRAINT pk_events PRIMARY KEY CLUSTERED (sequence),
    CONSTRAINT uq_events_event_id UNIQUE NONCLUSTERED (event_id)
);
GO
-- A user's events, the newest first: the listing reads this index alone.
CREATE INDEX ix_events_user_time ON dbo.events (user_id, occurred_at DESC, sequence DESC)
    INCLUDE (event_id, event_type, details_bytes);
GO
-- The same of one type.
CREATE INDEX ix_events_user_type_time ON dbo.events (user_id, event_type, occurred_at DESC, sequence DESC)
    INCLUDE (event_id, details_bytes);
