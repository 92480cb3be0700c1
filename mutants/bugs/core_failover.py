"""Fast failover and hand-over: ``core/election.py``, ``core/transfer.py``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="dead-leader-waited-for",
        rule="When the leader's process is known to be gone, nobody waits for an election timeout.",
        edits=(Edit("core.election", "follower.election_deadline = min(follower.election_deadline, soon)", "pass"),),
    ),
    Bug(
        name="sticks-to-the-dead",
        rule="Nobody sticks to a leader whose process is known to be gone.",
        edits=(Edit("core.election", "follower.leader_dead = True", "pass"),),
    ),
    Bug(
        name="news-of-others-count",
        rule="Only news of the present leader's process starts a failover.",
        edits=(
            Edit(
                "core.election",
                "case Follower() as follower if follower.leader == peer:",
                "case Follower() as follower:",
            ),
        ),
    ),
    Bug(
        name="nobody-looks-for-itself",
        rule="Who hears that its leader's process is gone while it still sticks to it looks for itself.",
        edits=(Edit("core.election", "raft.probes.append(raft.role.leader)", "pass"),),
    ),
    Bug(
        name="no-quick-retry",
        rule="A pre-vote of a failover that did not win is soon repeated: by then the others have looked, too.",
        edits=(Edit("core.election", "urgent = standing.retries > 0", "urgent = False"),),
    ),
    Bug(
        name="newer-term-ends-the-hurry",
        rule="A candidate of a failover that learns of a newer term, and of no leader, tries again soon.",
        edits=(Edit("core.election", "if left.retries > 0 and follower.leader == NO_REPLICA:", "if False:"),),
    ),
    Bug(
        name="split-vote-sat-out",
        rule="Two candidates of one failover that split the votes do not sit out a whole election timeout.",
        edits=(Edit("core.election", "elif role.retries > 0:", "elif False:"),),
    ),
    Bug(
        name="gone-for-ever",
        rule="Whoever is heard again is not gone any more.",
        edits=(Edit("core.progress", "        self.gone = False\n        if self._timed", "        if self._timed"),),
    ),
    Bug(
        name="hand-over-to-who-is-gone",
        rule="Leadership is not handed to a voter whose process is known to be gone.",
        edits=(Edit("core.transfer", "        and not progress.gone\n", ""),),
    ),
    Bug(
        name="hand-over-to-who-is-silent",
        rule="Leadership is handed only to a voter that was heard within the last few heartbeats.",
        edits=(Edit("core.transfer", "        and raft.now - progress.echoed_at < 3 * raft.config.heartbeat_s\n", ""),),
    ),
    Bug(
        name="hand-over-to-a-learner",
        rule="Leadership is handed to voters only.",
        edits=(
            Edit(
                "core.transfer",
                "for voter in raft.configuration.voters if could",
                "for voter in raft.peers() if could",
            ),
        ),
    ),
    Bug(
        name="hand-over-to-the-last",
        rule="Leadership goes to the voter that is furthest, since it needs the least to catch up.",
        edits=(Edit("core.transfer", "target = max(candidates,", "target = min(candidates,"),),
    ),
    Bug(
        name="hand-over-outlives-its-target",
        rule="When the target's process is gone the leader leads on at once.",
        edits=(
            Edit(
                "core.transfer",
                "    if leader.transfer and leader.transfer.target == peer:\n        leader.transfer = None",
                "    pass",
            ),
        ),
    ),
    Bug(
        name="hand-over-by-pre-vote",
        rule="Whoever is asked to take over stands at once: in a pre-vote the others would stick to the leader.",
        edits=(
            Edit(
                "core.transfer",
                "election.campaign(raft, transfer=True)",
                "election.start_pre_vote(raft, leader_dead=False, retries=0)",
            ),
        ),
    ),
)
