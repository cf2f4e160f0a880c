"""Compiles what Roost has in C, where there is a compiler; without one, the same is done step by step in Python."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCE = Path("src/roost/engine/index/lone_look.c")
LIBRARY = SOURCE.with_name("_lone_look.so")
FLAGS = ("-O3", "-fPIC", "-shared", "-Wall", "-Wextra")


class CustomBuildHook(BuildHookInterface[Any]):
    """Puts the library beside its source, and into wheels, which are then of this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel" or not sys.platform.startswith("linux"):
            return
        root = Path(self.root)
        compiler = os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc"
        made = root / LIBRARY.with_suffix(f".{os.getpid()}.tmp")
        command = [*shlex.split(compiler), *FLAGS, "-o", str(made), str(root / SOURCE), "-lm"]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
            os.replace(made, root / LIBRARY)  # a process that runs keeps what it has loaded
        except (OSError, subprocess.CalledProcessError) as error:
            made.unlink(missing_ok=True)
            (root / LIBRARY).unlink(missing_ok=True)
            reason = error.stderr if isinstance(error, subprocess.CalledProcessError) else error
            self.app.display_warning(f"not compiled, so searches beside writes are slower: {reason}")
            return
        platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
        build_data.update(pure_python=False, tag=f"py3-none-{platform}")
        build_data["artifacts"].append(LIBRARY.as_posix())
