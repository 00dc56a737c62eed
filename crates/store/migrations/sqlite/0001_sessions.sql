-- Times are Unix milliseconds. Secrets are SHA-256 digests of random values of 32 bytes or more.

CREATE TABLE keys (
    id          TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    secret_hash BLOB NOT NULL,
    created_ms  INTEGER NOT NULL,
    revoked_ms  INTEGER
);
-- A name is free again once its key is revoked.
CREATE UNIQUE INDEX keys_by_name ON keys (name) WHERE revoked_ms IS NULL;

-- What exists on this machine or is being made. A row is written before the first system call and removed after the
-- last trace is gone, so a restart finds everything.
CREATE TABLE sandboxes (
    id         TEXT PRIMARY KEY,
    image      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('making', 'ready', 'claimed', 'ending')),
    created_ms INTEGER NOT NULL
);

-- A session keeps its row after its end, so that its id can be answered with the reason.
CREATE TABLE sessions (
    id              TEXT PRIMARY KEY,
    key_id          TEXT NOT NULL REFERENCES keys (id),
    image           TEXT NOT NULL,
    sandbox_id      TEXT NOT NULL UNIQUE,
    policy          TEXT,
    idle_timeout_ms INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('running', 'ending', 'ended')),
    end_reason      TEXT,
    generation      INTEGER NOT NULL DEFAULT 0,
    created_ms      INTEGER NOT NULL,
    ended_ms        INTEGER
);
CREATE INDEX sessions_by_key ON sessions (key_id, state, created_ms, id);
CREATE INDEX sessions_by_state ON sessions (state);

CREATE TABLE labels (
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    PRIMARY KEY (session_id, key)
);
CREATE INDEX labels_by_value ON labels (key, value);

-- Live view tickets. Expired ones stay a while, so that the page can say "expired" and not "unknown".
CREATE TABLE tickets (
    hash       BLOB PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
);
CREATE INDEX tickets_by_expiry ON tickets (expires_ms);
