-- name: reach
-- The service's role may look into the schema of the tables.
GRANT USAGE ON SCHEMA {schema} TO {role}

-- name: read
-- It reads everything.
GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}

-- name: write
-- It adds rows.
GRANT INSERT ON ALL TABLES IN SCHEMA {schema} TO {role}

-- name: change
-- It changes projections, the epoch and the lease; the journal's triggers it can neither drop nor
-- disable, since it owns nothing.
GRANT UPDATE ON {tables} TO {role}

-- name: forget
-- Of snapshots the last two are kept. Old records are pruned by the owner.
GRANT DELETE ON snapshots TO {role}

-- name: changed
-- The tables whose rows change.
SELECT string_agg(tablename, ', ') FROM pg_tables
WHERE schemaname = current_schema() AND tablename IN (
    'meta', 'accounts', 'intents', 'trades', 'breakers', 'snapshots', 'leader_lease',
    'control_stops')

-- name: quoted
-- A role's name as it stands in a statement, and the schema that our tables are in.
SELECT quote_ident(?), quote_ident(current_schema())

-- name: owns
-- Whether this role could drop the journal's triggers.
SELECT pg_has_role(tableowner, 'USAGE') FROM pg_tables
WHERE tablename = 'journal' AND schemaname = current_schema()

-- name: triggers
-- Those that keep the journal append-only, and fire for everybody.
SELECT count(*) FROM pg_trigger
WHERE tgrelid = CAST('journal' AS REGCLASS) AND NOT tgisinternal AND tgenabled = 'A'
