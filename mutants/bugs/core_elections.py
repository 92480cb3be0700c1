"""Who stands, who votes for whom, and whom a replica sticks to: ``core/election.py`` and the gate of terms."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="stickiness-without-end",
        rule="Stickiness ends an election timeout after the leader was last heard.",
        edits=(
            Edit(
                "core.election",
                "return follower.leader != NO_REPLICA and heard_lately and not follower.leader_dead",
                "return follower.leader != NO_REPLICA and not follower.leader_dead",
            ),
        ),
    ),
    Bug(
        name="leader-does-not-stick",
        rule="A leader sticks to itself: only check-quorum ends a leadership that hears nobody.",
        edits=(
            Edit(
                "core.election", "            return True  # check-quorum", "            return False  # check-quorum"
            ),
        ),
    ),
    Bug(
        name="pre-vote-against-a-live-leader",
        rule="Whoever sticks to a leader grants no pre-vote.",
        edits=(
            Edit(
                "core.election",
                "granted = message.term > raft.term and not sticks and raft",
                "granted = message.term > raft.term and raft",
            ),
        ),
    ),
    Bug(
        name="old-leader-sticks",
        rule="A leader of an old term is not heard, and nobody sticks to it.",
        edits=(
            Edit(
                "core.raft",
                "self.send(sender, StaleTerm(self.term))",
                "self.send(sender, StaleTerm(self.term))\n"
                "                if isinstance(self.role, Follower) and kind is AppendEntries:\n"
                "                    self.role.heard_at = self.now",
            ),
        ),
    ),
    Bug(
        name="who-rejects-does-not-stick",
        rule="An AppendEntries that does not match shows as well as any other that its leader lives.",
        edits=(
            Edit(
                "core.replication",
                "follower.heard_at = raft.now",
                "if not hasattr(message, 'prev_index') or raft.log.term_at(message.prev_index) == message.prev_term:\n"
                "        follower.heard_at = raft.now",
            ),
        ),
    ),
    Bug(
        name="granted-pre-vote-raises-term",
        rule="A granted pre-vote names a term that nobody has yet, and raises none.",
        edits=(
            Edit(
                "core.raft",
                "            if not (kind is PreVote or (kind is PreVoteReply and message.granted)):",
                "            if kind is not PreVote:",
            ),
        ),
    ),
    Bug(
        name="no-pre-vote",
        rule="Every election begins with a pre-vote, and only who wins it raises its term.",
        edits=(
            Edit(
                "core.election",
                "_count_pre_vote(raft, role, raft.id, granted=True)",
                "campaign(raft, transfer=False, retries=retries)",
            ),
        ),
    ),
    Bug(
        name="pre-vote-for-a-log-behind",
        rule="A pre-vote is granted only where a vote would be: not to a log behind one's own.",
        edits=(
            Edit(
                "core.election",
                " and not sticks and raft.log.is_up_to_date(message.last_index, message.last_term)",
                " and not sticks",
            ),
        ),
    ),
    Bug(
        name="vote-for-a-log-behind",
        rule="Nobody votes for a candidate whose log is behind its own.",
        edits=(Edit("core.election", " or not raft.log.is_up_to_date(message.last_index, message.last_term):", ":"),),
    ),
    Bug(
        name="equal-logs-lose",
        rule="A log that is equal to the voter's is up to date.",
        edits=(Edit("core.log", "(last_term, last_index) >= (self", "(last_term, last_index) > (self"),),
    ),
    Bug(
        name="vote-forgotten-on-stepping-down",
        rule="A vote binds for its whole term, also one's own after stepping down in it.",
        edits=(
            Edit(
                "core.raft",
                "        if term > self.term:\n            self.term, self.vote = term, NO_REPLICA\n",
                "        self.term, self.vote = term, NO_REPLICA\n",
            ),
        ),
    ),
    Bug(
        name="one-vote-counts-twice",
        rule="A vote that arrives twice counts once.",
        edits=(
            Edit(
                "core.election",
                "    role.votes[voter] = granted\n    if granted:\n",
                "    if voter in role.votes:\n"
                "        voter = next((other for other in raft.voters() if other not in role.votes), "
                "voter)\n"
                "    role.votes[voter] = granted\n"
                "    if granted:\n",
            ),
        ),
    ),
    Bug(
        name="voter-in-a-hurry",
        rule="Whoever has given its vote gives the candidate an election timeout to win.",
        edits=(
            Edit(
                "core.election",
                "            follower.election_deadline = timeout_after(raft)\n        case PreCandidate",
                "            pass\n        case PreCandidate",
            ),
        ),
    ),
    Bug(
        name="candidate-ignores-the-winner",
        rule="A candidate that hears the leader of its term follows it.",
        edits=(
            Edit("core.raft", "(Candidate, AppendEntries): _follow_sender,", "(Candidate, AppendEntries): _stale,"),
        ),
    ),
    Bug(
        name="pre-candidate-ignores-the-leader",
        rule="A replica that prepares an election gives it up when it hears a leader.",
        edits=(
            Edit(
                "core.raft", "(PreCandidate, AppendEntries): _follow_sender,", "(PreCandidate, AppendEntries): _stale,"
            ),
        ),
    ),
    Bug(
        name="old-terms-are-heard",
        rule="A message of an old term is not handled.",
        edits=(Edit("core.raft", "elif message.term < self.term:", "elif False:"),),
    ),
    Bug(
        name="stale-term-not-taken-up",
        rule="A replica that is told of a newer term takes it up, or those who told it stay strangers to it.",
        edits=(
            Edit(
                "core.raft",
                "kind is PreVote or (kind is PreVoteReply",
                "kind in (PreVote, StaleTerm) or (kind is PreVoteReply",
            ),
        ),
    ),
    Bug(
        name="leader-kept-across-terms",
        rule="In a new term nobody is known to lead yet.",
        edits=(
            Edit(
                "core.raft",
                "sender if kind in SENT_BY_LEADERS else NO_REPLICA)",
                "sender if kind in SENT_BY_LEADERS else self.leader)",
            ),
        ),
    ),
    Bug(
        name="any-sender-leads",
        rule="Of all messages only AppendEntries and InstallSnapshot show who leads a term.",
        edits=(Edit("core.raft", "sender if kind in SENT_BY_LEADERS else NO_REPLICA)", "sender)"),),
    ),
    Bug(
        name="no-first-entry",
        rule="A new leader appends an entry of its term: until one is committed it knows not what is.",
        edits=(Edit("core.election", 'replication.append(raft, raft.role, EntryKind.SENTINEL, b"")', "pass"),),
    ),
    Bug(
        name="matches-assumed",
        rule="A new leader knows of nobody's log that it matches its own.",
        edits=(
            Edit(
                "core.election",
                "raft.role = Leader(raft.peers(), sentinel, raft.now)",
                "raft.role = Leader(raft.peers(), sentinel, raft.now)\n"
                "    for progress in raft.role.progress.values():\n"
                "        progress.match = raft.log.last_index",
            ),
        ),
    ),
)
