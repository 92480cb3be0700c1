"""The key-value machine: ``kv/``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="reads-expire-by-themselves",
        rule="A key whose time has come by the time of an applied entry is gone; nothing else makes it go.",
        edits=(
            Edit(
                "kv.machine",
                "deadlines, now_ms = data.lifetimes.deadlines, data.lifetimes.now_ms",
                "deadlines, now_ms = data.lifetimes.deadlines, max(data.lifetimes.now_ms, at.time_ms)",
            ),
        ),
    ),
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
    ),
    Bug(
        name="version-goes-with-the-key",
        rule="Versions survive the key: one that came and went in between is noticed.",
        edits=(
            Edit(
                "kv.keyspace",
                "        return 2 * self.versions[crc32(key) & VERSION_MASK] + (self.get(key) is not None)\n",
                "        there = self.get(key) is not None\n"
                "        return 2 * self.versions[crc32(key) & VERSION_MASK] + 1 if there else 0\n",
            ),
        ),
    ),
    Bug(
        name="aborted-transaction-half-executed",
        rule="All of a transaction is executed, or nothing is.",
        edits=(
            Edit(
                "kv.machine",
                "            return None\n        results: list[Any] = []\n        for inner",
                "            commands = commands[:1]\n        results: list[Any] = []\n        for inner",
            ),
            Edit(
                "kv.machine",
                "drained(answer) if isinstance(answer, Generator) else answer)\n        return results\n",
                "drained(answer) if isinstance(answer, Generator) else answer)\n"
                "        return None if any(data.version(key) != version for key, version in watched) else results\n",
            ),
        ),
    ),
    Bug(
        name="state-by-division-of-the-log",
        rule="The state depends on the log alone, not on how it came to be divided among calls.",
        edits=(Edit("kv.machine", "data.change = first + len(commands) - 1", "data.change = first + len(commands)"),),
    ),
)
