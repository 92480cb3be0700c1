"""Compiles what every request passes, when a wheel is built and asked to: ``HATCH_BUILD_HOOKS_ENABLE=1 pip install .``

mypyc makes an extension of ordinary typed modules, and the same sources run without: a compiled replica and an
interpreted one take the same decisions and understand each other. Which modules are compiled stands in
``pyproject.toml``; what keeps one from being compiled, in ``tests/test_compiled.py``.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_BUILD = """
from mypyc.build import mypycify
from setuptools import setup
setup(
    name="oarlock",
    packages=[],
    package_dir={"": "src"},
    ext_modules=mypycify(["--ignore-missing-imports", *%r], opt_level="2", group_name="oarlock"),
)
"""


class CompiledBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the extension modules to the wheel. The source tree stays as it is: one left there would go before the
    source it was made of, also when that is edited."""

    scratch: tempfile.TemporaryDirectory[str] | None = None
    """Where the extensions are until the wheel is packed."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":
            return
        modules = [f"src/{module.replace('.', '/')}.py" for module in self.config["modules"]]
        self.scratch = tempfile.TemporaryDirectory()
        scratch = Path(self.scratch.name)
        shutil.copytree(Path(self.root) / "src", scratch / "src", ignore=shutil.ignore_patterns("__pycache__"))
        (scratch / "setup.py").write_text(_BUILD % modules)
        built = subprocess.run(
            [sys.executable, "setup.py", "--quiet", "build_ext", "--build-lib", "built"],
            cwd=scratch,
            # Fused, a sum with a product would be another than the interpreter's, and so would the time it stands for.
            env=os.environ | {"MYPYPATH": "src", "CFLAGS": os.environ.get("CFLAGS", "") + " -ffp-contract=off"},
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode != 0:
            raise RuntimeError(f"mypyc or the C compiler failed:\n{built.stdout}{built.stderr}")
        suffix = sysconfig.get_config_var("EXT_SUFFIX")
        for module in ("oarlock__mypyc", *self.config["modules"]):
            extension = f"{module.replace('.', '/')}{suffix}"
            if not (scratch / "built" / extension).exists():
                raise RuntimeError(f"mypyc made no {extension}")
            build_data["force_include"][str(scratch / "built" / extension)] = extension
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self.scratch is not None:
            self.scratch.cleanup()
