"""The statements that list sessions. There is one for each filter, so that each has a plan of its own, by the index in
its order: whatever page it is, it reads the lines of that page."""

from __future__ import annotations

from psycopg.sql import SQL, Composable, Composed

# The page comes after the line with the time `at` and the id `after`. The order is down by the time and up by the id:
# so no one comparison of both says what comes after a line, and many may have its time. With several statuses each has
# its page, and the page of all is made of these. No more are counted than `count_to` (null: all), in the order of the
# index, so that no others are read.
_LIST = SQL("""
select (
    select count(*) from (
        select from {each_status} (
            select updated_at from {lines} order by updated_at desc, session_id limit asked.count_to
        ) line limit asked.count_to
    ) counted
) as total, page.*
from (
    select %b::text as user_id, %b::text[] as statuses, %b::timestamptz as at, %b::uuid as after, %b::bigint as size,
        %b::bigint as skipped, %b::bigint as count_to
) asked
left join lateral (
    select session_id, user_id, title, started_at, updated_at, version, turn_status
    from {each_status} (
        (select * from {lines} and updated_at = asked.at and session_id > asked.after
            order by session_id limit asked.size + asked.skipped)
        union all
        (select * from {lines} and updated_at < asked.at
            order by updated_at desc, session_id limit asked.size + asked.skipped)
    ) found
    order by updated_at desc, session_id limit asked.size offset asked.skipped
) page on true
order by page.updated_at desc, page.session_id
""")
_EACH_STATUS = SQL("unnest(asked.statuses) as wanted (status) cross join lateral")
_FILTERS = {
    (False, False): SQL("version > 0"),
    (True, False): SQL("user_id = asked.user_id"),
    (False, True): SQL("turn_status = wanted.status"),
    (True, True): SQL("user_id || ':' || turn_status = asked.user_id || ':' || wanted.status"),
}
"""By whether they are of a user and by status: each can be answered by its own index alone (see schema.sql)."""


def list_name(*, of_user: bool, by_status: bool) -> str:
    """The name of the statement for these filters."""
    return f"list_sessions{'_of_user' * of_user}{'_by_status' * by_status}"


def list_statements(schema: Composable) -> dict[str, Composed]:
    """All of them, by their names. Each has all parameters."""
    lines = SQL("{schema}.turnlog_sessions where not deleted and {filter}")
    return {
        list_name(of_user=of_user, by_status=by_status): _LIST.format(
            lines=lines.format(schema=schema, filter=wanted), each_status=_EACH_STATUS if by_status else SQL("")
        )
        for (of_user, by_status), wanted in _FILTERS.items()
    }
