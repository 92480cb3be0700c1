"""The log on disk and its recovery: ``storage/``, and ``node/log_writer.py``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="fsync-skipped",
        rule="A frame is synced before anybody hears of it.",
        edits=(
            Edit(
                "storage.wal",
                "await self._file.write_at(self._offset, image, sync=True)",
                "await self._file.write_at(self._offset, image)",
            ),
        ),
        tries=("storage",),
    ),
    Bug(
        name="synced-write-left-in-the-page-cache",
        rule="What is written with a sync is durable when the call returns.",
        edits=(
            Edit(
                "storage.os_disk",
                "descriptor = self._synced if sync else self._descriptor",
                "descriptor = self._descriptor",
            ),
        ),
        tests=("tests/storage/test_os_disk.py",),
    ),
    Bug(
        name="sync-asks-nobody",
        rule="A sync makes durable what was written before.",
        edits=(
            Edit(
                "storage.os_disk",
                ".run(lambda: os.fdatasync(self._descriptor))",
                ".run(lambda: None)",
            ),
        ),
        tests=("tests/storage/test_os_disk.py",),
    ),
    Bug(
        name="second-descriptor-stays-open",
        rule="A closed file keeps no descriptor.",
        edits=(Edit("storage.os_disk", "        self._writer.post(lambda: os.close(self._synced))\n", ""),),
        tests=("tests/storage/test_os_disk.py",),
    ),
    Bug(
        name="vote-frames-unsynced",
        rule="A frame that holds nothing but a term and a vote is synced like any other.",
        edits=(
            Edit(
                "storage.wal",
                "await self._file.write_at(self._offset, image, sync=True)",
                "await self._file.write_at(self._offset, image, sync=bool(entries))",
            ),
        ),
        tries=("storage",),
    ),
    Bug(
        name="two-writes-one-sync",
        rule="A frame is written only after the one before it was synced.",
        edits=(
            Edit(
                "storage.wal",
                "await self._file.write_at(self._offset, image, sync=True)",
                "await self._file.write_at(self._offset, image, sync=self._next_sequence % 2 == 0)",
            ),
        ),
        tries=("storage",),
    ),
    Bug(
        name="durable-before-written",
        rule="A write is reported durable when it is done, not when it is begun.",
        edits=(
            Edit(
                "node.log_writer",
                "                await self._wal.append(last.term, last.vote, entries, base)\n",
                "",
            ),
            Edit(
                "node.log_writer",
                "                self._on_durable(last, messages)\n",
                "                self._on_durable(last, messages)\n"
                "                await self._wal.append(last.term, last.vote, entries, base)\n",
            ),
        ),
        tries=("storage", "process"),
    ),
    Bug(
        name="failed-fsync-retried",
        rule="An fsync that failed is final: one that succeeds after it proves nothing.",
        edits=(
            Edit(
                "storage.wal",
                "        await self._file.write_at(self._offset, image, sync=True)\n",
                "        await self._file.write_at(self._offset, image)\n"
                "        try:\n            await self._file.sync()\n"
                "        except OSError:\n            await self._file.sync()\n",
            ),
        ),
        mix={"disk error": 40, "power loss": 20},
    ),
    Bug(
        name="disk-error-swallowed",
        rule="Any error of the disk stops the replica.",
        edits=(
            Edit(
                "node.log_writer",
                "                await self._wal.append(last.term, last.vote, entries, base)\n",
                "                try:\n"
                "                    await self._wal.append(last.term, last.vote, entries, base)\n"
                "                except Exception:\n"
                "                    pass\n",
            ),
        ),
        mix={"disk error": 30, "kill": 20},
    ),
    Bug(
        name="gathered-writes-collide",
        rule="Of several writes gathered into one frame a later one overwrites from its first index on.",
        edits=(Edit("node.log_writer", "                del merged[max(keep, 0) :]\n", "                del keep\n"),),
        replicas=5,
        mix={"kill": 30, "slow disk": 30, "disk stall": 20, "clogged link": 30},
        tests=("tests/node/test_log_writer.py",),
    ),
    Bug(
        name="vote-not-recovered",
        rule="The vote of the current term is read back from the last frame.",
        edits=(
            Edit(
                "storage.replay",
                "self.term, self.vote = frame.term, frame.vote",
                "self.term, self.vote = frame.term, ReplicaId(0)",
            ),
        ),
        tries=("process",),
    ),
    Bug(
        name="term-not-recovered",
        rule="The current term is read back from the last frame, not from the last entry.",
        edits=(
            Edit(
                "storage.replay",
                "        self.term, self.vote = frame.term, frame.vote\n",
                "        self.term, self.vote = self.entries[-1].term if self.entries else self.term, frame.vote\n",
            ),
        ),
        mix={"clogged link": 40, "kill": 40, "isolated leader": 10},
    ),
    Bug(
        name="frames-not-replaced",
        rule="A frame's entries replace what stood from their first index on.",
        edits=(
            Edit(
                "storage.replay",
                "self.entries[max(0, frame.first_index - self.first_index) :] = frame.entries()",
                "self.entries[frame.first_index - self.first_index : frame.last_index] = frame.entries()",
            ),
        ),
        mix={"isolated leader": 40, "kill": 40, "burst of clients": 20},
        tests=("tests/storage/test_compaction.py",),
    ),
    Bug(
        name="frame-checksum-unchecked",
        rule="A frame whose payload does not match its checksum is not believed.",
        edits=(Edit("storage.frame", "if crc32c(payload) != header.payload_crc:", "if False:"),),
        mix={"damaged sector": 40, "kill": 30},
        tests=("tests/storage/test_damage.py",),
    ),
    Bug(
        name="header-checksum-unchecked",
        rule="A frame's header has a checksum of its own, which ties it to its directory and segment.",
        edits=(
            Edit(
                "storage.frame",
                "if _CRC.unpack_from(data, _FIELDS.size) != (crc32c(data[: _FIELDS.size], salt),):",
                "if False:",
            ),
        ),
        mix={"damaged sector": 40, "kill": 10},
        tests=("tests/storage/test_damage.py",),
    ),
    Bug(
        name="damage-taken-for-a-tear",
        rule="Only a write that never finished is dropped; any other damage of the last frame is corruption.",
        edits=(
            Edit(
                "storage.replay",
                "if found.fault is Fault.DAMAGED or (",
                "if (",
            ),
        ),
        mix={"damaged sector": 40, "kill": 10},
    ),
    Bug(
        name="damage-in-the-middle-taken-for-the-end",
        rule="A valid header with a higher sequence proves that damage before it is no torn tail.",
        edits=(
            Edit("storage.replay", "if later_header(beyond, header_salt, self.next_sequence):", "if False:"),
            Edit("storage.replay", "if found.fault is Fault.DAMAGED or (", "if ("),
        ),
        mix={"damaged sector": 40, "kill": 10},
    ),
    Bug(
        name="segment-named-but-not-for-long",
        rule="A segment gets frames once its name is durable.",
        edits=(
            Edit(
                "storage.wal",
                "        await self._disk.sync_directory(self._directory)\n",
                "",
            ),
        ),
        mix={"power loss in an operation": 60},
        tests=("tests/storage/test_power_failure.py",),
    ),
    Bug(
        name="segment-named-before-its-header",
        rule="A segment gets its name once its header is durable.",
        edits=(
            Edit(
                "storage.wal",
                "        await file.write_at(0, image, sync=True)\n",
                "        await file.write_at(0, image)\n",
            ),
        ),
        mix={"power loss in an operation": 60},
        tests=("tests/storage/test_power_failure.py",),
    ),
    Bug(
        name="recovered-but-not-for-long",
        rule="What a recovery wrote has its name durably before the replica takes part in anything.",
        edits=(
            Edit(
                "storage.recovery",
                '        await disk.rename(temporary, f"{directory}/{segment_name(header.number)}")\n'
                "        await disk.sync_directory(directory)\n",
                '        await disk.rename(temporary, f"{directory}/{segment_name(header.number)}")\n',
            ),
            Edit(
                "storage.recovery",
                "            await file.close()\n    await disk.sync_directory(directory)\n",
                "            await file.close()\n",
            ),
        ),
        mix={"power loss in an operation": 60, "kill": 20},
        tests=("tests/storage/test_power_failure.py",),
    ),
    Bug(
        name="recovery-trusts-the-page-cache",
        rule="The last frame may have been read from the page cache: it is written again before anything else.",
        edits=(
            Edit("storage.recovery", "    last = replay.last_frame\n", "    last = None\n"),
            Edit(
                "storage.replay",
                "self.before_last = header.previous if is_first else SegmentEnd(header.number, offset)",
                "self.before_last = SegmentEnd(header.number, offset + frame_bytes(found.payload))",
            ),
        ),
        tries=("storage",),
    ),
    Bug(
        name="boot-not-raised",
        rule="Each start raises a durable boot counter before the first handshake.",
        edits=(Edit("storage.recovery", "boot=Boot(newest.boot + 1)", "boot=Boot(newest.boot)"),),
        tries=("process",),
    ),
    Bug(
        name="released-too-far",
        rule="The log on disk reaches back to what is not released.",
        edits=(Edit("storage.wal", "self._released + 1)", "self._released + 9)"),),
        tests=("tests/storage/test_compaction.py",),
    ),
    Bug(
        name="reset-for-a-while",
        rule="A log that was replaced by a snapshot does without the segments before.",
        edits=(Edit("storage.wal", "            oldest=number,\n", "            oldest=self._oldest_needed(),\n"),),
        tests=("tests/storage/test_compaction.py",),
    ),
    Bug(
        name="recovery-forgets-the-oldest",
        rule="A segment of recovery, too, says how far back the log reaches.",
        edits=(Edit("storage.recovery", "oldest=segments[0].number if segments else number", "oldest=None"),),
        tests=("tests/storage/test_compaction.py",),
    ),
    Bug(
        name="log-behind-its-snapshot",
        rule="A log that ends before the snapshot counts for nothing.",
        edits=(Edit("storage.recovery", "    if not footing.log_counts:\n", "    if False:\n"),),
        tests=("tests/storage/test_compaction.py",),
    ),
    Bug(
        name="another-entry-at-the-snapshot",
        rule="A log with another entry in the snapshot's place counts for nothing.",
        edits=(Edit("storage.base", " or entries[place].term != point.term", ""),),
        tests=("tests/storage/test_compaction.py",),
    ),
    Bug(
        name="gap-behind-the-snapshot",
        rule="A replica whose entries are missing between snapshot and log does not start.",
        edits=(Edit("storage.base", "if first_index > reached + 1:", "if False:"),),
        tests=("tests/storage/test_compaction.py",),
    ),
    Bug(
        name="damaged-snapshot-counts",
        rule="A start reads all of a snapshot before it counts.",
        edits=(Edit("storage.snapshots", "            await self._verify(stored.path)\n", "            pass\n"),),
        tests=("tests/storage/test_snapshots.py",),
    ),
    Bug(
        name="one-snapshot-kept",
        rule="A damaged snapshot has another behind it.",
        edits=(Edit("storage.snapshots", "if place < KEPT or", "if place < 1 or"),),
        tests=("tests/storage/test_snapshots.py",),
    ),
    Bug(
        name="snapshot-named-before-it-is-durable",
        rule="A snapshot gets its name once all of it is durable.",
        edits=(
            Edit(
                "storage.whole_file",
                "            await self._file.sync()\n            await self._file.close()\n",
                "            await self._file.close()\n",
            ),
        ),
        tests=("tests/storage/test_snapshot.py",),
    ),
    Bug(
        name="pieces-change-places",
        rule="A piece of a snapshot passes in no other place.",
        edits=(Edit("storage.snapshot", "_SALT.pack(header_crc, number)", "_SALT.pack(header_crc, 0)"),),
        tests=("tests/storage/test_snapshot.py",),
    ),
    Bug(
        name="any-backup-will-do",
        rule="Replicas that begin with different states are never of one cluster.",
        edits=(Edit("storage.identity", ", origin] if origin else lines)", "] if origin else lines)"),),
        tests=("tests/cli/test_restore.py",),
    ),
    Bug(
        name="snapshots-pass-for-new",
        rule="A directory that has snapshots and no log has lost it, and is never taken for new.",
        edits=(
            Edit(
                "storage.identity",
                " and (SNAPSHOTS_NAME not in names or segment_name(_FIRST_SEGMENT) in log)",
                "",
            ),
        ),
        tests=("tests/cli/test_restore.py",),
    ),
    Bug(
        name="successor-of-nothing",
        rule="The old directory is durably aside before the new one gets its name.",
        edits=(
            Edit(
                "storage.successor",
                "ASIDE_SUFFIX)\n    await disk.sync_directory(posixpath.dirname(directory))\n",
                "ASIDE_SUFFIX)\n",
            ),
        ),
        tests=("tests/cli/test_recover.py",),
    ),
)
