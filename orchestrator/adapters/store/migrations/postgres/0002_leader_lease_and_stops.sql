-- Who leads, and the emergency stops that stand: what nodes of one system tell each other.
-- Neither is a part of the journal; whoever leads writes down there what came of them.

-- One row for ever. Its renewals touch nothing that an append touches; the epoch stands in meta.
CREATE TABLE leader_lease (
    one        boolean PRIMARY KEY DEFAULT true CHECK (one),
    node       text NOT NULL DEFAULT '',  -- a state folder on its machine
    holder     text NOT NULL DEFAULT '',  -- one life of a process of that node; '': nobody
    address    text NOT NULL DEFAULT '',  -- where its API is
    renewals   bigint NOT NULL DEFAULT 0, -- grows with each taking and each renewal
    expires_at timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO leader_lease DEFAULT VALUES;

-- The latch of SAFETY 5.3 as all nodes see it. A row without ended_at closes every gate.
CREATE TABLE control_stops (
    stop_id   text PRIMARY KEY,
    node      text NOT NULL,
    actor     text NOT NULL,
    reason    text NOT NULL,
    liquidate boolean NOT NULL,
    accounts  text[] NOT NULL,            -- none: all
    closed_ns bigint NOT NULL,
    joined_to text NOT NULL DEFAULT '',   -- the stop by whose resume this one ends as well
    receipt   text NOT NULL DEFAULT '',   -- how far the leader has come
    raised_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at  timestamptz,
    ended_by  text NOT NULL DEFAULT ''
);
CREATE INDEX control_stops_standing ON control_stops (raised_at) WHERE ended_at IS NULL;
