"""Snapshots and changes of members as a node carries them out: ``node/``, and what a replica begins anew with."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="damaged-snapshot-given-again-and-again",
        rule="A snapshot is read through before it is given to anybody, and replaced if it is damaged.",
        edits=(
            Edit(
                "node.snapshots",
                "                    if await self._is_whole(stored):\n",
                "                    if True:\n",
            ),
        ),
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="origins-not-restored",
        rule="With the state of a snapshot comes what it says of each origin's last slice.",
        edits=(Edit("node.applier", "        self.origins = dict(origins)\n", ""),),
        tries=("members", "storage"),
    ),
    Bug(
        name="executed-goes-to-the-next-leader",
        rule="A write that a snapshot says was executed goes to no leader any more.",
        edits=(Edit("node.writes", "and self._undecided[0].slice.first < following", "and False"),),
        tries=("network", "members"),
        tests=("tests/node/test_writes.py",),
    ),
    Bug(
        name="own-writes-forgotten-in-a-restore",
        rule="A snapshot that replaces the state decides the writes that were under way here.",
        edits=(Edit("node.applier", "        self._writes.restored(origins, point.term)\n", ""),),
        tries=("network", "members"),
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="log-released-before-the-snapshot",
        rule="The log goes once the snapshot that holds it is durable.",
        edits=(
            Edit(
                "node.snapshots",
                "        try:\n            stored = await self._write(header, pieces)\n",
                "        self._wal.release(point.index)\n"
                "        try:\n            stored = await self._write(header, pieces)\n",
            ),
        ),
        mix={"slow disk": 40, "burst of clients": 10, "snapshot": 20, "kill": 30, "power loss": 10},
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="log-released-up-to-the-newest-snapshot",
        rule="The log on disk reaches back to the older of two snapshots: the newer may turn out to be damaged.",
        edits=(
            Edit(
                "node.snapshots",
                "        self._wal.release(self._store.log_needed_after)\n        return point\n",
                "        self._wal.release(point.index)\n        return point\n",
            ),
        ),
        mix={"damaged snapshot": 40, "snapshot": 20, "burst of clients": 10},
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="image-of-a-later-moment",
        rule="A snapshot is of the very moment that its header names.",
        edits=(
            Edit(
                "node.snapshots",
                "return header, self._applier.image()",
                "return header, (piece for _ in (0,) for piece in self._applier.image())",
            ),
        ),
        tries=("storage", "members"),
    ),
    Bug(
        name="image-of-what-is-not-applied",
        rule="A snapshot stands where the state is, and not where the log is committed.",
        edits=(Edit("core.snapshot", "    index = raft.applied_index\n", "    index = raft.commit_index\n"),),
        tries=("process", "members"),
    ),
    Bug(
        name="taken-while-restoring",
        rule="No snapshot is taken of a state that is about to be replaced.",
        edits=(Edit("node.snapshots", "        if self._raft.restoring:\n", "        if False:\n"),),
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="fetched-and-not-verified",
        rule="A snapshot that was fetched counts once all of it has been read.",
        edits=(
            Edit(
                "storage.snapshots",
                "            header = await self._store._verify(self._temporary)\n",
                "            header = (await SnapshotFile.open(self._store._disk, self._temporary)).header\n",
            ),
        ),
        tests=("tests/storage/test_snapshots.py", "tests/node/test_fetching.py"),
    ),
    Bug(
        name="forgets-what-an-installing-follower-needs",
        rule="While a follower installs a snapshot, what follows that stays: else it would need one after another.",
        edits=(Edit("node.snapshots", "max(needed_after(raft, through), longest)", "through"),),
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="snapshot-begun-again-and-again",
        rule="A follower finishes the snapshot that it has begun, though its leader has a newer one.",
        edits=(
            Edit("node.fetching", "self._download.source.leader == source.leader:", "self._download.source == source:"),
        ),
        tests=("tests/node/test_fetching.py",),
    ),
    Bug(
        name="what-follows-the-newest-is-kept",
        rule="What follows the snapshot that a follower has begun stays, not only what follows the newest.",
        edits=(Edit("core.snapshot", "if progress.fetching <= progress.match:", "if True:"),),
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="base-gathered-and-forgotten",
        rule="A snapshot's place in the log is written, also when more has gathered behind it.",
        edits=(
            Edit(
                "node.log_writer",
                "base = next((persist.base for persist in reversed(gathered) if persist.base is not None), None)",
                "base = last.base",
            ),
        ),
        mix={"disk stall": 30, "slow disk": 40, "isolated leader": 20, "power loss": 20},
        tests=("tests/node/test_log_writer.py",),
    ),
    Bug(
        name="gathered-before-a-base-survives-it",
        rule="Of what gathered before a snapshot's place is written nothing is left.",
        edits=(
            Edit("node.log_writer", "            merged.clear()  # it replaces the whole log\n", "            pass\n"),
        ),
        mix={"disk stall": 30, "slow disk": 40, "isolated leader": 20, "power loss": 20},
        tests=("tests/node/test_log_writer.py",),
    ),
    Bug(
        name="base-not-said-to-be-durable",
        rule="Who began anew with a snapshot says so to those whom it meets.",
        edits=(
            Edit("node.log_writer", "                    last_index, last_term = base\n", "                    pass\n"),
        ),
        mix={"isolated leader": 20, "power loss": 30, "one-way partition": 20, "snapshot": 10},
        tests=("tests/node/test_log_writer.py",),
    ),
    Bug(
        name="fetched-before-the-term-is-durable",
        rule="A snapshot is fetched in a term that is on disk: else a crash leaves what looks like a broken promise.",
        edits=(
            Edit("node.node", "if ready.fetch is not None and raft.persisted_term == raft.term:", "if ready.fetch:"),
        ),
        mix={"isolated leader": 30, "slow disk": 40, "kill": 40},
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="starts-before-its-snapshot",
        rule="A replica that starts from a snapshot goes on where that ends.",
        edits=(
            Edit(
                "node.node",
                "snapshot=durable.snapshot.point if durable.snapshot is not None else None,",
                "snapshot=None,",
            ),
        ),
        tries=("process",),
    ),
    Bug(
        name="log-time-forgotten-with-the-log",
        rule="Log time goes on where a snapshot ends, also where the log is empty.",
        edits=(Edit("node.node", "base_time_ms=durable.base_time_ms,", "base_time_ms=0,"),),
        tries=("members", "storage"),
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="backup-of-an-earlier-moment",
        rule="A backup holds every write that was acknowledged before it was asked for.",
        edits=(Edit("node.node", "while point.index < applied:", "while False:"),),
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="promises-of-another-directory-count",
        rule="What another directory than the member's promises under its id does not count.",
        edits=(
            Edit(
                "node.acquaintance",
                "life is not None and life != known:\n            return False",
                "life is not None and life != known:\n            pass",
            ),
        ),
        mix={"empty disk": 30, "isolated leader": 10, "kill": 10},
        tests=("tests/node/test_acquaintance.py",),
    ),
    Bug(
        name="directory-of-a-former-time",
        rule="Whose promises count is asked of the configuration in force.",
        edits=(
            Edit(
                "node.acquaintance", "if configuration is not self._configuration:", "if self._configuration is None:"
            ),
        ),
        mix={"empty disk": 30, "kill": 10},
        tests=("tests/node/test_acquaintance.py",),
    ),
    Bug(
        name="held-to-a-former-directory",
        rule="Who rejoined with an empty disk is not held to what its former directory promised.",
        edits=(
            Edit(
                "node.acquaintance", "bound = not member.incarnation or promiser == hello.incarnation", "bound = True"
            ),
        ),
        mix={"empty disk": 30, "kill": 10},
        tests=("tests/node/test_acquaintance.py",),
    ),
    Bug(
        name="rejoining-refused-for-good",
        rule="A later directory than the known one is only refused until its configuration may be known here.",
        edits=(Edit("node.acquaintance", "if hello.boot // FIRST_BOOTS > member.generation:", "if False:"),),
        mix={"empty disk": 30, "kill": 10},
        tests=("tests/node/test_acquaintance.py",),
    ),
    Bug(
        name="removed-may-come-back",
        rule="Who was removed is sent away for good.",
        edits=(Edit("node.acquaintance", "if hello.replica in committed.removed:", "if False:"),),
        mix={"added replica": 20, "removed replica": 30, "kill": 20},
        tests=("tests/node/test_acquaintance.py",),
    ),
    Bug(
        name="joins-with-a-removal-under-way",
        rule="Who joins does not count as removed whom a change under way is to remove: it may come to nothing.",
        edits=(
            Edit(
                "storage.identity",
                "configuration=msgspec.structs.replace(configuration, removed=()),",
                "configuration=configuration,",
            ),
        ),
        mix={"removed replica": 30, "empty disk": 30, "isolated leader": 20},
        tests=("tests/storage/test_joining.py",),
    ),
    Bug(
        name="another-directory-sent-away",
        rule="Only a change that is committed sends a former directory away for good.",
        edits=(
            Edit(
                "node.acquaintance",
                '"incarnation" if commit_index and settled and settled.incarnation == member.incarnation else',
                '"incarnation" if True else',
            ),
        ),
        mix={"empty disk": 30, "isolated leader": 20},
        tests=("tests/node/test_acquaintance.py",),
    ),
    Bug(
        name="disk-error-raised-to-who-asked",
        rule="Who asked for a snapshot is told in the words of the interface that the replica stops.",
        edits=(
            Edit(
                "node.node",
                'raise Unavailable("this replica failed while it wrote the snapshot, and stops") from error',
                "raise",
            ),
        ),
        mix={"snapshot": 40, "disk error": 30},
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="leaving-without-a-link",
        rule="Who is leaving is linked until that is committed: so it hears of it.",
        edits=(Edit("node.node", "{**_addresses(known[1]), **_addresses(known[0])}", "_addresses(known[0])"),),
        mix={"added replica": 20, "removed replica": 30, "replaced replica": 20, "isolated leader": 10},
        tests=("tests/node/test_snapshots.py",),
    ),
    Bug(
        name="boots-begin-again",
        rule="The boots of a directory that rejoins are above all those of the former one.",
        edits=(Edit("storage.identity", "boot=Boot(identity.member.generation * FIRST_BOOTS)", "boot=Boot(0)"),),
        mix={"empty disk": 30, "kill": 10},
        tests=("tests/storage/test_joining.py",),
    ),
    Bug(
        name="last-slices-one-short",
        rule="A snapshot knows of each origin what follows its last slice, so that a replica does not bring it again.",
        edits=(Edit("node.applier", "piece.first + len(piece.commands))", "piece.first)"),),
        mix={"snapshot": 60, "kill": 20, "isolated leader": 10},
        tests=("tests/node/test_snapshots.py", "tests/node/test_writes.py"),
    ),
)
