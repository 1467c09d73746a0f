-- Stands in for the functions of TimescaleDB that our schema calls, so that its text and the
-- store's flow can be tried where the extension is missing. It proves nothing about TimescaleDB:
-- no chunk, compression, policy or refresh happens here. Each call is written down.

CREATE TABLE shim_calls (at bigserial, call text NOT NULL);

CREATE FUNCTION create_hypertable(
    relation regclass, time_column_name name, chunk_time_interval bigint,
    create_default_indexes boolean
) RETURNS void LANGUAGE sql AS $$
    INSERT INTO shim_calls (call) VALUES (format('hypertable %s %s %s', $1, $2, $3))
$$;

CREATE FUNCTION set_integer_now_func(hypertable regclass, integer_now_func regproc)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO shim_calls (call) VALUES (format('now %s %s', $1, $2))
$$;

CREATE FUNCTION add_compression_policy(hypertable regclass, compress_after bigint)
RETURNS integer LANGUAGE sql AS $$
    INSERT INTO shim_calls (call) VALUES (format('compress %s %s', $1, $2)) RETURNING 1
$$;

CREATE FUNCTION add_continuous_aggregate_policy(
    continuous_aggregate regclass, start_offset bigint, end_offset bigint,
    schedule_interval interval
) RETURNS integer LANGUAGE sql AS $$
    INSERT INTO shim_calls (call) VALUES (format('aggregate %s %s %s', $1, $2, $3)) RETURNING 1
$$;

CREATE FUNCTION time_bucket(bucket_width bigint, ts bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$ SELECT ts - ts % bucket_width $$;

CREATE FUNCTION shim_first(numeric[], numeric, bigint) RETURNS numeric[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN $1 IS NULL OR $3 < $1[2] THEN ARRAY[$2, $3] ELSE $1 END
$$;
CREATE FUNCTION shim_last(numeric[], numeric, bigint) RETURNS numeric[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN $1 IS NULL OR $3 >= $1[2] THEN ARRAY[$2, $3] ELSE $1 END
$$;
CREATE FUNCTION shim_value(numeric[]) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$ SELECT $1[1] $$;
CREATE AGGREGATE first(numeric, bigint) (
    sfunc = shim_first, stype = numeric[], finalfunc = shim_value
);
CREATE AGGREGATE last(numeric, bigint) (
    sfunc = shim_last, stype = numeric[], finalfunc = shim_value
);

CREATE FUNCTION drop_chunks(relation regclass, older_than bigint)
RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('DELETE FROM %s WHERE venue_ns < %s', relation, older_than);
    INSERT INTO shim_calls (call) VALUES (format('drop %s %s', relation, older_than));
    RETURN NEXT 'chunk';
END $$;

-- It commits, as TimescaleDB's own does, and so fails inside a transaction.
CREATE PROCEDURE refresh_continuous_aggregate(
    continuous_aggregate regclass, window_start bigint, window_end bigint
) LANGUAGE plpgsql AS $$
BEGIN
    COMMIT;
    INSERT INTO shim_calls (call)
    VALUES (format('refresh %s %s %s', continuous_aggregate, window_start, window_end));
END $$;
