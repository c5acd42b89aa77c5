-- name: schema_version
select version, log_id from {schema}.turnlog_schema

-- name: server_time
select clock_timestamp()

-- name: cache_secret
select cache_secret from {schema}.turnlog_schema

-- name: append
select {schema}.{append}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26)

-- name: find_key
select value from {schema}.turnlog_keys where session_id = %b and key = %b

-- name: taken_keys
select t.session_id, t.key
from unnest(%b::uuid[], %b::bytea[]) as wanted (session_id, key)
join {schema}.turnlog_keys t on t.session_id = wanted.session_id and t.key = wanted.key

-- name: stored_at
select e.originator_id, e.originator_version, coalesce(e.commit_id, 0)
from unnest(%b::uuid[], %b::bigint[], %b::bigint[]) as wanted (id, first, last)
join {schema}.{events} e on e.originator_id = wanted.id and e.originator_version between wanted.first and wanted.last

-- name: read_session
select originator_version, notification_id, topic, state, coalesce(commit_id, 0) from {schema}.{events}
where originator_id = %b and originator_version > %b and originator_version <= %b
order by originator_version limit %b

-- name: read_sessions
-- The event at the position `after` comes as well, without its body: it says whether the reader's past is the log's.
select e.originator_id, e.originator_version, e.notification_id, e.topic, e.body, coalesce(e.commit_id, 0)
from unnest(%b::uuid[], %b::bigint[]) as wanted (id, after) cross join lateral (
    select *, case when originator_version > wanted.after then state end as body from {schema}.{events}
    where originator_id = wanted.id and originator_version >= wanted.after
    order by originator_version limit %b
) as e
order by e.originator_id, e.originator_version

-- name: last_of_topics
select originator_version, topic, state from {schema}.{events}
where originator_id = %b and topic = any(%b::text[]) order by originator_version desc limit %b

-- name: fold_session
select page.events, page.packed, last.state, coalesce(last.commit_id, 0), base.commit_id
from (
    -- With a comma between two, as in a JSON list. A text delta is cut off at its first comma, so that its time is gone;
    -- every other event has a line of its own. text_lane.py reads it.
    select count(*) as events, string_agg(
        case topic when {text_delta} then substr(state, position(','::bytea in state) + 1)
        else '\x0a'::bytea || convert_to(topic, 'UTF8') || ' '::bytea || state || '\x0a'::bytea end,
        ','::bytea
    ) as packed
    from (
        select topic, state from {schema}.{events}
        where originator_id = %b and originator_version > %b and originator_version <= %b
        order by originator_version limit %b
    ) as event
) as page
left join {schema}.{events} as last on last.originator_id = %b and last.originator_version = %b + page.events
left join lateral (
    select coalesce(commit_id, 0) as commit_id from {schema}.{events}
    where originator_id = %b and originator_version = %b
) as base on true

-- name: standings
-- The arrays come through subqueries so that the planner guesses their length in every case alike. It then keeps one
-- plan; else it would plan each time anew, which takes four times as long as the answer.
select array(
    select int8send(coalesce(last.position, 0)) || int8send(coalesce(last.commit_id, 0))
        || int8send(coalesce(base.commit_id, -1))
        || case
            when line.deleted or last.position is null then '\x00'::bytea
            when line.deleted is null then '\x03'::bytea
            when line.user_id is null then '\x01'::bytea
            else '\x02'::bytea || convert_to(line.user_id, 'UTF8')
        end
    from unnest((select $1::uuid[]), (select $2::bigint[])) with ordinality as asked (id, base, number)
    left join lateral (
        select originator_version as position, commit_id from {schema}.{events} where originator_id = asked.id
        order by originator_version desc limit 1
    ) last on true
    left join lateral (
        select coalesce(commit_id, 0) as commit_id from {schema}.{events}
        where originator_id = asked.id and originator_version = asked.base limit 1
    ) base on true
    left join lateral (
        select user_id, deleted from {schema}.turnlog_sessions where session_id = asked.id limit 1
    ) line on true
    order by number
)

-- name: by_index
-- For the transaction: what follows is read in the order of an index, and no further than it is needed. Whatever the
-- planner thinks of how many lines there are: it would read all of a user whom it believes to have few, to sort them.
select set_config('enable_seqscan', 'off', true), set_config('enable_bitmapscan', 'off', true),
    set_config('enable_sort', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true)

-- name: session_ids
select session_id from {schema}.turnlog_sessions where not deleted and session_id > %b order by session_id limit %b

-- name: session_ids_of_user
select session_id from {schema}.turnlog_sessions
where not deleted and octet_length(user_id) > 0 and user_id = %b::text and session_id > %b
order by session_id limit %b

-- name: unfinished_turns
select s.session_id, s.user_id, s.unfinished_turn, s.turn_status, s.turn_since, s.writer, w.host, w.pid, w.expires_at,
    coalesce(w.expires_at > clock_timestamp(), false)
from {schema}.turnlog_sessions s left join {schema}.turnlog_writers w on w.writer_id = s.writer
where s.unfinished_turn is not null and (%b::boolean or s.user_id = %b::text) and s.turn_status = any(%b::text[])
    and s.session_id > %b
order by s.session_id limit %b

-- name: waiting_sessions
select session_id from {schema}.turnlog_sessions
where waiting_calls > 0 and (%b::boolean or user_id = %b::text) and session_id > %b
order by session_id limit %b

-- name: fill_in_line
-- Only a process of an older version leaves them all null.
update {schema}.turnlog_sessions
set turn_status = %b, unfinished_turn = %b, turn_since = %b, waiting_calls = %b
where session_id = %b and version <= %b and waiting_calls is null and not deleted
returning true

-- name: begin_lease
insert into {schema}.turnlog_writers (writer_id, expires_at, host, pid)
values (%b, clock_timestamp() + make_interval(secs => %b::float8), %b, %b)
on conflict (writer_id) do update set expires_at = excluded.expires_at
returning true

-- name: renew_lease
update {schema}.turnlog_writers set expires_at = clock_timestamp() + make_interval(secs => %b::float8)
where writer_id = %b and expires_at > clock_timestamp()
returning true

-- name: drop_lease
delete from {schema}.turnlog_writers where writer_id = %b returning true

-- name: leases
with held as materialized (
    -- The lock waits for a renewal that is under way: a writer is gone only when no renewal can come any more.
    select writer_id, host, pid, expires_at from {schema}.turnlog_writers where writer_id = any(%b::text[]) for share
)
select writer_id, host, pid, expires_at, extract(epoch from expires_at - clock_timestamp())::float8 from held

-- name: lapsed
select s.session_id, s.writer, w.host, w.pid, w.expires_at
from {schema}.turnlog_sessions s left join {schema}.turnlog_writers w on w.writer_id = s.writer
where s.writer is not null and s.session_id > %b and (w.writer_id is null or w.expires_at <= clock_timestamp())
order by s.session_id limit %b

-- name: clear_writer
update {schema}.turnlog_sessions set writer = null where session_id = %b and writer = %b returning true

-- name: forget_leases
delete from {schema}.turnlog_writers w where w.expires_at < clock_timestamp() - interval '1 day'
and not exists (select from {schema}.turnlog_sessions s where s.writer = w.writer_id)
returning true

-- name: load_state
with kept as materialized (
    select position, body from {schema}.turnlog_states where session_id = %b and state_schema = %b
)
select false as is_head, body from kept
union all
select true, h.body from {schema}.turnlog_heads h
where h.session_id = %b and h.view_schema = %b and not exists (select from kept k where k.position + %b >= h.position)

-- name: save_state
insert into {schema}.turnlog_states as t (session_id, state_schema, position, body)
values (%b, %b, %b, %b)
on conflict (session_id) do update set
    state_schema = excluded.state_schema, position = excluded.position, body = excluded.body
where (t.state_schema, t.position) < (excluded.state_schema, excluded.position)
returning true

-- name: drop_state
delete from {schema}.turnlog_states where session_id = %b returning true

-- name: read_state_events
-- The event at the position `after` comes as well: it says whether the reader's past is the log's. It and those that
-- change no state come without their bodies.
select originator_version, coalesce(commit_id, 0), topic,
    case when originator_version > %b and topic <> all(%b::text[]) then state end
from {schema}.{events}
where originator_id = %b and originator_version >= %b
order by originator_version limit %b

-- name: load_kept
with head as materialized (
    select session_id, body, closed_turns from {schema}.turnlog_heads where session_id = %b and view_schema = %b
)
select -1 as turn, closed_turns, body from head
union all
select p.turn, 0, p.body from head join {schema}.turnlog_pages p using (session_id)
where p.turn >= closed_turns - %b and p.turn < closed_turns
order by turn

-- name: load_pages
select turn, 0, body from {schema}.turnlog_pages where session_id = %b and turn >= %b and turn < %b order by turn

-- name: load_pages_of_head
select h.position, h.closed_turns, p.turn, p.body
from (select session_id, position, closed_turns from {schema}.turnlog_heads where session_id = %b and view_schema = %b) h
left join {schema}.turnlog_pages p on p.session_id = h.session_id and p.turn >= %b and p.turn < %b
order by p.turn

-- name: lock_head
select view_schema, position, closed_turns from {schema}.turnlog_heads where session_id = %b for update

-- name: save_head
insert into {schema}.turnlog_heads as t (session_id, view_schema, position, closed_turns, body)
values (%b, %b, %b, %b, %b)
on conflict (session_id) do update set
    view_schema = excluded.view_schema, position = excluded.position, closed_turns = excluded.closed_turns,
    body = excluded.body
where (t.view_schema, t.position) < (excluded.view_schema, excluded.position)

-- name: save_mark
insert into {schema}.turnlog_marks as t (session_id, position, view_schema, body) values (%b, %b, %b, %b)
on conflict (session_id, position) do update set view_schema = excluded.view_schema, body = excluded.body
where t.view_schema < excluded.view_schema

-- name: load_mark
select position, body from (
    select position, body from {schema}.turnlog_marks
    where session_id = %b and view_schema = %b and position <= %b order by position desc limit 1
) mark
union all
select position, body from {schema}.turnlog_heads where session_id = %b and view_schema = %b and position <= %b
order by position desc limit 1

-- name: save_pages
insert into {schema}.turnlog_pages (session_id, turn, body)
select %b, turn, body from unnest(%b::integer[], %b::bytea[]) as page (turn, body)
on conflict (session_id, turn) do update set body = excluded.body

-- name: find_prefixes
-- Of each: those that do not go on yet, the one that goes on as is asked for, and any other one. Each in the order of its
-- index, because many conversations may begin alike.
select wanted.number, found.session_id, found.position, found.system, found.next
from unnest(%b::bytea[]) with ordinality as wanted (fingerprint, number) cross join lateral (
    (select session_id, position, system, next from {schema}.turnlog_prefixes p
    where p.fingerprint = wanted.fingerprint and p.next is null order by p.next, p.session_id desc limit %b)
    union all
    (select session_id, position, system, next from {schema}.turnlog_prefixes p
    where p.fingerprint = wanted.fingerprint and p.next = %b order by p.next, p.session_id desc limit 1)
    union all
    (select session_id, position, system, next from {schema}.turnlog_prefixes p
    where p.fingerprint = wanted.fingerprint and p.next is not null order by p.session_id desc limit 1)
) as found

-- name: claim_prefix
update {schema}.turnlog_prefixes set next = %b
where fingerprint = %b and session_id = %b and (next is null or next = %b) returning true

-- name: keep_prefixes
insert into {schema}.turnlog_prefixes (fingerprint, session_id, position, system, next)
select * from unnest(%b::bytea[], %b::uuid[], %b::bigint[], %b::bytea[], %b::bytea[])
on conflict (fingerprint, session_id) do update set position = excluded.position, next = excluded.next
returning true

-- name: drop_head
delete from {schema}.turnlog_heads where session_id = %b

-- name: drop_marks
delete from {schema}.turnlog_marks where session_id = %b

-- name: drop_pages
delete from {schema}.turnlog_pages where session_id = %b

-- name: statistics
select
    (select count(*) from {schema}.turnlog_sessions where not deleted) as sessions,
    (select coalesce(max(notification_id), 0) from {schema}.{events}) as events,
    (select count(*) from {schema}.turnlog_heads) as heads,
    (select count(*) from {schema}.turnlog_pages) as pages,
    pg_total_relation_size({events_literal}::regclass) as event_bytes,
    (select relrowsecurity from pg_class where oid = {events_literal}::regclass) as row_security,
    current_setting('server_version') as server_version,
    current_setting('fsync') as fsync,
    current_setting('synchronous_commit') as synchronous_commit

-- name: row_security
select relrowsecurity as is_on from pg_class where oid = {events_literal}::regclass

-- name: log_head
select {schema}.{settled}()

-- name: log_end
select case when is_called then last_value else 0 end from {schema}.{positions}

-- name: hold_positions
select pg_advisory_xact_lock({positions_literal}::regclass::oid::integer, 0)

-- name: mend_positions
select setval({positions_literal}, greatest(last_value, (select max(notification_id) from {schema}.{events})))
from {schema}.{positions}

-- name: read_log
select notification_id, originator_id, originator_version, topic, state, found
from (
    select *, sum(octet_length(state)) over (order by notification_id) - octet_length(state) as bytes_before,
        count(*) over () as found
    from (
        select notification_id, originator_id, originator_version, topic, state from {schema}.{events}
        where notification_id > %b and notification_id <= %b and topic = any(%b::text[])
        order by notification_id limit %b
    ) page
) measured
where bytes_before < %b
order by notification_id

-- name: lags
select t.application_name, t.notification_id, head.position, next.topic, next.state
from {schema}.turnlog_tracking t
cross join {schema}.{settled}() as head (position)
left join lateral (
    select topic, state from {schema}.{events} e where e.notification_id > t.notification_id
    order by e.notification_id limit 1
) next on true
order by t.application_name
