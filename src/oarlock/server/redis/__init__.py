"""The Redis protocol in front of a replica: bytes in, bytes out, over any stream transport."""

from oarlock.server.redis.server import RedisServer

__all__ = ["RedisServer"]
