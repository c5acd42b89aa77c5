-- name: schema_version
select version, log_id from {schema}.turnlog_schema

-- name: append
select {schema}.{append}($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)

-- name: find_key
select value from {schema}.turnlog_keys where session_id = %b and key = %b

-- name: stored_at
select e.originator_id, e.originator_version, e.topic, e.state
from unnest(%b::uuid[], %b::bigint[], %b::bigint[]) as wanted (id, first, last)
join {schema}.{events} e on e.originator_id = wanted.id and e.originator_version between wanted.first and wanted.last

-- name: read_session
select originator_version, notification_id, topic, state from {schema}.{events}
where originator_id = %b and originator_version > %b and originator_version <= %b
order by originator_version limit %b

-- name: list_sessions
with mine as materialized (
    select session_id, user_id, title, started_at, updated_at, version
    from {schema}.turnlog_sessions
    where not deleted and (%b::boolean or user_id = %b::text)
), page as (
    select * from mine order by updated_at desc, session_id limit %b offset %b
)
select (select count(*) from mine) as total, page.*
from (select 1) as always left join page on true
order by page.updated_at desc, page.session_id

-- name: session_ids
select session_id from {schema}.turnlog_sessions
where not deleted and (%b::boolean or user_id = %b::text) and session_id > %b
order by session_id limit %b

-- name: load_head
select body from {schema}.turnlog_heads where session_id = %b and view_schema = %b

-- name: load_pages
select body from {schema}.turnlog_pages where session_id = %b order by turn

-- name: lock_head
select view_schema, position from {schema}.turnlog_heads where session_id = %b for update

-- name: save_head
insert into {schema}.turnlog_heads as t (session_id, view_schema, position, body) values (%b, %b, %b, %b)
on conflict (session_id) do update set
    view_schema = excluded.view_schema, position = excluded.position, body = excluded.body
where (t.view_schema, t.position) < (excluded.view_schema, excluded.position)

-- name: save_pages
insert into {schema}.turnlog_pages (session_id, turn, body)
select %b, turn, body from unnest(%b::integer[], %b::bytea[]) as page (turn, body)
on conflict (session_id, turn) do update set body = excluded.body

-- name: drop_head
delete from {schema}.turnlog_heads where session_id = %b

-- name: drop_pages
delete from {schema}.turnlog_pages where session_id = %b

-- name: statistics
select
    (select count(*) from {schema}.turnlog_sessions where not deleted) as sessions,
    (select coalesce(max(notification_id), 0) from {schema}.{events}) as events,
    (select count(*) from {schema}.turnlog_heads) as heads,
    (select count(*) from {schema}.turnlog_pages) as pages,
    pg_total_relation_size({events_literal}::regclass) as event_bytes,
    current_setting('server_version') as server_version,
    current_setting('fsync') as fsync,
    current_setting('synchronous_commit') as synchronous_commit

-- name: log_head
select coalesce(max(notification_id), 0) from {schema}.{events}

-- name: read_log
select notification_id, originator_id, originator_version, topic, state from {schema}.{events}
where notification_id > %b and notification_id <= %b and topic = any(%b::text[])
order by notification_id limit %b

-- name: lags
select t.application_name, t.notification_id, head.position, next.topic, next.state
from {schema}.turnlog_tracking t
cross join (select coalesce(max(notification_id), 0) as position from {schema}.{events}) head
left join lateral (
    select topic, state from {schema}.{events} e where e.notification_id > t.notification_id
    order by e.notification_id limit 1
) next on true
order by t.application_name
