-- Additive only: a server of the release before goes on working on this schema.

ALTER TABLE keys ADD COLUMN expires_ms INTEGER;
ALTER TABLE keys ADD COLUMN sessions_max INTEGER;
ALTER TABLE keys ADD COLUMN memory_mib_max INTEGER;
ALTER TABLE keys ADD COLUMN creations_per_minute_max INTEGER;

-- Which server runs it. Rows of the release before have none: they belong to whoever opens the file.
ALTER TABLE sandboxes ADD COLUMN node TEXT NOT NULL DEFAULT '';

ALTER TABLE sessions ADD COLUMN node TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN memory_bytes INTEGER NOT NULL DEFAULT 0;
-- Set while a `running` session is paused.
ALTER TABLE sessions ADD COLUMN paused_ms INTEGER;
ALTER TABLE sessions ADD COLUMN end_detail TEXT;
ALTER TABLE sessions ADD COLUMN memory_peak_bytes INTEGER;
ALTER TABLE sessions ADD COLUMN log_tail TEXT;

CREATE INDEX sandboxes_by_node ON sandboxes (node);
CREATE INDEX tickets_by_session ON tickets (session_id);

-- What webhooks are told. Written with what it tells of, removed when it was delivered.
CREATE TABLE events (
    id              TEXT PRIMARY KEY,
    session_id      TEXT NOT NULL,
    key_id          TEXT NOT NULL,
    kind            TEXT NOT NULL,
    body            TEXT NOT NULL,
    created_ms      INTEGER NOT NULL,
    next_attempt_ms INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX events_by_attempt ON events (next_attempt_ms);
