"""Frames and links: ``network/``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="wire-checksum-unchecked",
        rule="A frame whose body does not match its CRC is not believed.",
        edits=(Edit("network.frames", "if crc32c(body) != checksum:", "if False:"),),
        tries=("network",),
    ),
    Bug(
        name="frame-within-a-body",
        rule="What follows an unfinished frame belongs to it, whatever it looks like.",
        edits=(Edit("network.frames", "if self._kept or len(chunk) < HEADER_BYTES:", "if len(chunk) < HEADER_BYTES:"),),
        tests=("tests/network/test_frames.py",),
    ),
    Bug(
        name="lone-frame-of-any-length",
        rule="A frame above the limit is refused, also where it comes as a whole.",
        edits=(
            Edit(
                "network.frames",
                "!= len(chunk) - HEADER_BYTES or length > self.limit_bytes",
                "!= len(chunk) - HEADER_BYTES",
            ),
        ),
        tests=("tests/network/test_frames.py",),
    ),
    Bug(
        name="later-message-to-an-older-version",
        rule="A peer that speaks version 1 gets no message that came with version 2.",
        edits=(Edit("network.outbound", "if self.version < PROTOCOL_VERSION:", "if False:"),),
        tests=("tests/network/test_peers.py",),
    ),
    Bug(
        name="new-address-refuses-old-process-dead",
        rule="That nobody listens at a peer's new address proves no death of the process at the old one.",
        edits=(Edit("network.peer", "        self._presence.moved()\n", ""),),
        tests=("tests/network/test_peers.py",),
    ),
    Bug(
        name="whoever-is-elsewhere-is-lost",
        rule="A peer that talks to us from elsewhere than its address is dialled there while it is not found.",
        edits=(Edit("network.outbound", "found = connection.proven or address is not self._address", "found = True"),),
        tests=("tests/network/test_peers.py",),
    ),
    Bug(
        name="refused-where-nobody-claims-to-be-dead",
        rule="That nobody listens at a peer's address proves no death of a process that says it is elsewhere.",
        edits=(Edit("network.peer", 'if self._stated_address not in ("", self.address):', "if False:"),),
        tests=("tests/network/test_peers.py",),
    ),
    Bug(
        name="guests-for-ever",
        rule="Who is not named and has had no link for a while is a peer no more.",
        edits=(Edit("network.guests", "if missed and not linked(replica)", "if False"),),
        tests=("tests/network/test_peers.py",),
    ),
    Bug(
        name="guests-without-bound",
        rule="The number of peers that the configuration does not name is bounded.",
        edits=(
            Edit(
                "network.guests",
                "if len(self._missed) >= self._most and hello.replica not in self._missed:",
                "if False:",
            ),
        ),
        tests=("tests/network/test_peers.py",),
    ),
    Bug(
        name="removed-before-it-is-committed",
        rule="Only a removal that is committed sends a replica away for good.",
        edits=(
            Edit("node.acquaintance", "hello.replica in committed.removed", "hello.replica in configuration.removed"),
        ),
        tests=("tests/node/test_acquaintance.py",),
    ),
    Bug(
        name="who-is-ahead-is-no-member",
        rule="Who may know of a configuration that we do not have is let in.",
        edits=(
            Edit(
                "node.acquaintance",
                "may name the other.\n            if hello.last_index > commit_index:",
                "may name the other.\n            if False:",
            ),
        ),
        tests=("tests/node/test_acquaintance.py",),
    ),
    Bug(
        name="two-files-in-one",
        rule="Parts of the snapshots of two replicas are never put together.",
        edits=(
            Edit(
                "node.fetching",
                "if Fetch(sender, chunk.index, chunk.term) != self.source:",
                "if (chunk.index, chunk.term) != (self.source.index, self.source.term):",
            ),
        ),
        tests=("tests/node/test_fetching.py",),
    ),
    Bug(
        name="unfair-serving",
        rule="Everybody who fetches a snapshot has his turn.",
        edits=(
            Edit(
                "node.serving",
                "            self._waiting[peer] = requests  # behind all others",
                "            self._waiting = {peer: requests, **self._waiting}",
            ),
        ),
        tests=("tests/node/test_serving.py",),
    ),
)
