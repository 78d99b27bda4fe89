"""The programs that build: ours, and buildah."""

import json
import os
import shutil
from pathlib import Path

from process import measured, run

BASES = Path(os.environ["ZUWAI_BASES"])


class Zuwai:
    """Our own, with a work directory that is empty each time."""

    def __init__(self, folder):
        self.folder = folder
        self.record = folder / "record.json"

    def build(self, context, address, *arguments, destination=None):
        """Builds, and returns the cost; `record` has the phases of it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        # As a drop-in is called: a registry without TLS is to be named as such.
        plain = ["--insecure", "--insecure-pull", "--insecure-registry", address]
        where = ["--destination", destination] if destination else ["--no-push"]
        return measured(
            [
                os.environ["ZUWAI"], "build", "--context", f"dir://{context}",
                "--dockerfile", context / "Dockerfile", *plain, *where,
                "--kaniko-dir", self.folder / "work", "--log-format", "json",
                "--isolation", "namespaces", "--benchmark-file", self.record, *arguments,
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder), "BENCHMARK_FILE": "true"},
        )

    def plan(self, context, *arguments):
        """Says what would be built, and returns the cost."""
        return measured(
            [
                os.environ["ZUWAI"], "plan", "--context", f"dir://{context}",
                "--dockerfile", context / "Dockerfile", "--log-format", "json", *arguments,
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
        )

    def phases(self):
        return json.loads(self.record.read_text())


class Buildah:
    """Debian's buildah on an overlay storage of its own, its base already there."""

    def __init__(self, folder, base):
        self.folder = folder
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "tmp").mkdir(parents=True)
        self.environment = dict(os.environ, TMPDIR=str(folder / "tmp"))
        self.storage = ["--root", folder / "root", "--runroot", folder / "run"]
        self.storage += ["--storage-driver", "overlay"]
        store = f"[overlay@{folder}/root+{folder}/run]"
        run(["skopeo", "copy", "--quiet", f"oci:{BASES}/{base}:latest",
             f"containers-storage:{store}localhost/base:latest"], env=self.environment)

    def build(self, context, destination):
        """Builds and pushes, and returns the cost of both."""
        words = ["buildah", *map(str, self.storage)]
        build = [*words, "build", "--isolation=chroot", "--cap-add=all", "--layers=false",
                 "--no-cache", "--pull=never", "--tag=localhost/built", str(context)]
        push = [*words, "push", "--tls-verify=false", "localhost/built", f"docker://{destination}"]
        return measured(f"{_quoted(build)} && {_quoted(push)}", env=self.environment)

    def forget(self):
        run(["buildah", *self.storage, "rmi", "--force", "localhost/built"], env=self.environment)


def _quoted(words):
    return " ".join(f"'{word}'" for word in words)
