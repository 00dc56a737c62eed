-- Additive only: a server of the release before goes on working on this schema. It takes every ticket for a whole one.

-- Names a ticket that was made to be shared; it is no secret. NULL: the URL that a session's owner gets.
ALTER TABLE tickets ADD COLUMN id TEXT;
-- What its holder may do. NULL: everything.
ALTER TABLE tickets ADD COLUMN rights TEXT;
-- What its holder is called, for people to see.
ALTER TABLE tickets ADD COLUMN name TEXT;
-- A revoked ticket has expired too, for servers that know of nothing else.
ALTER TABLE tickets ADD COLUMN revoked_ms BIGINT;
CREATE UNIQUE INDEX tickets_by_id ON tickets (id) WHERE id IS NOT NULL;
