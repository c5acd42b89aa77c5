-- The three roles of a log, and what each may do. Safe to repeat. Roles belong to the whole cluster; what they may do is
-- for one schema.

-- owner: makes and upgrades the tables. application: records and reads; makes no tables, and changes no events.
-- reader: looks at the tables, and changes nothing. Give those who log in a password, or a certificate.
do $body$
declare
    role text;
begin
    foreach role in array array[{owner_literal}, {application_literal}, {reader_literal}] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = role) then
                execute format('create role %I login', role);
            end if;
        exception when duplicate_object then null; -- somebody else has just made it
        end;
    end loop;
    if not pg_has_role(current_user, {owner_literal}, 'member') then
        execute format('grant %I to current_user', {owner_literal});
    end if;
end
$body$;

grant usage, create on schema {schema} to {owner};

grant usage on schema {schema} to {application}, {reader};

-- Everything of turnlog in the schema belongs to the owner.
do $body$
declare
    found record;
begin
    for found in
        select case relkind when 'S' then 'sequence' else 'table' end as kind, oid::regclass::text as name
        from pg_catalog.pg_class
        where relnamespace = {schema_literal}::regnamespace and relname like 'turnlog\_%' and relkind in ('r', 'p', 'S')
        and pg_get_userbyid(relowner) <> {owner_literal}
        union all
        select 'function', oid::regprocedure::text from pg_catalog.pg_proc
        where pronamespace = {schema_literal}::regnamespace and proname like 'turnlog\_%'
        and pg_get_userbyid(proowner) <> {owner_literal}
    loop
        execute format('alter %s %s owner to %I', found.kind, found.name, {owner_literal});
    end loop;
end
$body$;

-- Nothing is left of what was granted before. The tables of projections, and those that the owner makes later, can be
-- changed by the application; the grants after this one are for the tables of the log. With row-level security the reader
-- is granted only what row_security.sql guards, and learns nothing of how much the others have.
do $body$
declare
    only_own boolean := {only_own};
    found record;
begin
    for found in
        select oid::regclass::text as name, relname ~ '^turnlog_(projection_|tracking$)' as is_of_projection,
            oid in (select name::regclass from (values {of_a_session}) as t (name, session)) as is_of_a_session
        from pg_catalog.pg_class
        where relnamespace = {schema_literal}::regnamespace and relname like 'turnlog\_%' and relkind in ('r', 'p')
    loop
        execute format('revoke all on table %s from %I, %I', found.name, {application_literal}, {reader_literal});
        if found.is_of_a_session or not only_own then
            execute format('grant select on table %s to %I', found.name, {reader_literal});
        end if;
        if found.is_of_projection then
            execute format('grant select, insert, update, delete on table %s to %I', found.name, {application_literal});
        end if;
    end loop;
    for found in
        select oid::regprocedure::text as name from pg_catalog.pg_proc
        where pronamespace = {schema_literal}::regnamespace and proname like 'turnlog\_%'
    loop
        execute format('grant execute on function %s to %I, %I', found.name, {application_literal}, {reader_literal});
    end loop;
    revoke all on sequence {schema}.{positions} from {reader};
    alter default privileges for role {owner} in schema {schema} revoke select on tables from {reader};
    if not only_own then
        grant select on sequence {schema}.{positions} to {reader};
        alter default privileges for role {owner} in schema {schema} grant select on tables to {reader};
    end if;
end
$body$;

-- The secret with which entries of the cache are signed is not for the reader.
revoke select on {schema}.turnlog_schema from {reader};

grant select (only_row, version, log_id, created_at) on {schema}.turnlog_schema to {reader};

alter default privileges for role {owner} in schema {schema}
    grant select, insert, update, delete on tables to {application};
