"""The fate of a write: ``node/writes.py``, ``node/intake.py``, and what ``node/node.py`` does with them."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="intake-ignores-numbers",
        rule="A leader takes only the next number of a stream, and so each command once.",
        edits=(Edit("node.intake", "if piece.boot == boot and piece.first == number:", "if piece.boot == boot:"),),
        tries=("network",),
    ),
    Bug(
        name="intake-accepts-gaps",
        rule="What a leader took of a stream is a prefix of it.",
        edits=(
            Edit(
                "node.intake",
                "if piece.boot == boot and piece.first == number:",
                "if piece.boot == boot and piece.first >= number:",
            ),
            Edit(
                "node.intake",
                "self._expected[sender] = (boot, number + len(piece.commands))",
                "self._expected[sender] = (boot, piece.first + len(piece.commands))",
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="intake-checks-on-receipt",
        rule="A leader checks a slice's number when it appends, not when it receives, and advances only then.",
        edits=(
            Edit(
                "node.intake",
                "            self._waiting.append((sender, message.slice))\n",
                "            piece = message.slice\n"
                "            boot, number = self._expected.get(sender, (Boot(0), 1))\n"
                "            if piece.first == (number if piece.boot == boot else 1):\n"
                "                self._expected[sender] = (piece.boot, piece.first + len(piece.commands))\n"
                "                self._waiting.append((sender, piece))\n",
            ),
            Edit("node.intake", "if piece.boot == boot and piece.first == number:", "if piece.boot == boot:"),
            Edit(
                "node.intake",
                "                self._expected[sender] = (boot, number + len(piece.commands))\n",
                "",
            ),
        ),
        mix={"full disk": 30, "spoilt frames": 40},
    ),
    Bug(
        name="gap-unanswered",
        rule="A leader that is sent a later number than the next says which it expects.",
        edits=(Edit("node.intake", "                    answers.append(answer)", "                    pass"),),
        mix={"lost frames": 40},
    ),
    Bug(
        name="numbers-go-on-across-terms",
        rule="Command numbers restart at 1 for each term.",
        edits=(Edit("node.writes", "self._term, self._next_number = term, 1", "self._term = term"),),
        tries=("process",),
    ),
    Bug(
        name="resent-under-new-numbers",
        rule="A number once given in a term always means the same command: what is sent again is identical.",
        edits=(
            Edit(
                "node.writes",
                "                    yield cut.slice\n",
                "                    piece = Slice(self._origin, self._boot, self._next_number, cut.slice.commands)\n"
                "                    self._next_number += len(piece.commands)\n"
                "                    yield piece\n",
            ),
        ),
        tries=("network",),
    ),
    Bug(
        name="slice-of-another-term",
        rule="A slice cut for one term never stands in an entry of another.",
        edits=(Edit("node.intake", "if message.term == self.term and", "if"),),
        tries=("network",),
        tests=("tests/node/test_intake.py",),
    ),
    Bug(
        name="handed-over-too-early",
        rule="A write goes to the next leader once an entry of a later term is applied, not when its term is heard of.",
        edits=(
            Edit(
                "node.node",
                "        self._applier.leadership_ended()\n",
                "        self._applier.leadership_ended()\n        self._writes.term_applied(term)\n",
            ),
        ),
        tries=("process",),
    ),
    Bug(
        name="handed-over-out-of-order",
        rule="What was not executed is handed to the next leader in its order.",
        edits=(Edit("node.writes", "        for cut in reversed(undecided):\n", "        for cut in undecided:\n"),),
        mix={"isolated leader": 40},
    ),
    Bug(
        name="cut-while-undecided",
        rule="Nothing is cut for a new term while a slice of an earlier one is undecided.",
        edits=(Edit("node.writes", "and (term == self._term or not self._undecided)", ""),),
        tries=("process",),
    ),
    Bug(
        name="never-handed-over",
        rule="A write that was not executed because its leader lost its office goes to the next one.",
        edits=(Edit("node.writes", "        if not self._undecided or term <= self._term:\n", "        if True:\n"),),
        mix={"isolated leader": 40},
    ),
    Bug(
        name="unknown-reported-as-not-executed",
        rule="The outcome of an undecided write whose deadline passes is unknown.",
        edits=(
            Edit("node.writes", "self._fail(group, OutcomeUnknown())", "self._fail(group, Unavailable(why_waiting))"),
        ),
        tries=("network",),
    ),
    Bug(
        name="stopping-denies-execution",
        rule="A replica that stops does not know the outcome of what it has cut.",
        edits=(Edit("node.writes", "self._fail(group, undecided)", "self._fail(group, waiting)"),),
        mix={"clean stop": 40, "isolated leader": 30, "one-way partition": 20},
        tests=("tests/node/test_writes.py", "tests/node/test_fate.py"),
    ),
    Bug(
        name="undecided-never-expire",
        rule="Every request is answered by its deadline, if only by an error.",
        edits=(Edit("node.writes", "                if group.deadline <= now:\n", "                if False:\n"),),
        tries=("network",),
    ),
    Bug(
        name="lost-slices-stay-lost",
        rule="What was cut is sent again when there is a fresh link, or when the leader says what it expects.",
        edits=(
            Edit(
                "node.node",
                "            self._send_undecided(peer)  # also where",
                "            pass  # also where",
            ),
            Edit("node.node", "                    self._send_undecided(peer, number)\n", "                    pass\n"),
        ),
        mix={"lost frames": 30, "one-way partition": 10},
    ),
    Bug(
        name="read-placed-too-late",
        rule="A read placed among the writes of its group is answered between them.",
        edits=(
            Edit(
                "node.writes",
                "placed += [(before + position, query)",
                "placed += [(before + len(group.commands), query)",
            ),
        ),
    ),
)
