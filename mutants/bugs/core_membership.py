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
    Bug(
        name="change-before-own-entry",
        rule="Nothing is changed before an entry of the leader's own term is committed.",
        edits=(Edit("core.membership", "return raft.commit_index >= leader.sentinel", "return True"),),
    ),
    Bug(
        name="two-changes-at-once",
        rule="One change is brought to its end before another begins.",
        edits=(
            Edit(
                "core.membership",
                "    if raft.configuration.outgoing or raft.configurations.index > raft.commit_index:\n",
                "    if False:\n",
            ),
        ),
    ),
    Bug(
        name="change-over-an-uncommitted-one",
        rule="A configuration that is not committed is a change under way, joint or not.",
        edits=(
            Edit(
                "core.membership",
                "raft.configuration.outgoing or raft.configurations.index > raft.commit_index:\n",
                "raft.configuration.outgoing:\n",
            ),
        ),
    ),
    Bug(
        name="voters-changed-in-one-step",
        rule="Voters change through a joint configuration: two majorities that never met could decide otherwise.",
        edits=(
            Edit(
                "core.change",
                "outgoing = before.voters if after.voters != before.voters else ()",
                "outgoing = ()",
            ),
        ),
    ),
    Bug(
        name="final-before-joint-is-committed",
        rule="The final configuration is appended once the joint one is committed.",
        edits=(
            Edit(
                "core.membership",
                "    if raft.configurations.index > raft.commit_index or not _knows",
                "    if not _knows",
            ),
        ),
    ),
    Bug(
        name="joint-for-ever",
        rule="A leader that finds a joint configuration committed brings it to its end, whoever began it.",
        edits=(
            Edit(
                "core.membership",
                "            _append(raft, leader, final(configuration))\n",
                "            pass\n",
            ),
        ),
    ),
    Bug(
        name="departed-leader-stays",
        rule="A leader that is not in the committed configuration leads no more.",
        edits=(Edit("core.membership", "        _leave(raft, leader)\n", "        pass\n"),),
    ),
    Bug(
        name="departed-leader-leaves-early",
        rule="A leader that removes itself leads until the configuration without it is committed.",
        edits=(
            Edit(
                "core.membership",
                "    if raft.configurations.index > raft.commit_index or not _knows",
                "    if departed and not configuration.outgoing:\n        _leave(raft, leader)\n        return\n"
                "    if raft.configurations.index > raft.commit_index or not _knows",
            ),
        ),
    ),
    Bug(
        name="learners-promoted-at-once",
        rule="A joining learner becomes a voter when it has caught up, and not before.",
        edits=(
            Edit(
                "core.membership",
                "        and progress.match + raft.config.promotion_max_behind >= raft.log.last_index\n",
                "",
            ),
        ),
    ),
    Bug(
        name="silent-learners-promoted",
        rule="A learner that is not heard becomes no voter, whatever it has.",
        edits=(Edit("core.membership", "transfer.could_take_over(raft, leader, learner)", "True"),),
    ),
    Bug(
        name="learners-wait-for-ever",
        rule="A joining learner that has caught up becomes a voter by itself.",
        edits=(Edit("core.membership", "elif ready := [", "elif ready := [][:0] and ["),),
    ),
    Bug(
        name="replaced-voter-stays",
        rule="Who is replaced leaves in the change that makes a voter of the one in its place.",
        edits=(
            Edit(
                "core.change",
                "            self.remove(joining.replaces)\n",
                "            pass\n",
            ),
        ),
    ),
    Bug(
        name="dead-majority-welcome",
        rule="A change that leaves most of the voters silent is refused, unless it is forced.",
        edits=(
            Edit(
                "core.membership",
                "if following.outgoing and not force and not _live_majority(raft, leader, after):",
                "if False:",
            ),
        ),
    ),
    Bug(
        name="moves-into-silence",
        rule="Unless forced, no voter is moved without which there is no majority that is heard.",
        edits=(Edit("core.membership", "if moving and not force and after", "if False and after"),),
    ),
    Bug(
        name="the-only-voter-may-not-move",
        rule="Where nobody else votes, nobody else must be heard.",
        edits=(Edit("core.membership", " and after.voters != (raft.id,)", ""),),
    ),
    Bug(
        name="force-moves-nobody",
        rule="An operator who knows better may force a move, too.",
        edits=(Edit("core.membership", "if moving and not force and after", "if moving and after"),),
    ),
    Bug(
        name="grace-taken-for-life",
        rule="Who has acknowledged nothing to this leader has not been heard, whatever grace it has.",
        edits=(Edit("core.membership", "        and progress.match > 0\n", ""),),
    ),
    Bug(
        name="force-has-no-force",
        rule="An operator who knows better may force a change that leaves most of the voters silent.",
        edits=(Edit("core.membership", "following.outgoing and not force and not", "following.outgoing and not"),),
    ),
    Bug(
        name="last-voter-leaves",
        rule="The last voter cannot leave.",
        edits=(Edit("core.change", "        if not self._voters:\n", "        if False:\n"),),
    ),
    Bug(
        name="removed-id-comes-back",
        rule="An id that has left is given to nobody, or its old votes would count as another's.",
        edits=(Edit("core.change", "        if member.id in self._removed:\n", "        if False:\n"),),
    ),
    Bug(
        name="departed-not-remembered",
        rule="A configuration names who has left for good.",
        edits=(
            Edit(
                "core.change", "tuple(sorted({*configuration.removed, *left}))", "tuple(sorted(configuration.removed))"
            ),
        ),
    ),
    Bug(
        name="shared-address",
        rule="No two members have one address, not even while one of them is leaving.",
        edits=(Edit("core.change", "    _check_addresses(members)\n", "    _check_addresses(after.members)\n"),),
    ),
    Bug(
        name="repeated-change-appends",
        rule="What is so already appends nothing.",
        edits=(Edit("core.membership", "    if after == before:\n", "    if False:\n"),),
    ),
    Bug(
        name="lost-disk-votes-on",
        rule="A replica that lost its disk is no voter before it has caught up: its votes are forgotten.",
        edits=(
            Edit(
                "core.change",
                "            self._voters.remove(member.id)\n            self._learners.add(member.id)\n",
                "",
            ),
            Edit(
                "core.change",
                "            self._joining[member.id] = Joining(member.id)\n\n    def remove",
                "            pass\n\n    def remove",
            ),
        ),
    ),
    Bug(
        name="lost-disk-counts-in-the-old-half",
        rule="In a joint configuration a replica that lost its disk counts in neither half.",
        edits=(
            Edit(
                "core.quorum",
                "[voter for voter in configuration.outgoing if voter not in configuration.learners]",
                "list(configuration.outgoing)",
            ),
        ),
    ),
    Bug(
        name="rejoin-without-a-majority",
        rule="A disk is not given up where what remains could never agree to it.",
        edits=(
            Edit(
                "core.change",
                "if len(set(outgoing) - set(after.learners)) < majority_size(len(outgoing)) and outgoing:",
                "if False:",
            ),
        ),
    ),
    Bug(
        name="former-life-still-matches",
        rule="What a member's former disk had says nothing of its present one.",
        edits=(
            Edit(
                "core.membership",
                "if peer in known and member and member.incarnation == incarnations.get(peer):",
                "if peer in known:",
            ),
        ),
    ),
    Bug(
        name="newcomers-get-nothing",
        rule="A leader sends to the members that the configuration in force names.",
        edits=(
            Edit(
                "core.membership",
                "            leader.progress[peer] = Progress(entry.index, raft.now)\n",
                "            pass\n",
            ),
        ),
    ),
    Bug(
        name="departed-still-sent-to",
        rule="Who is no member any more is sent nothing.",
        edits=(Edit("core.membership", "known, leader.progress = leader.progress, {}", "known = leader.progress"),),
    ),
    Bug(
        name="forming-waits-for-learners",
        rule="A cluster is formed by its voters; learners have no part in that.",
        edits=(Edit("types", " if member.id not in self.learners)", ")"),),
    ),
    Bug(
        name="stands-as-its-former-self",
        rule="A replica that the configuration names with another data directory stands for no election.",
        edits=(Edit("core.election", "own.incarnation in (0, raft.incarnation) and ", ""),),
    ),
)
