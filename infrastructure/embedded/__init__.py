"""A real Postgres and a real Valkey in a data directory, for when no DATABASE_URL / REDIS_URL is given.

One pair per data directory, shared by everyone who opens it. Nobody keeps a list of process ids: such lists go
wrong when a process is killed or the machine restarts. The kernel keeps count instead, in four locked files
(flock, which ends with the process that holds it, however that process ends)::

    start.lock            held alone while servers are started or stopped
    users.lock            shared by every opener; whoever can have it alone is the last one out
    postgres/alive.lock   handed to the server, whose processes all inherit it: held exactly as long as one of
    valkey/alive.lock     them lives, so whatever else lies there (pid files, sockets) is stale by proof

Linux and macOS. Import this package only when an embedded server is wanted: it needs fcntl.
"""

from turnlog.infrastructure.embedded.servers import EmbeddedServers, Servers, default_data_dir

__all__ = ["EmbeddedServers", "Servers", "default_data_dir"]
