"""What a leader sends and what it learns from the answers: ``core/replication.py`` and ``core/progress.py``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="next-stays-behind",
        rule="What a follower has acknowledged is not sent to it again.",
        edits=(
            Edit(
                "core.progress",
                "        self.next = max(self.next, Index(self.match + 1))\n"
                "        MATCH_IS_MONOTONIC.require(before, self.match, self.next)\n",
                "",
            ),
        ),
    ),
    Bug(
        name="next-runs-ahead",
        rule="The next entry to send follows the last that was sent: none is passed over.",
        edits=(
            Edit(
                "core.progress",
                "self.next = max(self.next, Index(self.match + 1))",
                "self.next = Index(max(self.next, self.match + 1) + 1)",
            ),
        ),
    ),
    Bug(
        name="late-rejection-followed",
        rule="A rejection below what has matched since is of a message that does not matter any more.",
        edits=(Edit("core.progress", "return prev_index <= self.match or (self", "return (self"),),
    ),
    Bug(
        name="old-probe-followed",
        rule="A rejection of another probe than the present one is not followed, or that would be sent twice.",
        edits=(Edit("core.progress", " or (self.probing and prev_index != self.next - 1)", ""),),
    ),
    Bug(
        name="probes-below-match",
        rule="A follower is probed above what is known to match.",
        edits=(Edit("core.progress", "self.next = max(next_index, Index(self.match + 1))", "self.next = next_index"),),
    ),
    Bug(
        name="rejection-acknowledges",
        rule="A rejection proves nothing about entries, also where it hints at some.",
        edits=(
            Edit(
                "core.replication",
                "        agreed = raft.log.agreement_hint(",
                "        progress.acknowledged(message.hint_index)\n        agreed = raft.log.agreement_hint(",
            ),
        ),
    ),
    Bug(
        name="conflict-entry-by-entry",
        rule="A probe that was rejected skips whole terms of conflict.",
        edits=(
            Edit(
                "core.replication",
                "agreed = raft.log.agreement_hint(min(message.hint_index, message.prev_index), message.hint_term)",
                "agreed = Index(message.prev_index - 1)",
            ),
        ),
    ),
    Bug(
        name="probing-without-end",
        rule="From the first entry that is accepted on, a follower is not probed but pipelined.",
        edits=(Edit("core.progress", "if self.probing and match >= self.next - 1:", "if False:"),),
    ),
    Bug(
        name="lost-probe-not-repeated",
        rule="A heartbeat repeats a probe that may be lost.",
        edits=(
            Edit(
                "core.replication",
                "(heartbeat or peer in leader.round_targets or",
                "((heartbeat and not progress.probing) or peer in leader.round_targets or",
            ),
        ),
    ),
    Bug(
        name="probe-waits-for-ever",
        rule="After a rejection the next probe goes out at once.",
        edits=(
            Edit(
                "core.progress",
                "        self.probe_sent = False\n        self.snapshot_told =",
                "        self.snapshot_told =",
            ),
        ),
    ),
    Bug(
        name="new-link-from-the-start",
        rule="Where nothing matched yet a new link is probed where the last one was, not from the log's start.",
        edits=(
            Edit(
                "core.raft",
                "progress.probe_from(progress.next if progress.probing else Index(progress.match + 1))",
                "progress.probe_from(Index(progress.match + 1))",
            ),
        ),
    ),
    Bug(
        name="window-without-bound",
        rule="What is on its way to a follower is bounded.",
        edits=(
            Edit(
                "core.progress",
                "return len(self._inflight) < max_messages and self._inflight_bytes < max_bytes",
                "return True",
            ),
        ),
    ),
    Bug(
        name="window-never-opens",
        rule="What a follower acknowledges makes room in its window.",
        edits=(Edit("core.progress", "while self._inflight and self._inflight[0][0] <= self.match:", "while False:"),),
    ),
    Bug(
        name="heartbeats-only-with-entries",
        rule="A heartbeat goes to every follower, also where there are no entries to send.",
        edits=(
            Edit("core.replication", "(heartbeat or peer in leader.round_targets", "(peer in leader.round_targets"),
        ),
    ),
    Bug(
        name="one-follower-is-a-quorum",
        rule="A leader stays in office while it hears a majority, not while it hears anybody.",
        edits=(
            Edit(
                "core.replication",
                "    return quorum.reached(\n"
                "        raft.configuration, lambda replica: raft.now if replica == raft.id else "
                "leader.progress[replica].echoed_at\n"
                "    )\n",
                "    return max((progress.echoed_at for progress in leader.progress.values()), default=raft.now)\n",
            ),
        ),
    ),
    Bug(
        name="heartbeats-ask-for-no-echo",
        rule="A heartbeat is echoed at once, or a busy disk would make a leader step down.",
        edits=(
            Edit(
                "core.replication",
                "echo_now = heartbeat or leader.beat > leader.confirmed",
                "echo_now = leader.beat > leader.confirmed",
            ),
        ),
    ),
    Bug(
        name="commit-news-untold",
        rule="Every follower is soon told of a commit, also one that has no client that waits for it.",
        edits=(
            Edit(
                "core.replication",
                "told_to = raft.commit_index if news else min(progress.awaited, raft.commit_index)",
                "told_to = min(progress.awaited, raft.commit_index)",
            ),
        ),
    ),
    Bug(
        name="commit-news-by-heartbeat",
        rule="Commits are told without waiting for a heartbeat to go out.",
        edits=(
            Edit(
                "core.replication",
                "        leader.news_at = min(leader.news_at, raft.now + raft.config.commit_news_s)\n",
                "",
            ),
        ),
    ),
    Bug(
        name="commit-news-late-for-who-waits",
        rule="A follower whose client waits for a commit is told at once.",
        edits=(
            Edit(
                "core.replication",
                "told_to = raft.commit_index if news else min(progress.awaited, raft.commit_index)",
                "told_to = raft.commit_index if news else Index(0)",
            ),
        ),
    ),
    Bug(
        name="commit-news-for-all-at-once",
        rule="A commit costs a message of its own only to those whose clients wait for it.",
        edits=(
            Edit(
                "core.replication",
                "told_to = raft.commit_index if news else min(progress.awaited, raft.commit_index)",
                "told_to = raft.commit_index",
            ),
        ),
    ),
    Bug(
        name="older-time-believed",
        rule="Of two log times the higher one counts, whichever is heard last.",
        edits=(Edit("core.log_time", "if time_ms > self.at(now):", "if True:"),),
    ),
)
