"""HTTP in front of a replica: ``/health`` for load balancers, and what operators ask for.

``application.py`` is the protocol's side (paths, bodies, statuses), ``operations.py`` what each path does, and
``listener.py`` the socket.
"""

from oarlock.server.http.listener import MOST_CONNECTIONS, HttpServer

__all__ = ["MOST_CONNECTIONS", "HttpServer"]
