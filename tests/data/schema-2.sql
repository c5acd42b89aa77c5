-- What version 2 of the schema was, for a search_path that leads to it. Never edited.

-- The schema of turnlog. Every statement can run again without harm. Running all of them is the upgrade from any older
-- version, whose processes can go on meanwhile.

create table if not exists turnlog_events (
    originator_id uuid not null,
    originator_version bigint not null,
    topic text not null,
    state bytea not null,
    notification_id bigint not null,
    primary key (originator_id, originator_version)
) with (
    -- Rows are only inserted: vacuum has nothing to remove and may wait, but the planner needs fresh numbers.
    autovacuum_vacuum_threshold = 100000000,
    autovacuum_vacuum_scale_factor = 0.5,
    autovacuum_analyze_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.01
);

create unique index if not exists turnlog_events_notification_id_idx on turnlog_events (notification_id);

create or replace function turnlog_refuse_change() returns trigger language plpgsql as $body$
begin
    raise exception 'events are immutable: % on % refused', tg_op, tg_table_name using errcode = 'restrict_violation';
end
$body$;

create or replace trigger turnlog_immutable before update or delete or truncate on turnlog_events
    for each statement execute function turnlog_refuse_change();

-- One line a session, for lists. Written in the transaction of the events that change it.
create table if not exists turnlog_sessions (
    session_id uuid primary key,
    user_id text,
    title bytea,
    started_at timestamptz not null,
    updated_at timestamptz not null,
    version bigint not null,
    deleted boolean not null
) with (fillfactor = 70);

-- Since version 2: the writer of the open step; null where no step is open.
alter table turnlog_sessions add column if not exists writer text;

create index if not exists turnlog_sessions_writer on turnlog_sessions (writer) where writer is not null;

-- Since version 2: the writers that may have steps open, and the time until which they count as alive. There is one row
-- a writer: its lease covers all its steps.
create table if not exists turnlog_writers (
    writer_id text primary key,
    expires_at timestamptz not null,
    host text not null,
    pid integer not null,
    started_at timestamptz not null default now()
) with (fillfactor = 50);

create index if not exists turnlog_sessions_user on turnlog_sessions (user_id, updated_at desc, session_id)
    where not deleted;

create index if not exists turnlog_sessions_all on turnlog_sessions (updated_at desc, session_id)
    where not deleted;

-- What was accepted under the ids of clients, so that a retry is known however old the first delivery is.
create table if not exists turnlog_keys (
    session_id uuid not null,
    key bytea not null,
    value text not null,
    primary key (session_id, key)
);

-- Gives the log positions. Since version 2; before that they were given under a lock of the table.
create sequence if not exists turnlog_events_positions;

select setval('turnlog_events_positions', given.last)
from (select max(notification_id) as last from turnlog_events) given, turnlog_events_positions next
where given.last >= next.last_value;

-- The log position up to which nothing new will appear. Until its commit, each append holds a shared advisory lock that
-- names a position before its own positions. So nothing is under way up to the lowest of the named positions, nor up to
-- the last position that was given out before the locks were read: in this order, or an append that begins in between
-- is missed.
create or replace function turnlog_events_settled() returns bigint language plpgsql as $body$
declare
    given bigint;
    before bigint;
begin
    select case when is_called then last_value else 0 end into given from turnlog_events_positions;
    -- A lock has room for 31 bits of the position. The other bits are those of the last position that was given out. It
    -- may be a little less than what the lock names, because it was read before.
    select min(given - ((given - objid::bigint + 1073741824) & 2147483647) + 1073741824) into before
    from pg_catalog.pg_locks
    where locktype = 'advisory' and classid = 'turnlog_events'::regclass::oid and objsubid = 2
    and database = (select oid from pg_catalog.pg_database where datname = current_database());
    return least(given, before);
end
$body$;

-- Appends a batch: events, with the lines of the lists and the keys that go with them. Returns the last log position. It
-- is one call, so that a commit is one round trip.
create or replace function turnlog_events_append(
    ids uuid[], positions bigint[], topics text[], states bytea[],
    session_ids uuid[], user_ids text[], titles bytea[], starts timestamptz[], updates timestamptz[],
    versions bigint[], deletes boolean[], writers text[],
    key_session_ids uuid[], keys bytea[], key_values text[]
) returns bigint language plpgsql as $body$
declare
    given record;
    last bigint;
begin
    perform set_config('lock_timeout', '4000', true);
    -- No lock that other writers wait for is held until the commit: see `settled` for what readers do.
    perform pg_advisory_xact_lock_shared(
        'turnlog_events'::regclass::oid::integer,
        (case when is_called then last_value & 2147483647 else 0 end)::integer
    ) from turnlog_events_positions;
    -- The log positions of the batch. It is one expression, so that nothing can end it while the lock is held.
    select pg_advisory_lock('turnlog_events_positions'::regclass::oid::integer, 0),
        setval('turnlog_events_positions', nextval('turnlog_events_positions') + cardinality(ids) - 1) as last,
        pg_advisory_unlock('turnlog_events_positions'::regclass::oid::integer, 0)
    into given;
    last := given.last - cardinality(ids);
    insert into turnlog_events (originator_id, originator_version, topic, state, notification_id)
    select id, position, topic, state, last + number
    from unnest(ids, positions, topics, states) with ordinality as row (id, position, topic, state, number);
    if session_ids is not null then
        insert into turnlog_sessions as t
            (session_id, user_id, title, started_at, updated_at, version, deleted, writer)
        select * from unnest(session_ids, user_ids, titles, starts, updates, versions, deletes, writers)
        on conflict (session_id) do update set
            user_id = excluded.user_id, title = excluded.title, updated_at = excluded.updated_at,
            version = excluded.version, deleted = excluded.deleted, writer = excluded.writer
        where t.version < excluded.version;
    end if;
    if key_session_ids is not null then
        insert into turnlog_keys as t (session_id, key, value)
        select * from unnest(key_session_ids, keys, key_values)
        on conflict (session_id, key) do update set value = excluded.value;
    end if;
    return last + cardinality(ids);
end
$body$;

-- The same, as processes of version 1 call it.
create or replace function turnlog_events_append(
    ids uuid[], positions bigint[], topics text[], states bytea[],
    session_ids uuid[], user_ids text[], titles bytea[], starts timestamptz[], updates timestamptz[],
    versions bigint[], deletes boolean[],
    key_session_ids uuid[], keys bytea[], key_values text[]
) returns bigint language plpgsql as $body$
begin
    return turnlog_events_append(
        ids, positions, topics, states, session_ids, user_ids, titles, starts, updates, versions, deletes,
        array_fill(null::text, array[cardinality(session_ids)]), key_session_ids, keys, key_values
    );
end
$body$;

-- Kept views: one row a closed turn, and a head with all the rest. They are derived from the events, and droppable.
create table if not exists turnlog_heads (
    session_id uuid primary key,
    view_schema integer not null,
    position bigint not null,
    body bytea not null
) with (fillfactor = 50);

-- Since version 2: the number of pages that belong to the head.
alter table turnlog_heads add column if not exists closed_turns integer not null default 0;

create table if not exists turnlog_pages (
    session_id uuid not null,
    turn integer not null,
    body bytea not null,
    primary key (session_id, turn)
);

alter table turnlog_heads alter column body set storage external;

alter table turnlog_pages alter column body set storage external;

create table if not exists turnlog_schema (
    only_row boolean primary key default true check (only_row),
    version integer not null,
    log_id uuid not null default gen_random_uuid(),
    created_at timestamptz not null default now()
);

insert into turnlog_schema as t (version) values (2)
on conflict (only_row) do update set version = greatest(t.version, excluded.version);
