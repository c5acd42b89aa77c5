-- Row-level security: the reader sees the rows of one user alone, whom it names by `set turnlog.principal`. A session of
-- somebody else, of nobody, or one that was deleted has no rows for it. The application sees all rows, and so does the
-- owner of the tables, who is not held by this.

do $body$
declare
    its_own constant text := $$user_id = nullif(current_setting('turnlog.principal', true), '') and not deleted$$;
    only_own constant boolean := {only_own};
    found record;
begin
    if only_own and exists (
        select from pg_catalog.pg_roles where rolname = {reader_literal} and (rolsuper or rolbypassrls
        or pg_has_role(oid, {owner_literal}, 'member') or pg_has_role(oid, {application_literal}, 'member'))
    ) then
        raise exception 'row-level security does not hold for the role %: it is a superuser, has BYPASSRLS, or is a '
            'member of % or %', {reader_literal}, {owner_literal}, {application_literal}
            using errcode = 'invalid_grant_operation';
    end if;
    for found in
        select t.name, t.session, c.relrowsecurity as is_on
        from (values {of_a_session}) as t (name, session) join pg_catalog.pg_class c on c.oid = t.name::regclass
    loop
        if only_own then
            -- A policy has the name of its role, so that those of several applications and readers are side by side.
            execute format('drop policy if exists %I on %s', {application_literal}, found.name);
            execute format('drop policy if exists %I on %s', {reader_literal}, found.name);
            execute format('create policy %1$I on %2$s to %1$I using (true)', {application_literal}, found.name);
            execute format(
                'create policy %1$I on %2$s for select to %1$I using (%3$s)', {reader_literal}, found.name,
                -- As an array it is asked for once, and the rows are found by the index.
                case when found.name = {sessions_literal} then its_own else format(
                    '%I = any (array(select session_id from %s where %s))', found.session, {sessions_literal}, its_own
                ) end
            );
            execute format('alter table %s enable row level security', found.name);
        elsif found.is_on then
            execute format('alter table %s disable row level security', found.name);
        end if;
    end loop;
end
$body$;
