"""Frames and links: ``network/``."""

from mutants.bug import Bug, Edit

BUGS = (
    Bug(
        name="wire-checksum-unchecked",
        rule="A frame whose body does not match its CRC is not believed.",
        edits=(Edit("network.frames", "if crc32c(body) != checksum:", "if False:"),),
        tries=("network",),
    ),
)
