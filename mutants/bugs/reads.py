"""Linearizable reads, and the shortcuts that are wrong: ``core/authority.py``, ``node/reads.py``, ``node/node.py``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="leader-reads-at-once",
        rule="A leader proves, after the read began, that it still leads.",
        edits=(
            Edit(
                "core.authority",
                "leader.tokens.append(ReadToken(request, peer, Beat(leader.beat + 1), raft.commit_index, deadline))\n",
                "index = max(raft.commit_index, leader.sentinel)\n"
                "        raft.read_outcomes.append(ReadConfirmed(request, index, raft.log_time.at(raft.now)))\n",
            ),
        ),
        tries=("network", "clocks"),
    ),
    Bug(
        name="commit-as-authority",
        rule="A later commit proves no leadership: what moved it may have been sent before the read began.",
        edits=(
            Edit(
                "core.authority",
                "while leader.tokens and leader.tokens[0].beat <= leader.confirmed:",
                "while leader.tokens and (\n"
                "        leader.tokens[0].beat <= leader.confirmed or leader.tokens[0].index < raft.commit_index\n"
                "    ):",
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="echoes-from-before-the-read",
        rule="Only echoes of a beat that was sent after the read began count.",
        edits=(
            Edit("core.authority", "Beat(leader.beat + 1), raft.commit_index", "Beat(leader.beat), raft.commit_index"),
        ),
        tries=("network",),
    ),
    Bug(
        name="joins-the-round-in-flight",
        rule="A read that arrives while a round is in flight shares the next one, not this one.",
        edits=(
            Edit(
                "core.authority",
                "leader.tokens.append(ReadToken(request, peer, Beat(leader.beat + 1), raft",
                "beat = leader.beat + (leader.confirmed >= leader.beat)\n"
                "        leader.tokens.append(ReadToken(request, peer, Beat(beat), raft",
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="sentinel-not-awaited",
        rule="No read is confirmed before the first entry of its leader's term is committed.",
        edits=(
            Edit("core.authority", "    if raft.commit_index < leader.sentinel:\n        return\n", ""),
            Edit("core.authority", "index = max(token.index, leader.sentinel)", "index = token.index"),
            Edit(
                "core.authority",
                "        READ_NOT_BEFORE_SENTINEL.require(index, leader.sentinel, raft.commit_index)\n",
                "",
            ),
        ),
        tries=("process", "network"),
    ),
    Bug(
        name="sentinel-flag-outlives-its-term",
        rule="That a sentinel was committed once says nothing of a later term.",
        edits=(
            Edit(
                "core.authority",
                "    if raft.commit_index < leader.sentinel:\n        return\n",
                '    if raft.commit_index < leader.sentinel and not getattr(raft, "sentinel_committed", False):\n'
                "        return\n"
                '    setattr(raft, "sentinel_committed", True)\n',
            ),
            Edit(
                "core.authority",
                "index = max(token.index, leader.sentinel)",
                "index = max(token.index, min(leader.sentinel, raft.commit_index))",
            ),
            Edit(
                "core.authority",
                "        READ_NOT_BEFORE_SENTINEL.require(index, leader.sentinel, raft.commit_index)\n",
                "",
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="read-below-the-sentinel",
        rule="A read's index is never below the sentinel's: what earlier terms committed lies between.",
        edits=(
            Edit("core.authority", "index = max(token.index, leader.sentinel)", "index = token.index"),
            Edit(
                "core.authority",
                "        READ_NOT_BEFORE_SENTINEL.require(index, leader.sentinel, raft.commit_index)\n",
                "",
            ),
        ),
        tries=("process", "network"),
    ),
    Bug(
        name="beat-not-raised",
        rule="A waiting read has the next beat sent, also when it goes nowhere.",
        edits=(Edit("core.authority", "    leader.beat = Beat(leader.beat + 1)\n", ""),),
    ),
    Bug(
        name="reads-forgotten-with-the-term",
        rule="When a leadership ends every waiting read is refused; none is forgotten.",
        edits=(
            Edit(
                "core.authority",
                "    raft.read_outcomes.extend(ReadRefused(token.request, TermElapsed()) for token in leader.tokens)\n",
                "",
            ),
        ),
    ),
    Bug(
        name="reads-outlive-their-deadline",
        rule="A read whose deadline passes is refused.",
        edits=(Edit("core.authority", "            if token.deadline <= raft.now:\n", "            if False:\n"),),
    ),
    Bug(
        name="reads-without-bound",
        rule="The number of reads that wait at a leader is bounded.",
        edits=(Edit("core.authority", "elif len(leader.tokens) >= raft.config.max_reads:", "elif False:"),),
    ),
    Bug(
        name="round-not-widened",
        rule="A round that is not back soon goes to all voters, or one silent follower would hold up all reads.",
        edits=(
            Edit(
                "core.authority",
                "            leader.round_targets = _other_voters(raft, leader)",
                "            pass",
            ),
        ),
    ),
    Bug(
        name="echo-waits-for-the-disk",
        rule="While a round waits, a follower echoes at once and not only when its disk is done.",
        edits=(
            Edit(
                "core.replication",
                "follower.ack_owed |= message.echo_now or follower.acked",
                "follower.ack_owed |= (message.echo_now and not message.entries) or follower.acked",
            ),
        ),
    ),
    Bug(
        name="read-before-apply",
        rule="A read is answered once its index is applied here.",
        edits=(
            Edit(
                "node.reads",
                "if not self._confirmed or self._confirmed[0][0] > applied:",
                "if not self._confirmed:",
            ),
        ),
        mix={"lost frames": 30, "clogged link": 10},
    ),
    Bug(
        name="remote-read-before-apply",
        rule="A follower waits until it has applied the index that the leader confirmed.",
        edits=(Edit("node.reads", "self._await(asked, index, time_ms)", "self._await(asked, Index(0), time_ms)"),),
        mix={"lost frames": 30, "clogged link": 10},
    ),
    Bug(
        name="read-without-asking",
        rule="A follower answers from its own state only what its leader has confirmed.",
        edits=(
            Edit(
                "node.reads",
                "        self._asked, self._asked_from = round_, self._number + 1\n        return self._ask(now)\n",
                "        self._await(round_, Index(0), 0)\n        return None\n",
            ),
        ),
    ),
    Bug(
        name="refused-read-answered",
        rule="A read that was refused has read nothing.",
        edits=(
            Edit(
                "node.reads",
                "            self._try_again(asked, now)\n        else:\n",
                "            self._await(asked, Index(0), 0)\n        else:\n",
            ),
        ),
        mix={"partial partition": 40, "clean stop": 20, "isolated leader": 10},
        tests=("tests/node/test_reads.py",),
    ),
    Bug(
        name="time-of-a-confirmation-forgotten",
        rule="A read is answered under the leader's log time when it was confirmed, which goes on while nobody writes.",
        edits=(Edit("node.reads", "        round_.time_ms = time_ms\n", ""),),
        tests=("tests/node/test_clock_jumps.py",),
    ),
    Bug(
        name="answered-in-the-past",
        rule="No read is answered at an earlier log time than that of what is applied.",
        edits=(Edit("node.applier", "        time_ms = max(time_ms, self._time_ms)\n", ""),),
        mix={"clogged link": 40},
    ),
)
