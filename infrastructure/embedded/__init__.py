"""A real Postgres and a real Valkey in a data directory, for when DATABASE_URL or REDIS_URL is not set.

Each data directory has one pair of servers, which all processes that open the directory share. There is no list of
their process ids, because such a list goes wrong when a process is killed or the machine restarts. The kernel keeps
count instead, with four locked files. The locks are flocks, which end with the process that holds them, however it
ends::

    start.lock            held alone while servers are started or stopped
    users.lock            shared by every opener; an opener that can hold it alone is the last one
    postgres/alive.lock   given to the server and inherited by its processes, so held exactly as long as one of them
    valkey/alive.lock     lives; once it is free, all else in the folder (pid files, sockets) is known to be stale

For Linux and macOS. Import this package only when an embedded server is wanted: it needs fcntl.
"""

from turnlog.infrastructure.embedded.servers import EmbeddedServers, Servers, default_data_dir

__all__ = ["EmbeddedServers", "Servers", "default_data_dir"]
