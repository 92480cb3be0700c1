"""All targets, in the order in which they are run."""

from collections.abc import Mapping

from fuzz.target import Target
from fuzz.targets import (
    core,
    data_directory,
    log_frames,
    payloads,
    raft_dial,
    raft_port,
    redis_port,
    snapshot_file,
    text,
)

TARGETS: Mapping[str, Target] = {
    target.name: target
    for module in (redis_port, text, raft_port, raft_dial, core, log_frames, data_directory, snapshot_file, payloads)
    for target in module.TARGETS
}
