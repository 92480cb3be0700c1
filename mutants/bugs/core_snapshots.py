"""Snapshots and the log's base: ``core/snapshot.py``, ``core/log.py``; and a leader whose disk hangs."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="installs-what-is-behind",
        rule="A snapshot that holds no more than what is committed here is not installed: applied never goes back.",
        edits=(
            Edit("core.snapshot", "if point.index <= raft.commit_index or restoring(raft):", "if restoring(raft):"),
            Edit("core.raft", "        COMMIT_IS_MONOTONIC.require(self.commit_index, index)\n", ""),
        ),
    ),
    Bug(
        name="applies-before-restoring",
        rule="Nothing is applied after an installed snapshot until that has become the state.",
        edits=(
            Edit(
                "core.raft",
                "return self._handed_commit < self.commit_index and not snapshot.restoring(self)",
                "return max(self._handed_commit, self.log.base_index) < self.commit_index",
            ),
            Edit(
                "core.raft",
                "        entries, _ = self.log.batch_from(Index(self._handed_commit + 1),",
                "        self._handed_commit = max(self._handed_commit, self.log.base_index)\n"
                "        entries, _ = self.log.batch_from(Index(self._handed_commit + 1),",
            ),
        ),
    ),
    Bug(
        name="fetches-while-restoring",
        rule="While a snapshot is being restored, no other is fetched.",
        edits=(Edit("core.snapshot", "    elif not restoring(raft):\n", "    else:\n"),),
    ),
    Bug(
        name="log-says-who-votes",
        rule="The configuration of an installed snapshot counts, not one of the log that it replaces.",
        edits=(Edit("core.snapshot", "        raft.configurations.reset(point.configuration, point.index)\n", ""),),
    ),
    Bug(
        name="compacted-configuration-forgotten",
        rule="A configuration whose entry is compacted stays in force.",
        edits=(
            Edit(
                "core.membership",
                "            del self._stack[0]\n",
                "            del self._stack[1]\n        self.current = self._stack[-1][1]\n",
            ),
        ),
    ),
    Bug(
        name="starts-with-the-first-configuration",
        rule="A replica that starts from a snapshot goes by the snapshot's configuration.",
        edits=(
            Edit(
                "core.raft",
                "start, configuration = self.snapshot.index, self.snapshot.configuration",
                "start, configuration = self.snapshot.index, restored.configuration",
            ),
        ),
    ),
    Bug(
        name="gap-after-the-base",
        rule="A follower that lacks what was compacted is not sent what comes after the gap.",
        edits=(
            Edit("core.progress", "return self.next <= base_index", "return self.next < base_index - 1"),
            Edit(
                "core.replication",
                '    assert prev_term is not None, "whom the log does not reach is sent a snapshot"\n',
                "    prev_term = prev_term or raft.log.base_term\n",
            ),
        ),
    ),
    Bug(
        name="behind-for-ever",
        rule="Where the terms at the leader's base differ, no probe can find an agreement: a snapshot has to.",
        edits=(Edit("core.log", "while at >= self.base_index and", "while at > self.base_index and"),),
    ),
    Bug(
        name="reset-counts-as-durable",
        rule="What a snapshot has begun anew is acknowledged once the log on disk begins there, too.",
        edits=(
            Edit("core.log", "        self.durable_index = Index(0)\n", "        self.durable_index = point.index\n"),
        ),
    ),
    Bug(
        name="reset-not-persisted",
        rule="A log that a snapshot has replaced in memory is replaced on disk.",
        edits=(Edit("core.log", "        self._reset_unpersisted = True\n", ""),),
    ),
    Bug(
        name="keeps-what-contradicts",
        rule="A log whose entry at a snapshot's place is another is replaced as a whole.",
        edits=(
            Edit(
                "core.snapshot",
                "    if raft.log.term_at(point.index) != point.term:\n",
                "    if raft.log.term_at(point.index) is None:\n",
            ),
        ),
    ),
    Bug(
        name="fetches-what-it-has",
        rule="Who has the entry at a snapshot's place in its log needs no snapshot.",
        edits=(
            Edit(
                "core.snapshot",
                " or raft.log.term_at(message.index) == message.index_term:",
                ":",
            ),
        ),
    ),
    Bug(
        name="no-beats-for-who-is-behind",
        rule="A follower that installs a snapshot is sent beats, and its echoes count.",
        edits=(
            Edit(
                "core.replication",
                "due=heartbeat or peer in leader.round_targets)",
                "due=heartbeat)",
            ),
        ),
    ),
    Bug(
        name="no-echo-of-an-offer",
        rule="An offer of a snapshot is echoed like an AppendEntries.",
        edits=(Edit("core.snapshot", "    follower.ack_owed = True\n", ""),),
    ),
    Bug(
        name="leadership-for-who-is-behind",
        rule="A follower that needs a snapshot is not handed the leadership.",
        edits=(Edit("core.transfer", "        and not progress.behind(raft.log.base_index)\n", ""),),
    ),
    Bug(
        name="snapshot-of-a-later-configuration",
        rule="A snapshot says who votes where it stands, not who would if what follows is committed.",
        edits=(Edit("core.snapshot", "raft.configurations.at(index))", "raft.configurations.current)"),),
    ),
    Bug(
        name="told-once-of-a-snapshot",
        rule="A follower that is behind is told so with every heartbeat: it may not have heard.",
        edits=(Edit("core.snapshot", "if due or progress.snapshot_told", "if progress.snapshot_told"),),
    ),
    Bug(
        name="hung-disk-leads-on",
        rule="A leader hands over when its disk hangs while those of a majority work.",
        edits=(Edit("core.transfer", "if seen and leader.disk_overtaken:", "if False:"),),
    ),
    Bug(
        name="hands-over-in-a-common-stall",
        rule="A leader does not hand over for a stall that others share: no election makes it better.",
        edits=(Edit("core.transfer", "if seen and leader.disk_overtaken:", "if True:"),),
    ),
    Bug(
        name="hands-over-when-a-common-stall-begins",
        rule="That the others hold more than a leader whose disk hangs does not say that they go on.",
        edits=(
            Edit(
                "core.transfer",
                "leader.last_when_hung = raft.log.last_index",
                "leader.last_when_hung = raft.log.durable_index",
            ),
        ),
    ),
    Bug(
        name="hands-over-when-a-common-stall-ends",
        rule="When a disk that all share gets on again, it may serve the others a moment before the leader.",
        edits=(Edit("core.transfer", "if seen and leader.disk_overtaken:", "if leader.disk_overtaken:"),),
    ),
    Bug(
        name="late-acknowledgements-taken-for-progress",
        rule="Acknowledgements that arrive late do not say that the others go on.",
        edits=(
            Edit(
                "core.transfer",
                "leader.last_when_hung = raft.log.last_index",
                "leader.last_when_hung = _held_by_others(raft, leader)",
            ),
        ),
    ),
    Bug(
        name="remembers-an-older-hang",
        rule="Where the log ended is noted anew each time that the disk hangs.",
        edits=(Edit("core.transfer", "    leader.last_when_hung = None\n", ""),),
    ),
    Bug(
        name="slow-disk-taken-for-hung",
        rule="What the leader's disk finishes gives it time for the rest.",
        edits=(Edit("core.raft", "                transfer.disk_worked(self, leader)\n", ""),),
    ),
    Bug(
        name="stands-while-it-restores",
        rule="Who restores a snapshot can apply nothing, and does not stand for an office in which it should.",
        edits=(Edit("core.election", "return is_voter(raft) and not raft.restoring", "return is_voter(raft)"),),
    ),
)
