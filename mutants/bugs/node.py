"""The turn and what surrounds it: ``node/node.py``, ``applier.py``, ``acquaintance.py``, and time in the log."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="sends-before-the-write",
        rule="Messages that wait for the disk leave once the write they wait for is done.",
        edits=(
            Edit(
                "node.node",
                "        self._flush()\n        if ready.persist is not None:\n"
                "            self._writer.write(ready.persist, ready.messages_after_persist)\n",
                "        for peer, message in ready.messages_after_persist:\n            self._queue(peer, message)\n"
                "        self._flush()\n        if ready.persist is not None:\n"
                "            self._writer.write(ready.persist, [])\n",
            ),
        ),
        mix={"slow disk": 60, "kill": 60},
    ),
    Bug(
        name="own-entries-remembered-too-long",
        rule="What a leader encoded itself is forgotten with its leadership: others may stand there then.",
        edits=(
            Edit(
                "node.applier",
                'indexes proposed here."""\n        self._decoded.clear()\n',
                'indexes proposed here."""\n',
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="applies-from-the-middle",
        rule="Entries are applied in order, each once, from the first.",
        edits=(Edit("node.applier", "        for entry in entries:\n", "        for entry in entries[-64:]:\n"),),
        tries=("process", "storage"),
    ),
    Bug(
        name="result-of-a-neighbour",
        rule="Each client is told the result of its own command.",
        edits=(Edit("node.writes", "results if len(groups) == 1 else results[start:end]", "results[: end - start]"),),
        tries=("calm",),
    ),
    Bug(
        name="entry-time-of-its-own-clock",
        rule="The time of an entry is log time, which goes on from what others have heard, and never a machine's.",
        edits=(
            Edit(
                "core.replication",
                "max(raft.log.last_time_ms, raft.log_time.at(raft.now)), payload)",
                "int(raft.now * 1000), payload)",
            ),
        ),
        tries=("clocks",),
    ),
    Bug(
        name="log-time-goes-back",
        rule="Log time never goes back along the log.",
        edits=(
            Edit(
                "core.replication",
                "max(raft.log.last_time_ms, raft.log_time.at(raft.now)), payload)",
                "raft.log_time.at(raft.now), payload)",
            ),
            Edit("core.replication", "    raft.log_time.heard(message.time_ms, raft.now)\n", ""),
            Edit("core.election", "    raft.log_time.heard(message.time_ms, raft.now)\n", ""),
        ),
        tries=("clocks", "process"),
    ),
    Bug(
        name="idle-time-lost-in-a-failover",
        rule="The time that passed before a failover counts: every replica goes on from what it has heard.",
        edits=(Edit("core.replication", "    raft.log_time.heard(message.time_ms, raft.now)\n", ""),),
        tries=("clocks", "process"),
    ),
    Bug(
        name="votes-without-time",
        rule="A new leader goes on from the highest log time of those who voted for it.",
        edits=(Edit("core.election", "    raft.log_time.heard(message.time_ms, raft.now)\n", ""),),
        tries=("clocks", "process"),
    ),
    Bug(
        name="no-clock-entries",
        rule="When a key is due, the leader appends an entry that tells all replicas so.",
        edits=(Edit("node.node", "        self._propose_time(now)\n", ""),),
        tries=("calm",),
    ),
    Bug(
        name="hello-of-the-core",
        rule="Only what is durable may stand in a replica's hello.",
        edits=(
            Edit(
                "node.node",
                "term, last_index, last_term = self._writer.durable",
                "last_index, last_term = self._raft.log.last_index, self._raft.log.last_term\n"
                "        term = self._writer.durable.term",
            ),
        ),
        mix={"slow disk": 60, "isolated leader": 30, "spoilt frames": 20},
        tests=("tests/node/test_log_writer.py", "tests/node/test_durability.py", "tests/node/test_identity.py"),
    ),
    Bug(
        name="honest-replica-refused",
        rule="A replica whose acknowledged suffix a new leader replaced has a newer term, and is not refused.",
        edits=(
            Edit(
                "node.acquaintance",
                "if hello.durable_term < term or (hello.durable_term == term and hello.last_index < index):",
                "if hello.last_index < index:",
            ),
            Edit(
                "node.acquaintance",
                "self._promised[peer] = max(self._promised.get(peer, NOTHING), (term, index))",
                "self._promised[peer] = (term, max(self._promised.get(peer, NOTHING)[1], index))",
            ),
        ),
        tries=("network", "process"),
        tests=("tests/node/test_acquaintance.py",),
    ),
)
