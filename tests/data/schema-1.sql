-- What version 1 of the schema was, for a search_path that leads to it. Never edited.

create table if not exists turnlog_events (
    originator_id uuid not null,
    originator_version bigint not null,
    topic text not null,
    state bytea not null,
    notification_id bigint not null,
    primary key (originator_id, originator_version)
) with (
    -- Rows are only ever inserted: vacuum has nothing to remove and may wait, but the planner wants fresh numbers.
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

create index if not exists turnlog_sessions_user on turnlog_sessions (user_id, updated_at desc, session_id)
    where not deleted;

create index if not exists turnlog_sessions_all on turnlog_sessions (updated_at desc, session_id)
    where not deleted;

-- What was accepted under which client id, so that a retry is known however old the first delivery is.
create table if not exists turnlog_keys (
    session_id uuid not null,
    key bytea not null,
    value text not null,
    primary key (session_id, key)
);

-- Appends a batch: events with the lines of the lists and the keys that go with them. Returns the last notification
-- id. One call, so that a commit is one round trip.
create or replace function turnlog_events_append(
    ids uuid[], positions bigint[], topics text[], states bytea[],
    session_ids uuid[], user_ids text[], titles bytea[], starts timestamptz[], updates timestamptz[],
    versions bigint[], deletes boolean[],
    key_session_ids uuid[], keys bytea[], key_values text[]
) returns bigint language plpgsql as $body$
declare
    last bigint;
begin
    perform set_config('lock_timeout', '4000', true);
    -- The lock keeps notification ids in commit order and without a gap; readers are not held up by it.
    lock table turnlog_events in exclusive mode;
    select coalesce(max(notification_id), 0) into last from turnlog_events;
    insert into turnlog_events (originator_id, originator_version, topic, state, notification_id)
    select id, position, topic, state, last + number
    from unnest(ids, positions, topics, states) with ordinality as row (id, position, topic, state, number);
    if session_ids is not null then
        insert into turnlog_sessions as t
            (session_id, user_id, title, started_at, updated_at, version, deleted)
        select * from unnest(session_ids, user_ids, titles, starts, updates, versions, deletes)
        on conflict (session_id) do update set
            user_id = excluded.user_id, title = excluded.title, updated_at = excluded.updated_at,
            version = excluded.version, deleted = excluded.deleted
        where t.version < excluded.version;
    end if;
    if key_session_ids is not null then
        insert into turnlog_keys as t (session_id, key, value)
        select * from unnest(key_session_ids, keys, key_values)
        on conflict (session_id, key) do update set value = excluded.value;
    end if;
    notify turnlog_events;
    return last + cardinality(ids);
end
$body$;

-- The kept view: one row a closed turn, and a head with all the rest. Derived from the events, and droppable.
create table if not exists turnlog_heads (
    session_id uuid primary key,
    view_schema integer not null,
    position bigint not null,
    body bytea not null
) with (fillfactor = 50);

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

insert into turnlog_schema (version) values (1) on conflict do nothing;
