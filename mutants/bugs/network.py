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
        name="overflow-goes-unsaid",
        rule="A link that cannot take what must not be dropped closes, so that all of it is sent again.",
        edits=(Edit("network.outbound", "            if required:\n", "            if False:\n"),),
        tries=("network",),
    ),
    Bug(
        name="former-connection-still-heard",
        rule="A peer's new connection replaces its earlier one, from which nothing is heard any more.",
        edits=(
            Edit(
                "network.peer",
                "            self._inbound.abort()\n        self._inbound = connection\n",
                "            pass\n        self._inbound = connection\n",
            ),
        ),
        tries=("network", "process"),
    ),
)
