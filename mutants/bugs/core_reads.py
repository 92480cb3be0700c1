"""The rounds that confirm reads: whom they go to, what they count and when they end: ``core/authority.py``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="any-echo-confirms",
        rule="An echo proves what its own beat says, not what has been sent since.",
        edits=(Edit("core.progress", "self.echoed = max(self.echoed, beat)", "self.echoed = newest"),),
    ),
    Bug(
        name="rejections-not-counted",
        rule="A rejection's echo counts: its sender follows, whatever its log lacks.",
        edits=(
            Edit(
                "core.replication",
                "    progress.echo(message.beat, leader.beat, raft.now)\n    if not progress.rejected_is_stale",
                "    if not progress.rejected_is_stale",
            ),
        ),
    ),
    Bug(
        name="half-confirms-a-read",
        rule="More than half of the voters confirm a read, also of an even number.",
        edits=(
            Edit(
                "core.authority",
                "leader.confirmed = Beat(quorum.reached(raft.configuration, newest_beat_of))",
                "voters = raft.configuration.voters\n"
                "    leader.confirmed = sorted(map(newest_beat_of, voters), reverse=True)[(len(voters) - "
                "1) // 2]",
            ),
        ),
    ),
    Bug(
        name="departed-leader-confirms",
        rule="A leader that is not a voter any more does not count itself among those who follow it.",
        edits=(
            Edit(
                "core.authority",
                "leader.confirmed = Beat(quorum.reached(raft.configuration, newest_beat_of))",
                "voters = {*raft.configuration.voters, raft.id}\n"
                "    leader.confirmed = sorted(map(newest_beat_of, voters), reverse=True)[len(voters) // 2]",
            ),
        ),
    ),
    Bug(
        name="reads-at-the-first-entry",
        rule="A read sees everything that was committed when it began.",
        edits=(Edit("core.authority", "index = max(token.index, leader.sentinel)", "index = leader.sentinel"),),
    ),
    Bug(
        name="round-needs-followers",
        rule="A round begins also where there is nobody to send it to: a single voter confirms itself.",
        edits=(
            Edit(
                "core.authority",
                "leader.beat = Beat(leader.beat + 1)\n    if leader.asked_in",
                "leader.beat = Beat(leader.beat + (len(raft.voters()) > 1))\n    if leader.asked_in",
            ),
        ),
    ),
    Bug(
        name="rounds-pile-up",
        rule="One round is in flight at a time, and the reads that come meanwhile share the next.",
        edits=(Edit("core.authority", "    if in_flight and not entries_go_out:\n        return\n", ""),),
    ),
    Bug(
        name="rounds-ride-on-nothing",
        rule="Entries that go out anyway carry the beat, and their round costs no message.",
        edits=(
            Edit(
                "core.authority",
                "entries_go_out = raft.log.has_unpersisted",
                "entries_go_out = False",
            ),
        ),
    ),
    Bug(
        name="rounds-to-everybody",
        rule="A round goes to as many voters as a majority takes, and to the rest only if it is late.",
        edits=(Edit("core.authority", "quorum.smallest(raft.configuration, raft.id, preferred=others)", "others"),),
    ),
    Bug(
        name="rounds-in-fixed-order",
        rule="A round goes to the voters that echo soonest.",
        edits=(Edit("core.progress", "self.match == 0, takes_s", "self.match == 0, 0"),),
    ),
    Bug(
        name="rounds-to-the-slowest",
        rule="A round does not go first to the voters that take longest to echo.",
        edits=(
            Edit(
                "core.progress",
                "return self.gone, self.match == 0, takes_s",
                "return self.gone, self.match == 0, -takes_s",
            ),
        ),
    ),
    Bug(
        name="rounds-to-who-is-gone",
        rule="A round goes last to a voter whose process is known to be gone.",
        edits=(Edit("core.progress", "return self.gone, self.match", "return False, self.match"),),
    ),
    Bug(
        name="rounds-to-who-was-never-heard",
        rule="A round goes last to a voter that has acknowledged nothing in this term: it may be the dead leader.",
        edits=(Edit("core.progress", "self.match == 0, takes_s", "False, takes_s"),),
    ),
    Bug(
        name="silent-voter-keeps-its-latency",
        rule="How soon a voter echoes is not only what it once took, but also how long it owes an echo now.",
        edits=(
            Edit(
                "core.progress",
                "takes_s = usual_s if self._timed is None else max(usual_s, now - self._timed[1])",
                "takes_s = usual_s",
            ),
        ),
    ),
    Bug(
        name="disk-taken-for-distance",
        rule="Only an echo that is asked for at once tells how far a voter is; others wait for its disk.",
        edits=(Edit("core.replication", "    if echo_now:  #", "    if True:  #"),),
    ),
    Bug(
        name="outage-taken-for-distance",
        rule="A beat that was on its way when the link broke tells nothing of how far a voter is.",
        edits=(Edit("core.raft", "            progress.link_is_new()\n", ""),),
    ),
    Bug(
        name="rounds-stay-with-the-far",
        rule="With each heartbeat it is chosen anew whom rounds go to first, by the latencies known then.",
        edits=(Edit("core.replication", "        authority.choose_anew(leader)  #", "        #"),),
    ),
    Bug(
        name="rounds-stay-with-the-slow",
        rule="When a round had to be widened, it is chosen anew whom the next goes to first.",
        edits=(
            Edit(
                "core.authority",
                "            leader.round_targets = _other_voters(raft, leader)\n            choose_anew(leader)\n",
                "            leader.round_targets = _other_voters(raft, leader)\n",
            ),
        ),
    ),
    Bug(
        name="rounds-stay-with-who-is-gone",
        rule="When a process is known to be gone, it is chosen anew whom rounds go to first.",
        edits=(Edit("core.election", "            authority.choose_anew(leader)\n", ""),),
    ),
    Bug(
        name="rounds-stay-with-former-voters",
        rule="Whom rounds go to first is chosen anew with each configuration.",
        edits=(
            Edit(
                "core.authority",
                "if leader.asked_in is not raft.configuration:",
                "if leader.asked_in is None:",
            ),
        ),
    ),
    Bug(
        name="round-widened-late",
        rule="A round that is not back within milliseconds is widened, long before the next heartbeat.",
        edits=(
            Edit(
                "core.authority",
                "leader.round_widen_at = raft.now + raft.config.round_widen_s",
                "leader.round_widen_at = raft.now + 100 * raft.config.round_widen_s",
            ),
        ),
    ),
    Bug(
        name="rounds-ask-for-no-echo",
        rule="A message that carries a waiting round is echoed at once.",
        edits=(
            Edit("core.replication", "echo_now = heartbeat or leader.beat > leader.confirmed", "echo_now = heartbeat"),
        ),
    ),
    Bug(
        name="round-taken-for-its-echo",
        rule="That a round was sent is no sign that anybody has heard it.",
        edits=(
            Edit(
                "core.authority",
                "    leader.round_widen_at = raft.now + raft.config.round_widen_s\n",
                "    leader.round_widen_at = raft.now + raft.config.round_widen_s\n"
                "    for voter in leader.round_targets:\n"
                "        leader.progress[voter].echoed_at = raft.now\n",
            ),
        ),
    ),
    Bug(
        name="one-read-a-confirmation",
        rule="A confirmed beat releases all reads that waited for it.",
        edits=(
            Edit(
                "core.authority",
                "while leader.tokens and leader.tokens[0].beat <= leader.confirmed:",
                "if leader.tokens and leader.tokens[0].beat <= leader.confirmed:",
            ),
        ),
    ),
    Bug(
        name="asker-not-told",
        rule="The follower that asked for a read is told at once of the commit that it waits for.",
        edits=(Edit("core.authority", "asker.awaited = max(asker.awaited, index)", "pass"),),
    ),
    Bug(
        name="last-deadline-for-all",
        rule="Each read has a deadline of its own, whichever comes after it.",
        edits=(
            Edit(
                "core.authority",
                "leader.next_token_deadline = min(leader.next_token_deadline, deadline)",
                "leader.next_token_deadline = deadline",
            ),
        ),
    ),
)
