"""What is sent, accepted, acknowledged and committed: ``core/replication.py`` and what it is built on."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="commits-old-terms",
        rule="A leader commits by counting only entries of its own term.",
        edits=(
            Edit(
                "core.replication",
                "if index > raft.commit_index and raft.log.term_at(index) == raft.term:\n"
                "        COMMIT_OWN_TERM.require(raft.log.term_at(index), raft.term)\n",
                "if index > raft.commit_index:\n",
            ),
        ),
    ),
    Bug(
        name="commits-alone",
        rule="An entry is committed once a majority holds it durably.",
        edits=(
            Edit(
                "core.replication",
                "index = Index(quorum.reached(raft.configuration, durable_at))",
                "index = raft.log.durable_index",
            ),
        ),
    ),
    Bug(
        name="learners-count",
        rule="Learners count for nothing: no commit, no election, no proof of leadership.",
        edits=(
            Edit(
                "core.quorum",
                "value = _reached_by(configuration.voters, len(configuration.voters), value_of)",
                "voters = (*configuration.voters, *configuration.learners)\n"
                "    value = _reached_by(voters, len(voters), value_of)",
            ),
        ),
    ),
    Bug(
        name="only-the-new-half",
        rule="In a joint configuration majorities of both halves are needed.",
        edits=(Edit("core.quorum", "    if configuration.outgoing:\n", "    if False:\n"),),
    ),
    Bug(
        name="half-is-a-majority",
        rule="More than half of the voters make a majority, also of an even number.",
        edits=(Edit("core.quorum", "return voters // 2 + 1", "return (voters + 1) // 2"),),
    ),
    Bug(
        name="unsorted-match-vector",
        rule="What a majority has reached is found in the sorted vector.",
        edits=(
            Edit(
                "core.quorum",
                "sorted(map(value_of, voters))[-majority_size(of)]",
                "list(map(value_of, voters))[-majority_size(of)]",
            ),
        ),
    ),
    Bug(
        name="leader-counts-unsynced",
        rule="A leader counts itself only for what its own fsync has made durable.",
        edits=(
            Edit(
                "core.replication",
                "return raft.log.durable_index if replica == raft.id",
                "return raft.log.last_index if replica == raft.id",
            ),
        ),
    ),
    Bug(
        name="follower-acknowledges-unsynced",
        rule="A follower acknowledges only what is durable.",
        edits=(
            Edit("core.replication", "return min(follower.matched, raft.log.durable_index)", "return follower.matched"),
            Edit(
                "core.replication",
                "    ACK_IS_DURABLE.require(match, raft.log.durable_index, follower.matched)\n",
                "",
            ),
            Edit(
                "core.replication",
                "bool(message.entries) and follower.matched <= log.durable_index",
                "bool(message.entries)",
            ),
        ),
    ),
    Bug(
        name="follower-acknowledges-unmatched",
        rule="A follower acknowledges only what its leader's messages proved to match.",
        edits=(
            Edit(
                "core.replication",
                "return min(follower.matched, raft.log.durable_index)",
                "return raft.log.durable_index",
            ),
            Edit(
                "core.replication",
                "    ACK_IS_DURABLE.require(match, raft.log.durable_index, follower.matched)\n",
                "",
            ),
        ),
    ),
    Bug(
        name="acknowledges-before-its-term",
        rule="Nothing is acknowledged in a term before the term itself is durable.",
        edits=(Edit("core.replication", "if raft.persisted_term < raft.term:", "if False:"),),
    ),
    Bug(
        name="follower-commits-unmatched",
        rule="A follower's commit index never passes what it has matched with this leader.",
        edits=(
            Edit(
                "core.replication",
                "min(message.commit, follower.matched)",
                "min(message.commit, log.last_index)",
            ),
        ),
    ),
    Bug(
        name="heartbeat-unchecked",
        rule="Every AppendEntries is checked against the entry before it, also a heartbeat.",
        edits=(
            Edit(
                "core.replication",
                "if message.prev_index > log.base_index and",
                "if message.entries and message.prev_index > log.base_index and",
            ),
        ),
    ),
    Bug(
        name="heartbeat-without-place",
        rule="A heartbeat names the last entry that was sent, so that a lost message is noticed.",
        edits=(
            Edit(
                "core.replication",
                "prev_index = Index(progress.next - 1)",
                "prev_index = Index(progress.next - 1 if entries or progress.probing else progress.match)",
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="previous-term-unchecked",
        rule="Entries are accepted only behind an entry of the same index and term.",
        edits=(
            Edit(
                "core.replication",
                "log.term_at(message.prev_index) != message.prev_term:",
                "message.prev_index > log.last_index:",
            ),
        ),
    ),
    Bug(
        name="truncates-without-conflict",
        rule="A log is truncated only at a real conflict: a delayed message must not cut off what came after it.",
        edits=(
            Edit(
                "core.replication",
                "while position < len(entries) and _has(raft, entries[position]):",
                "while position < len(entries) and entries[position].index <= raft.commit_index:",
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="truncates-committed",
        rule="Nothing at or below the commit index is ever truncated.",
        edits=(
            Edit(
                "core.replication",
                "while position < len(entries) and _has(raft, entries[position]):",
                "while False:",
            ),
            Edit(
                "core.replication",
                "            COMMITTED_IS_KEPT.require(new[0].index, raft.commit_index)\n",
                "",
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="old-fsync-counts",
        rule="An fsync from before a truncation proves nothing about what stands there now.",
        edits=(Edit("core.log", "if mark.epoch == self.epoch:", "if mark.index <= self.last_index:"),),
    ),
    Bug(
        name="truncated-stays-durable",
        rule="What was truncated is not durable any more, nor is what comes to stand in its place.",
        edits=(Edit("core.log", "        self.durable_index = min(self.durable_index, self.last_index)\n", ""),),
    ),
    Bug(
        name="match-goes-back",
        rule="A follower's match index never goes back while it runs.",
        edits=(
            Edit("core.progress", "self.match = max(self.match, match)", "self.match = match"),
            Edit("core.progress", "        MATCH_IS_MONOTONIC.require(before, self.match, self.next)\n", ""),
        ),
        tries=("network",),
    ),
    Bug(
        name="next-falls-below-match",
        rule="The next entry to send is above what is known to match, whatever a late rejection says.",
        edits=(
            Edit("core.progress", "self.next = max(next_index, Index(self.match + 1))", "self.next = next_index"),
            Edit("core.progress", "return prev_index <= self.match or (", "return ("),
        ),
    ),
    Bug(
        name="acknowledgement-of-the-unsent",
        rule="An acknowledgement of more than the leader ever sent proves nothing.",
        edits=(
            Edit(
                "core.replication",
                "if progress is None or message.match > raft.log.last_index:",
                "if progress is None:",
            ),
        ),
    ),
    Bug(
        name="progress-survives-restart",
        rule="What a follower's former life acknowledged is forgotten when it comes back with a new boot.",
        edits=(Edit("core.raft", "            if restarted:\n", "            if False:\n"),),
        tries=("storage", "process"),
    ),
    Bug(
        name="new-link-unprobed",
        rule="When a fresh link is up, whatever was on its way before may be lost and is asked for.",
        edits=(
            Edit(
                "core.raft",
                "progress.probe_from(progress.next if progress.probing else Index(progress.match + 1))",
                "pass",
            ),
        ),
    ),
    Bug(
        name="configuration-outlives-its-entry",
        rule="A configuration rolls back with its entry when that is truncated.",
        edits=(Edit("core.replication", "            raft.configurations.truncated_from(new[0].index)\n", ""),),
    ),
    Bug(
        name="applies-the-uncommitted",
        rule="Only what is committed is handed out to be applied.",
        edits=(
            Edit("core.raft", "        del entries[self.commit_index - self._handed_commit :]\n", ""),
            Edit(
                "core.raft",
                "        APPLIED_WITHIN_COMMIT.require(self.applied_index, index, self.commit_index)\n",
                "",
            ),
        ),
    ),
)
