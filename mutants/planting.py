"""Plants a bug: replaces text in modules' sources as they are imported, in this process only.

No file is changed, no byte code is cached, and nothing in the product knows of it.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from mutants.bug import Bug, Edit

PACKAGE = "oarlock"


class NotPlanted(Exception):
    """The text that a bug replaces is not there exactly once: the source has changed, and the bug must follow."""


def plant(bug: Bug) -> None:
    """From here on modules are imported with the bug.

    :raises NotPlanted: one of them has been imported already.
    """
    if early := [name for name in modules(bug) if name in sys.modules]:
        raise NotPlanted(f"{bug.name}: {', '.join(early)} was imported before the bug was planted")
    sys.meta_path.insert(0, _Planter(bug))


def modules(bug: Bug) -> list[str]:
    """The full names of the modules that it changes."""
    return list(dict.fromkeys(f"{PACKAGE}.{edit.module}" for edit in bug.edits))


def edited(bug: Bug, module: str, source: str) -> str:
    """The source of a module with the bug in it.

    :raises NotPlanted: what an edit replaces is not there, or more than once.
    """
    for edit in _edits(bug, module):
        if (count := source.count(edit.before)) != 1:
            raise NotPlanted(f"{bug.name}: stands {count} times in {module}:\n{edit.before}")
        source = source.replace(edit.before, edit.after)
    return source


def _edits(bug: Bug, module: str) -> list[Edit]:
    return [edit for edit in bug.edits if f"{PACKAGE}.{edit.module}" == module]


class _Planter(MetaPathFinder):
    """Finds the modules that a bug changes, before anybody else does."""

    def __init__(self, bug: Bug) -> None:
        self._bug = bug

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _edits(self._bug, fullname):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        spec.loader = _Loader(self._bug, fullname, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    """Compiles a module from its edited source, always: byte code in a cache is that of the healthy one."""

    def __init__(self, bug: Bug, fullname: str, path: str) -> None:
        super().__init__(fullname, path)
        self._bug = bug

    def get_code(self, fullname: str) -> CodeType:
        source = edited(self._bug, fullname, self.get_data(self.path).decode())
        return compile(source, self.path, "exec", dont_inherit=True)
