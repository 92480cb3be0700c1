"""What a follower accepts, acknowledges and commits, and has after a restart: ``core/replication.py``, ``raft.py``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="repeated-message-truncates",
        rule="A message whose entries are all there says nothing of those that follow.",
        edits=(
            Edit(
                "core.replication",
                "        if not new:\n            return\n",
                "        if not new:\n"
                "            if entries[-1].index < log.last_index:\n"
                "                log.truncate_from(Index(entries[-1].index + 1))\n"
                "            return\n",
            ),
        ),
    ),
    Bug(
        name="heartbeat-truncates",
        rule="A heartbeat truncates nothing: it names a place in the log, not its end.",
        edits=(
            Edit(
                "core.replication",
                "    if message.entries:\n        _merge(raft, message.entries)\n",
                "    if message.entries:\n"
                "        _merge(raft, message.entries)\n"
                "    elif message.prev_index < follower.matched:\n"
                "        log.truncate_from(Index(message.prev_index + 1))\n",
            ),
            Edit("core.raft", "        COMMIT_WITHIN_LOG.require(index, self.log.last_index)\n", ""),
        ),
    ),
    Bug(
        name="entries-compared-by-index",
        rule="Two entries are the same if index and term are equal, and not by index alone.",
        edits=(
            Edit(
                "core.replication",
                "raft.log.term_at(entry.index) == entry.term",
                "raft.log.term_at(entry.index) is not None",
            ),
        ),
    ),
    Bug(
        name="truncated-stays-handed-out",
        rule="What comes to stand in the place of truncated entries is written to the disk, too.",
        edits=(Edit("core.log", "        self.handed_index = min(self.handed_index, self.last_index)\n", ""),),
    ),
    Bug(
        name="commit-goes-back",
        rule="A follower's commit index never goes back, whatever a late message says.",
        edits=(
            Edit(
                "core.replication",
                "Index(max(raft.commit_index, min(message.commit, follower.matched)))",
                "Index(min(message.commit, follower.matched))",
            ),
            Edit("core.raft", "        COMMIT_IS_MONOTONIC.require(self.commit_index, index)\n", ""),
            Edit(
                "core.raft", "        APPLIED_WITHIN_COMMIT.require(self.applied_index, index, self.commit_index)\n", ""
            ),
        ),
    ),
    Bug(
        name="matched-outlives-the-leader",
        rule="What matched a former leader says nothing of the next one's log.",
        edits=(
            Edit(
                "core.raft",
                "self.role.election_deadline = left.election_deadline",
                "self.role.election_deadline = left.election_deadline\n"
                "                self.role.matched = left.matched",
            ),
        ),
    ),
    Bug(
        name="repeat-not-acknowledged",
        rule="An entry that arrives again is acknowledged again: the first acknowledgement may be lost.",
        edits=(
            Edit(
                "core.replication",
                "    follower.ack_owed |= bool(message.entries) and follower.matched <= log.durable_index\n",
                "",
            ),
        ),
    ),
    Bug(
        name="durable-not-acknowledged",
        rule="An entry is acknowledged when it becomes durable, without waiting for the next message.",
        edits=(
            Edit(
                "core.replication",
                "follower.acked < _acknowledgeable(raft, follower) or follower.echoed < follower.beat",
                "follower.echoed < follower.beat",
            ),
        ),
    ),
    Bug(
        name="acknowledgement-without-echo",
        rule="An acknowledgement echoes the newest beat that was handled of its leader.",
        edits=(
            Edit("core.replication", "AppendAck(raft.term, follower.beat, match)", "AppendAck(raft.term, 0, match)"),
        ),
    ),
    Bug(
        name="rejection-without-echo",
        rule="A rejection echoes the beat as an acknowledgement does: its sender follows.",
        edits=(
            Edit(
                "core.replication",
                "AppendReject(raft.term, follower.beat, message",
                "AppendReject(raft.term, 0, message",
            ),
        ),
    ),
    Bug(
        name="term-alone-not-persisted",
        rule="A new term or vote is persisted also when no entry comes with it.",
        edits=(
            Edit(
                "core.raft",
                "news = base or entries or hard_state != self._handed_hard_state",
                "news = base or entries",
            ),
        ),
    ),
    Bug(
        name="vote-not-restored",
        rule="A vote binds after a restart as it did before.",
        edits=(
            Edit(
                "core.raft",
                "        self.term = restored.term\n        self.vote = restored.vote\n",
                "        self.term = restored.term\n        self.vote = NO_REPLICA\n",
            ),
        ),
    ),
    Bug(
        name="last-entry-not-restored",
        rule="A replica starts with all the entries that it had on its disk.",
        edits=(
            Edit(
                "core.raft",
                "restored.base_term, restored.entries, restored.base_time_ms)",
                "restored.base_term, restored.entries[:-1], restored.base_time_ms)",
            ),
        ),
    ),
    Bug(
        name="all-committed-after-a-start",
        rule="A replica that just started knows of nothing beyond its snapshot that it is committed.",
        edits=(Edit("core.raft", "self.commit_index = start", "self.commit_index = self.log.last_index"),),
    ),
)
