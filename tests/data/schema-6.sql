-- What version 6 of the schema was, for a search_path that leads to it. Never edited.

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

-- Since version 3: a random number of the commit that stored the event; null in events of before. After a restore or a
-- failover the log may give out its positions again, but never this number. So an event and all before it are known by
-- the position and this number.
alter table turnlog_events add column if not exists commit_id bigint;

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

-- Since version 2: the writer of the open step, and since version 4 of the turn in hand; null where neither is.
alter table turnlog_sessions add column if not exists writer text;

create index if not exists turnlog_sessions_writer on turnlog_sessions (writer) where writer is not null;

-- Since version 4: how far the latest turn is; the turn with an owner that somebody has to go on with, and since when its
-- owner, or its last one, has had it; how many calls wait for a pending result or for a decision. All four are null where
-- they are not known: in lines of older versions, and where a process of one wrote last.
alter table turnlog_sessions
    add column if not exists turn_status text,
    add column if not exists unfinished_turn text,
    add column if not exists turn_since timestamptz,
    add column if not exists waiting_calls bigint;

create index if not exists turnlog_sessions_unfinished on turnlog_sessions (session_id)
    where unfinished_turn is not null;

create index if not exists turnlog_sessions_waiting on turnlog_sessions (session_id)
    where waiting_calls > 0;

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

-- Since version 6: every list has an index in its order, so that each page of it reads its own lines. A list is asked for
-- in such a way that no index of another list can be taken: the planner would, where it believes that many lines there
-- are of this list too, and would read all those that are not. So this one is for whoever says `version > 0`, which is so
-- for every line, and the names of user and status are one key.
create index if not exists turnlog_sessions_newest on turnlog_sessions (updated_at desc, session_id)
    where not deleted and version > 0;

create index if not exists turnlog_sessions_by_status on turnlog_sessions
    (turn_status, updated_at desc, session_id) where not deleted and turn_status is not null;

create index if not exists turnlog_sessions_user_status on turnlog_sessions
    ((user_id || ':' || turn_status), updated_at desc, session_id) where not deleted and turn_status is not null;

create index if not exists turnlog_sessions_user_ids on turnlog_sessions (user_id, session_id)
    where not deleted and octet_length(user_id) > 0;

-- Of older versions.
drop index if exists turnlog_sessions_status, turnlog_sessions_all;

-- What was accepted under the ids of clients, so that a retry is known however old the first delivery is. The primary key
-- is what keeps an id from being accepted twice.
create table if not exists turnlog_keys (
    session_id uuid not null,
    key bytea not null,
    value text not null,
    primary key (session_id, key)
);

-- Gives the log positions. Since version 2; before that they were given under a lock of the table.
create sequence if not exists turnlog_events_positions;

-- Nobody appends while the sequence is set: its last position is read and written in two steps.
select pg_advisory_xact_lock('turnlog_events_positions'::regclass::oid::integer, 0);

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

-- Appends a batch: events, with the lines of the lists and the keys that go with them. It is one call, so that a commit
-- is one round trip. Returns the last log position; or stores nothing and returns
--   -1 where an id that may be accepted once was accepted before,
--   -2 where the commit before it, or an event that it rests on, is not there: the log went back, and an append would
--      leave a gap.
-- Fails as where a log position is taken, where the sequence lags the log: a reader of the whole log that has come
-- further would never see what is stored behind it.
-- Every lock ends with the transaction.
create or replace function turnlog_events_append(
    ids uuid[], positions bigint[], topics text[], states bytea[],
    session_ids uuid[], user_ids text[], titles bytea[], starts timestamptz[], updates timestamptz[],
    versions bigint[], deletes boolean[], writers text[],
    turn_statuses text[], unfinished_turns text[], turn_sinces timestamptz[], waiting_counts bigint[],
    key_session_ids uuid[], keys bytea[], key_values text[], key_onces boolean[],
    base_ids uuid[], base_positions bigint[], base_commit_ids bigint[],
    last_position bigint, last_commit_id bigint, commit_id bigint
) returns bigint language plpgsql as $body$
declare
    last bigint;
begin
    perform set_config('lock_timeout', '4000', true);
    -- Each question is a subquery of a row: so it is a look into an index, whatever the planner thinks of the arrays.
    if last_position > 0 and last_commit_id is distinct from (
        select e.commit_id from turnlog_events e where e.notification_id = last_position
    ) then
        return -2;
    end if;
    if base_ids is not null and exists (
        select from unnest(base_ids, base_positions, base_commit_ids) as base (id, position, number)
        where base.number is distinct from (
            select coalesce(e.commit_id, 0) from turnlog_events e
            where e.originator_id = base.id and e.originator_version = base.position
        )
    ) then
        return -2;
    end if;
    if key_session_ids is not null and exists (
        select from unnest(key_session_ids, keys, key_onces) as row (id, key, once)
        where once and (select true from turnlog_keys t where t.session_id = row.id and t.key = row.key)
    ) then
        return -1;
    end if;
    -- No lock that other writers wait for is held until the commit: see `settled` for what readers do.
    perform pg_advisory_xact_lock_shared(
        'turnlog_events'::regclass::oid::integer,
        (case when is_called then last_value & 2147483647 else 0 end)::integer
    ) from turnlog_events_positions;
    -- The log positions of the batch, which are given out to one append at a time. The block is rolled back, and with it
    -- goes its lock; the sequence and the variable stay as they are. However the append ends, the lock is not left.
    begin
        perform pg_advisory_xact_lock('turnlog_events_positions'::regclass::oid::integer, 0);
        -- Setting a sequence is logged, and taking its next number only once in 32 times.
        last := nextval('turnlog_events_positions');
        if cardinality(ids) > 1 then
            last := setval('turnlog_events_positions', last + cardinality(ids) - 1);
        end if;
        raise exception using errcode = 'TLOK1';
    exception when sqlstate 'TLOK1' then
        null;
    end;
    -- Where these positions follow on the caller's last ones, nothing is beyond them. Elsewhere the index is asked for an
    -- event beyond the sequence, which is read after the snapshot was taken: all that is there was given out by then.
    if last - cardinality(ids) <> last_position then
        if last - cardinality(ids) < last_position or (
            select e.notification_id from turnlog_events e
            where e.notification_id > (select last_value from turnlog_events_positions)
            order by e.notification_id limit 1
        ) is not null then
            raise unique_violation using
                message = 'the sequence of the log positions lags the log', constraint = 'turnlog_events_notification_id_idx';
        end if;
    end if;
    insert into turnlog_events (originator_id, originator_version, topic, state, notification_id, commit_id)
    select id, position, topic, state, last - cardinality(ids) + number, turnlog_events_append.commit_id
    from unnest(ids, positions, topics, states) with ordinality as row (id, position, topic, state, number);
    if session_ids is not null then
        insert into turnlog_sessions as t (
            session_id, user_id, title, started_at, updated_at, version, deleted, writer,
            turn_status, unfinished_turn, turn_since, waiting_calls
        )
        select * from unnest(
            session_ids, user_ids, titles, starts, updates, versions, deletes, writers,
            turn_statuses, unfinished_turns, turn_sinces, waiting_counts
        )
        on conflict (session_id) do update set
            user_id = excluded.user_id, title = excluded.title, updated_at = excluded.updated_at,
            version = excluded.version, deleted = excluded.deleted, writer = excluded.writer,
            turn_status = excluded.turn_status, unfinished_turn = excluded.unfinished_turn,
            turn_since = excluded.turn_since, waiting_calls = excluded.waiting_calls
        where t.version < excluded.version;
    end if;
    if key_session_ids is not null then
        -- An id that another transaction has just taken fails here.
        insert into turnlog_keys (session_id, key, value)
        select id, key, value from unnest(key_session_ids, keys, key_values, key_onces) as row (id, key, value, once)
        where once;
        insert into turnlog_keys as t (session_id, key, value)
        select id, key, value from unnest(key_session_ids, keys, key_values, key_onces) as row (id, key, value, once)
        where once is not true
        on conflict (session_id, key) do update set value = excluded.value;
    end if;
    return last;
end
$body$;

-- The same, as processes of version 3 call it: they know nothing of how far a turn is, and what was known before does not
-- hold any more.
create or replace function turnlog_events_append(
    ids uuid[], positions bigint[], topics text[], states bytea[],
    session_ids uuid[], user_ids text[], titles bytea[], starts timestamptz[], updates timestamptz[],
    versions bigint[], deletes boolean[], writers text[],
    key_session_ids uuid[], keys bytea[], key_values text[], key_onces boolean[],
    base_ids uuid[], base_positions bigint[], base_commit_ids bigint[],
    last_position bigint, last_commit_id bigint, commit_id bigint
) returns bigint language plpgsql as $body$
begin
    return turnlog_events_append(
        ids, positions, topics, states, session_ids, user_ids, titles, starts, updates, versions, deletes, writers,
        null, null, null, null,
        key_session_ids, keys, key_values, key_onces, base_ids, base_positions, base_commit_ids,
        last_position, last_commit_id, commit_id
    );
end
$body$;

-- The same, as processes of version 2 call it: every key may be written again, and nothing is asked of what was before.
create or replace function turnlog_events_append(
    ids uuid[], positions bigint[], topics text[], states bytea[],
    session_ids uuid[], user_ids text[], titles bytea[], starts timestamptz[], updates timestamptz[],
    versions bigint[], deletes boolean[], writers text[],
    key_session_ids uuid[], keys bytea[], key_values text[]
) returns bigint language plpgsql as $body$
begin
    return turnlog_events_append(
        ids, positions, topics, states, session_ids, user_ids, titles, starts, updates, versions, deletes, writers,
        key_session_ids, keys, key_values, null, null, null, null, 0, 0, floor(random() * 2::double precision ^ 62)::bigint
    );
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
        array_fill(null::text, array[coalesce(cardinality(session_ids), 0)]), key_session_ids, keys, key_values
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

-- Since version 6: of a long session the heads of before, one in so many events: with the pages that have not changed since,
-- one is the view of then.
create table if not exists turnlog_marks (
    session_id uuid not null,
    position bigint not null,
    view_schema integer not null,
    body bytea not null,
    primary key (session_id, position)
);

-- Since version 6: what decisions about a session rest on, as of a position. Whoever appends keeps it now and then, so that
-- whoever opens the session reads only what came since, also where nobody has read its view. Derived, and droppable.
create table if not exists turnlog_states (
    session_id uuid primary key,
    state_schema integer not null,
    position bigint not null,
    body bytea not null
) with (fillfactor = 50);

create table if not exists turnlog_schema (
    only_row boolean primary key default true check (only_row),
    version integer not null,
    log_id uuid not null default gen_random_uuid(),
    created_at timestamptz not null default now()
);

-- Since version 3: with which entries of the cache are signed. Who can write to Redis alone does not know it.
alter table turnlog_schema add column if not exists cache_secret bytea not null
    default decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex');

insert into turnlog_schema as t (version) values (6)
on conflict (only_row) do update set version = greatest(t.version, excluded.version);
