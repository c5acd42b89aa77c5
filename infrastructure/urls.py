"""The URLs of the servers: what of them may be shown, and what is refused before a driver sees it.

A driver repeats the part of a URL that it cannot read, and that part is often a piece of the password. So a URL whose
password is not percent-encoded is refused here, in words that repeat nothing of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

HIDDEN = "***"

_OPTION = r"\w*(?:pass|pwd|secret|token)\w*"
_SECRET_PARAMETER = re.compile(
    rf"([?&]{_OPTION}=)(.*?)(?=&\w+=|\s|$)"  # of a URL
    rf"|\b({_OPTION}\s*=\s*)('(?:[^'\\]|\\.)*'|(?:\\.|[^\s\\])*)",  # of a connection string
    re.IGNORECASE,
)
_USERINFO = re.compile(r"([a-z][\w+.-]*(?::/{1,2}|//))(.*)@", re.IGNORECASE | re.DOTALL)
_PLAIN_USER = re.compile(r"[\w.%-]*")
_PORTS = re.compile(r"(?:\[[^\]]*\]|[^:\[\]]*)(?::\d*)?")
_SCHEME = re.compile(r"((?:jdbc:)?[a-z][\w+.-]*)://", re.IGNORECASE)

_ENCODE = "has a character in its user or password that must be percent-encoded: @ is %40, / is %2F, ? is %3F, # is %23"


_SET_SCHEMA = "set TURNLOG_DATABASE_SCHEMA instead"
_OWN_POOL = "leave it out, turnlog keeps a pool of its own"
_SEES_POOLERS = "leave it out, turnlog sees a pooler by itself"
_OF_OTHERS = {
    "schema": _SET_SCHEMA,
    "currentschema": _SET_SCHEMA,
    "search_path": _SET_SCHEMA,
    "sslaccept": "write sslmode=require instead",
    "sslidentity": "write sslcert and sslkey instead",
    "timeout": "write connect_timeout instead",
    "connecttimeout": "write connect_timeout instead",
    "charset": "leave it out, turnlog speaks UTF-8",
    "encoding": "leave it out, turnlog speaks UTF-8",
    "connection_limit": _OWN_POOL,
    "pool_timeout": _OWN_POOL,
    "pool_size": _OWN_POOL,
    "max_overflow": _OWN_POOL,
    "pool_mode": _SEES_POOLERS,
    "pgbouncer": _SEES_POOLERS,
    "prepared_statements": _SEES_POOLERS,
    "preparethreshold": _SEES_POOLERS,
    "prepared_statement_cache_size": _SEES_POOLERS,
    "statement_cache_size": _SEES_POOLERS,
    "command_timeout": "set TURNLOG_STORE_TIMEOUT_SECONDS instead",
    "server_settings": "write options=-c%20name=value instead",
}
"""Options of other libraries, in lower case, and what to do about each."""


class SecretUrl(str):
    """A URL that shows itself without its password. As a `str` it is whole."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(masked(self))


def masked(text: str) -> str:
    """The text without the passwords of connection URLs and connection strings. It rather hides too much: what stands
    between the scheme of a URL and the last @ may all be password."""
    return _USERINFO.sub(_without_password, _SECRET_PARAMETER.sub(lambda found: _name_of(found) + HIDDEN, text))


def _name_of(found: re.Match[str]) -> str:
    return found[1] or found[3]


def _without_password(found: re.Match[str]) -> str:
    scheme, userinfo = found.groups()
    user, colon, _ = userinfo.partition(":")
    if user and not (scheme.lower().startswith("postgres") and _PLAIN_USER.fullmatch(user)):
        user = HIDDEN  # the whole of it may be a token, as in URLs of Redis
    return f"{scheme}{user}{f':{HIDDEN}' if colon else ''}@"


def without_secrets(text: str, url: str) -> str:
    """What a driver says about the URL, without the passwords that are in it."""
    shown = masked(url)
    for secret in sorted(set(_secrets(url)), key=len, reverse=True):
        # What stands elsewhere in the URL too, such as a password that is the user's name, is no secret by itself.
        if secret and secret not in shown:
            text = text.replace(secret, HIDDEN)
    return masked(text)


def _secrets(url: str) -> Iterator[str]:
    for _, userinfo in _USERINFO.findall(url):
        user, colon, password = userinfo.partition(":")
        yield from (raw := password if colon else user, unquote(raw))
    for found in _SECRET_PARAMETER.finditer(url):
        value = found[2] or found[4] or ""
        yield from (value, unquote(value), value.strip("'"))


def fault_of_database_url(url: str) -> str | None:
    """Why this is no URL (or keyword string) that libpq would read as it is meant. None where nothing is wrong."""
    if url != url.strip():
        return "begins or ends with white space"
    match = _SCHEME.match(url)
    if match is None:
        return None if "=" in url or not url else "is not a URL of Postgres: it begins with postgresql://"
    scheme, rest = match[1].lower(), url[match.end() :]
    if scheme not in {"postgresql", "postgres"}:
        return _fault_of_scheme(scheme)
    authority, path, query = _split(rest, "/?")
    if authority.count("@") > 1 or "@" in path or not _are_hosts(authority.rpartition("@")[2]):
        return _ENCODE
    options = (option.partition("=")[0] for option in query.split("&"))
    return next(
        (
            f"has the option `{name}`, which is another library's: {_OF_OTHERS[name.lower()]}"
            for name in options
            if name.lower() in _OF_OTHERS
        ),
        None,
    )


def _fault_of_scheme(scheme: str) -> str:
    if scheme.startswith("jdbc:"):
        return "is a URL of JDBC: write postgresql://user:password@host/database"
    if scheme.partition("+")[0] in {"postgresql", "postgres"}:
        return f"is a URL of SQLAlchemy: write postgresql:// instead of {scheme}://"
    return f"is not a URL of Postgres: it begins with postgresql://, and not with {scheme}://"


def fault_of_redis_url(url: str) -> str | None:
    """Why this is no URL that redis-py would read as it is meant. None where nothing is wrong."""
    if url != url.strip():
        return "begins or ends with white space"
    match = _SCHEME.match(url)
    if match is None or match[1].lower() not in {"redis", "rediss", "unix"}:
        return "is not a URL of Redis: it begins with redis://, rediss:// or unix://"
    if match[1].lower() == "unix":
        return None
    authority, path, query = _split(url[match.end() :], "/?#")
    is_odd = "@" in path or ("@" in query and "=" not in query.partition("@")[0])
    return _ENCODE if is_odd or not _are_hosts(authority.rpartition("@")[2]) else None


def _split(rest: str, ends: str) -> tuple[str, str, str]:
    """The authority, the path and the query of what follows the scheme."""
    at = next((number for number, character in enumerate(rest) if character in ends), len(rest))
    path, _, query = rest[at:].partition("?")
    return rest[:at], path, query


def _are_hosts(hosts: str) -> bool:
    """Whether each is a host with or without a port. What follows the colon is else a piece of a password."""
    return all(_PORTS.fullmatch(host) for host in hosts.split(","))
