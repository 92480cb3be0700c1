"""Who counts, who is sent entries, and which configuration is in force: ``core/quorum.py``, ``core/membership.py``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="majority-too-large",
        rule="More than half of the voters suffice: the others may be gone.",
        edits=(Edit("core.quorum", "return voters // 2 + 1", "return min(voters, voters // 2 + 2)"),),
    ),
    Bug(
        name="only-the-old-half",
        rule="In a joint configuration the new half decides, too, and not the old one alone.",
        edits=(
            Edit(
                "core.quorum",
                "value = min(value, _reached_by(remembering, len(configuration.outgoing), value_of))",
                "value = _reached_by(remembering, len(configuration.outgoing), value_of)",
            ),
        ),
    ),
    Bug(
        name="departed-leader-commits",
        rule="A leader that is not a voter any more does not count itself for a commit.",
        edits=(
            Edit(
                "core.replication",
                "index = Index(quorum.reached(raft.configuration, durable_at))",
                "voters = {*raft.configuration.voters, raft.id}\n"
                "    index = sorted(map(durable_at, voters), reverse=True)[len(voters) // 2]",
            ),
        ),
    ),
    Bug(
        name="votes-for-known-members-only",
        rule="Votes follow the candidate's need: a voter's own configuration may be the older one.",
        edits=(
            Edit(
                "core.election",
                "    free_to_vote = raft.vote in",
                "    if sender not in raft.voters():\n        return\n    free_to_vote = raft.vote in",
            ),
        ),
    ),
    Bug(
        name="forming-fixes-nothing",
        rule="The first leader fixes who the members are, so that none can come back as another.",
        edits=(
            Edit(
                "core.election",
                "    if raft.configuration.formed:\n        replication",
                "    if True:\n        replication",
            ),
        ),
    ),
    Bug(
        name="configuration-not-in-force",
        rule="A configuration is in force as soon as it is appended.",
        edits=(
            Edit(
                "core.replication",
                "    log.append(new)\n    raft.configurations.appended(new)\n",
                "    log.append(new)\n",
            ),
        ),
    ),
    Bug(
        name="configuration-lost-in-a-restart",
        rule="An appended configuration is in force also after a restart.",
        edits=(
            Edit(
                "core.membership",
                "        self.current = base\n        self.appended(entries)\n",
                "        self.current = base\n",
            ),
        ),
    ),
    Bug(
        name="rollback-one-short",
        rule="With its entry a configuration is gone: also the one at the very index of the truncation.",
        edits=(Edit("core.membership", "self._stack[-1][0] >= index", "self._stack[-1][0] > index"),),
    ),
    Bug(
        name="rollback-to-the-first",
        rule="What is in force after a truncation is the last configuration that is left.",
        edits=(
            Edit(
                "core.membership",
                "        self.current = self._stack[-1][1]\n\n    def truncated",
                "        self.current = self._stack[0][1]\n\n    def truncated",
            ),
        ),
    ),
    Bug(
        name="learners-get-nothing",
        rule="Learners are sent every entry.",
        edits=(
            Edit(
                "core.raft",
                "sorted({*self.voters(), *self.configuration.learners} - {self.id})",
                "sorted({*self.voters()} - {self.id})",
            ),
        ),
    ),
    Bug(
        name="old-half-gets-nothing",
        rule="In a joint configuration voters of both halves are asked, and are sent entries.",
        edits=(Edit("core.raft", "{*configuration.voters, *configuration.outgoing}", "{*configuration.voters}"),),
    ),
)
