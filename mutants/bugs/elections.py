"""Elections, terms, stickiness, hand-over: ``core/election.py``, ``core/transfer.py`` and the gate of terms."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="vote-before-durable",
        rule="A vote leaves only once it is durable.",
        edits=(
            Edit(
                "core.election",
                "raft.send_after_persist(sender, RequestVoteReply(raft.term, True",
                "raft.send(sender, RequestVoteReply(raft.term, True",
            ),
        ),
    ),
    Bug(
        name="candidate-asks-too-early",
        rule="A candidate asks for votes only once its term and its vote for itself are durable.",
        edits=(Edit("core.election", "raft.send_after_persist(voter, message)", "raft.send(voter, message)"),),
    ),
    Bug(
        name="own-vote-before-durable",
        rule="A candidate's vote for itself counts once it is durable, also where it is the only voter.",
        edits=(
            Edit(
                "core.election",
                "            raft.send_after_persist(voter, message)\n",
                "            raft.send_after_persist(voter, message)\n    own_vote_is_durable(raft)\n",
            ),
        ),
    ),
    Bug(
        name="two-votes-in-a-term",
        rule="A replica votes for at most one candidate in a term.",
        edits=(
            Edit("core.election", "raft.vote in (NO_REPLICA, sender) and leader in", "leader in"),
            Edit("core.election", "    ONE_VOTE_PER_TERM.require(raft.vote, sender)\n", ""),
        ),
    ),
    Bug(
        name="vote-kept-across-terms",
        rule="In a new term nobody has voted yet.",
        edits=(Edit("core.raft", "self.term, self.vote = term, NO_REPLICA", "self.term = term"),),
    ),
    Bug(
        name="up-to-date-by-index",
        rule="Logs are compared by the term of the last entry first, and only then by index.",
        edits=(
            Edit(
                "core.log",
                "return (last_term, last_index) >= (self.last_term, self.last_index)",
                "return last_index >= self.last_index",
            ),
        ),
    ),
    Bug(
        name="up-to-date-by-term",
        rule="Of two logs that end in the same term, the longer one is more up to date.",
        edits=(
            Edit(
                "core.log",
                "return (last_term, last_index) >= (self.last_term, self.last_index)",
                "return last_term >= self.last_term",
            ),
        ),
    ),
    Bug(
        name="stickiness-off",
        rule="Whoever has heard a leader lately takes part in no election against it.",
        edits=(
            Edit(
                "core.election",
                "return follower.leader != NO_REPLICA and heard_lately and not follower.leader_dead",
                "return False",
            ),
        ),
    ),
    Bug(
        name="vote-request-disturbs",
        rule="Whoever disturbs a working leadership with a newer term is not even heard.",
        edits=(
            Edit(
                "core.raft",
                "if kind is RequestVote and election.sticks_to_leader(self) and not message.transfer:",
                "if False:",
            ),
        ),
    ),
    Bug(
        name="stickiness-stops-hand-over",
        rule="An election that the leader asked for goes over everyone's stickiness.",
        edits=(
            Edit(
                "core.raft",
                "election.sticks_to_leader(self) and not message.transfer:",
                "election.sticks_to_leader(self):",
            ),
        ),
    ),
    Bug(
        name="pre-vote-raises-term",
        rule="A pre-vote changes nothing at anybody.",
        edits=(
            Edit(
                "core.raft",
                "if not (kind is PreVote or (kind is PreVoteReply and message.granted)):",
                "if not (kind is PreVoteReply and message.granted):",
            ),
        ),
    ),
    Bug(
        name="stale-pre-votes-count",
        rule="Only answers to the present attempt count as pre-votes.",
        edits=(Edit("core.election", "if not message.granted or message.term == raft.term + 1:", "if True:"),),
    ),
    Bug(
        name="check-quorum-off",
        rule="A leader that has heard no echoes from a majority for an election timeout steps down.",
        edits=(
            Edit(
                "core.replication",
                "if raft.now >= _quorum_last_heard(raft, leader) + raft.config.election_min_s:",
                "if False:",
            ),
        ),
    ),
    Bug(
        name="stale-term-unanswered",
        rule="A message of an old term is answered with the newer one, or two replicas ignore each other for ever.",
        edits=(Edit("core.raft", "self.send(sender, StaleTerm(self.term))", "pass"),),
    ),
    Bug(
        name="formed-by-a-majority",
        rule="The very first election of a cluster needs all its initial members.",
        edits=(
            Edit(
                "core.election",
                "if not raft.configuration.formed and not all(votes.get(voter) for voter in raft.voters()):",
                "if False:",
            ),
        ),
    ),
    Bug(
        name="learners-stand",
        rule="Learners, and replicas that have left, stand for no election.",
        edits=(Edit("core.election", " and raft.configuration.counts(raft.id)", ""),),
    ),
    Bug(
        name="dead-leader-never-revives",
        rule="Any accepted AppendEntries restores stickiness to a leader that was taken for dead.",
        edits=(Edit("core.replication", "    follower.leader_dead = False\n", ""),),
    ),
    Bug(
        name="disturbance-delays-election",
        rule="A newer term that somebody else brought must not put off this replica's own election.",
        edits=(
            Edit(
                "core.raft",
                "                self.role.election_deadline = left.election_deadline",
                "                pass",
            ),
        ),
    ),
    Bug(
        name="timeout-now-from-anybody",
        rule="Only its own leader can ask a follower to take over.",
        edits=(Edit("core.transfer", "isinstance(raft.role, Follower) and raft.role.leader == sender and", ""),),
    ),
    Bug(
        name="hand-over-appends-meanwhile",
        rule="From the start of a hand-over nothing new is appended.",
        edits=(
            Edit("core.raft", "        if self.role.transfer is not None:\n", "        if False:\n"),
            Edit("core.raft", "            and role.transfer is None\n", ""),
        ),
        tries=("process",),
    ),
    Bug(
        name="hand-over-to-who-lags",
        rule="Leadership goes to a voter that has every entry.",
        edits=(
            Edit(
                "core.transfer",
                "and not transfer.sent and leader.progress[transfer.target].match == raft.log.last_index:",
                "and not transfer.sent:",
            ),
        ),
        tries=("process",),
    ),
    Bug(
        name="hand-over-without-end",
        rule="If the target has not taken over within an election timeout, the leader goes on leading.",
        edits=(
            Edit("core.transfer", "if leader.transfer and raft.now >= leader.transfer.deadline:", "if False:"),
            Edit(
                "core.transfer",
                "return min(leader.transfer.deadline, leader.disk_due) if leader.transfer else leader.disk_due",
                "return leader.disk_due",
            ),
        ),
        tries=("process",),
    ),
    Bug(
        name="hand-over-to-who-just-started",
        rule="Leadership is not handed to a voter that was just restarted.",
        edits=(Edit("core.transfer", "        and not progress.probing\n", ""),),
    ),
)
