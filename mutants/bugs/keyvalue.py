"""The key-value machine: ``kv/``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="keys-never-expire",
        rule="Applying an entry makes the keys go whose time has come by then.",
        edits=(
            Edit(
                "kv.keyspace",
                "        if now_ms > lifetimes.now_ms:\n            lifetimes.now_ms = now_ms\n",
                "",
            ),
        ),
    ),
    Bug(
        name="versions-by-call",
        rule="Versions number commands, not calls of apply: each replica divides the log among calls in its own way.",
        edits=(
            Edit(
                "kv.machine",
                "for change, command in enumerate(checked, first):",
                "for change, command in ((first, one) for one in checked):",
            ),
            Edit("kv.machine", "data.change = first + len(commands) - 1", "data.change = first"),
        ),
    ),
    Bug(
        name="plain-set-unnoticed-by-watch",
        rule="A write of a watched key aborts the transaction.",
        edits=(Edit("kv.machine", "                versions[crc & VERSION_MASK] = change\n", ""),),
        tries=("calm",),
    ),
    Bug(
        name="state-by-division-of-the-log",
        rule="The state depends on the log alone, not on how it came to be divided among calls.",
        edits=(Edit("kv.machine", "data.change = first + len(commands) - 1", "data.change = first + len(commands)"),),
    ),
    Bug(
        name="lifetime-of-a-set-forgotten",
        rule="SET with a lifetime ends when that is over.",
        edits=(
            Edit(
                "kv.writes",
                "                data.put(key, value)\n                data.end(key, int(after_ms), int(unix_ms))\n",
                "                data.put(key, value)\n",
            ),
        ),
        tries=("calm",),
    ),
    Bug(
        name="lifetimes-three-times-as-long",
        rule="A lifetime is as long as it was said to be, in milliseconds of log time.",
        edits=(Edit("kv.keyspace", "self.lifetimes.now_ms + after_ms,", "self.lifetimes.now_ms + 3 * after_ms,"),),
        tries=("calm",),
    ),
    Bug(
        name="failed-watch-forgotten",
        rule="A transaction is not executed if its client was told that a key could not be watched.",
        edits=(
            Edit(
                "server.redis.transactions",
                "self.watched: list[Watched] = [(keys[0], -1)]",
                "self.watched: list[Watched] = []",
            ),
        ),
        tries=("network",),
        tests=("tests/server/test_transactions.py",),
    ),
    Bug(
        name="watched-never-executed",
        rule="A transaction is executed if nothing that it watches has changed.",
        edits=(Edit("kv.machine", "if any(data.version(key) != version for key, version in watched):", "if watched:"),),
        tries=("calm",),
    ),
    Bug(
        name="watch-misses-removal",
        rule="A watched key that is removed, or ends, has changed.",
        edits=(Edit("kv.keyspace", " + (self.get(key) is not None)", ""),),
        tries=("calm",),
    ),
    Bug(
        name="flush-empties-an-image",
        rule="FLUSHALL frees nothing that a snapshot under way has still to read.",
        edits=(
            Edit(
                "kv.keyspace",
                "*self.lifetimes.tables(), *remembered], self._images)",
                "*self.lifetimes.tables(), *remembered])",
            ),
        ),
        mix={"snapshot": 120, "slow disk": 30},
        tests=("tests/kv/test_snapshot.py",),
    ),
    Bug(
        name="due-keys-freed-late",
        rule="When a key is due, the leader soon says so in the log: it is gone for readers, too.",
        edits=(
            Edit(
                "node.applier",
                "return None if due is None else int(due)",
                "return None if due is None else int(due) + 3000",
            ),
        ),
        tests=("tests/node/test_clock_entries.py",),
    ),
    Bug(
        name="back-pressure-never-ends",
        rule="Once there is room again, a connection whose writes had to wait goes on.",
        edits=(
            Edit(
                "server.redis.connection",
                "        self._replica_full = False\n        if not self._over:\n",
                "        if not self._over:\n",
            ),
        ),
        tests=("tests/server/test_connection.py",),
    ),
    Bug(
        name="refused-told-unknown",
        rule="What was not executed is told as such, so that a client may try again.",
        edits=(Edit("server.redis.failures", 'code = "CLUSTERDOWN"', 'code = "UNKNOWN"'),),
        tests=("tests/server/test_connection.py",),
    ),
)
