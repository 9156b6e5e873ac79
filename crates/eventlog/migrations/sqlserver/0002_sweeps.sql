-- Until when a sweep has looked at everything. There are no events yet: the first sweep begins here.
CREATE TABLE dbo.sweeps (
    id INT NOT NULL,
    swept_until DATETIME2(3) NOT NULL,
    CONSTRAINT pk_sweeps PRIMARY KEY CLUSTERED (id),
    CONSTRAINT ck_sweeps_one CHECK (id = 1)
);
GO
INSERT INTO dbo.sweeps (id, swept_until) VALUES (1, SYSUTCDATETIME());
