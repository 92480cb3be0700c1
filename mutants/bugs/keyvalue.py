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
)
