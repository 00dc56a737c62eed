-- Times are Unix milliseconds. Secrets are SHA-256 digests of random values of 32 bytes or more.

CREATE TABLE keys (
    id                       TEXT PRIMARY KEY,
    name                     TEXT NOT NULL,
    secret_hash              BYTEA NOT NULL,
    created_ms               BIGINT NOT NULL,
    revoked_ms               BIGINT,
    expires_ms               BIGINT,
    sessions_max             BIGINT,
    memory_mib_max           BIGINT,
    creations_per_minute_max BIGINT
);
-- A name is free again once its key is revoked.
CREATE UNIQUE INDEX keys_by_name ON keys (name) WHERE revoked_ms IS NULL;

-- What exists on a server or is being made. A row is written before the first system call and removed after the last
-- trace is gone, so a restart finds everything.
CREATE TABLE sandboxes (
    id         TEXT PRIMARY KEY,
    node       TEXT NOT NULL,
    image      TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('making', 'ready', 'claimed', 'ending')),
    created_ms BIGINT NOT NULL
);
CREATE INDEX sandboxes_by_node ON sandboxes (node);

-- A session keeps its row after its end, so that its id can be answered with the reason.
CREATE TABLE sessions (
    id                TEXT PRIMARY KEY,
    key_id            TEXT NOT NULL REFERENCES keys (id),
    node              TEXT NOT NULL,
    image             TEXT NOT NULL,
    sandbox_id        TEXT NOT NULL UNIQUE,
    policy            TEXT,
    idle_timeout_ms   BIGINT NOT NULL,
    memory_bytes      BIGINT NOT NULL,
    state             TEXT NOT NULL CHECK (state IN ('running', 'ending', 'ended')),
    -- Set while a `running` session is paused.
    paused_ms         BIGINT,
    end_reason        TEXT,
    end_detail        TEXT,
    memory_peak_bytes BIGINT,
    log_tail          TEXT,
    generation        BIGINT NOT NULL DEFAULT 0,
    created_ms        BIGINT NOT NULL,
    ended_ms          BIGINT
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
    hash       BYTEA PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX tickets_by_expiry ON tickets (expires_ms);
CREATE INDEX tickets_by_session ON tickets (session_id);

-- What webhooks are told. Written with what it tells of, removed when it was delivered.
CREATE TABLE events (
    id              TEXT PRIMARY KEY,
    session_id      TEXT NOT NULL,
    key_id          TEXT NOT NULL,
    kind            TEXT NOT NULL,
    body            TEXT NOT NULL,
    created_ms      BIGINT NOT NULL,
    next_attempt_ms BIGINT NOT NULL,
    attempts        BIGINT NOT NULL DEFAULT 0
);
CREATE INDEX events_by_attempt ON events (next_attempt_ms);
