"""What is measured: each scenario has contenders, a floor among them, and bounds to hold."""

import hashlib
import http.client
import os
import re
import shutil
import statistics
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import data
from contenders import BASES, Buildah, Zuwai
from process import measured, run
from registry import Registry, Wire

THREADS = len(os.sched_getaffinity(0))


class Scenario:
    """A folder and a registry of its own, both gone in the end."""

    title = ""

    def __init__(self, folder, scale):
        self.folder, self.scale = folder, scale
        folder.mkdir(parents=True)
        self.registry = Registry(folder / "registry")
        self.zuwai = Zuwai(folder / "zuwai")
        self.layout = ["--build-context", f"base=oci-layout://{BASES}/busybox"]
        self.contenders = {}
        self.facts = {}
        self.prepare()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.registry.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self):
        """Makes what is built and names the contenders."""
        raise NotImplementedError

    def bounds(self, medians):
        """Yields (what, found, at most)."""
        raise NotImplementedError

    def measure(self, runs):
        costs = {name: [] for name in self.contenders}
        contenders = list(self.contenders.items())
        for number in range(runs):
            for name, contender in contenders:
                cost = contender()
                print(f"  {number + 1}/{runs} {name}: {cost.figures()}", file=sys.stderr)
                costs[name].append(cost)
            # Each has the one before it as the one after it, in turns.
            contenders.reverse()
        fields = ("wall_s", "cpu_s", "peak_rss_mb")
        medians = {
            name: {field: statistics.median(getattr(c, field) for c in found) for field in fields}
            for name, found in costs.items()
        }
        bounds = [
            {"what": what, "found": round(found, 3), "at_most": limit, "held": found <= limit}
            for what, found, limit in self.bounds(medians)
        ]
        runs_of = {name: [cost.figures() for cost in found] for name, found in costs.items()}
        return {
            "name": type(self).__name__.lower(), "title": self.title, "facts": self.facts,
            "medians": medians, "bounds": bounds, "runs": runs_of,
        }

    def context(self, dockerfile):
        context = self.folder / "context"
        context.mkdir(exist_ok=True)
        (context / "Dockerfile").write_text(dockerfile)
        return context

    def build_and_push(self):
        self.registry.forget("built")
        return self.zuwai.build(
            self.folder / "context", self.registry.address, *self.layout,
            destination=f"{self.registry.address}/built:latest",
        )

    def buildah(self):
        self.registry.forget("built")
        cost = self.peer.build(self.folder / "context", f"{self.registry.address}/built:latest")
        self.peer.forget()
        return cost

    def largest_layer_bytes(self):
        return max(layer["spooled_bytes"] for layer in self.zuwai.phases()["layers"])


class Layer(Scenario):
    title = "One layer of 1 GiB, half random and half real files, built and pushed"

    def prepare(self):
        context = self.context("FROM base\nCOPY data /data\n")
        tree = data.unpacked(self.folder.parent)
        data.half_random(context / "data", tree, int(2**30 * self.scale))
        self.peer = Buildah(self.folder / "buildah", "busybox")
        self.build_and_push()
        ours = self.largest_layer_bytes()
        self.compress = best_compressor(context / "data", self.folder / "compressed", ours)
        like_kaniko = int(run(f"tar -C {context} -cf - data | gzip -6 | wc -c"))
        self.facts = {
            "layer_bytes": ours,
            "gzip_6_bytes": like_kaniko,
            "bare_tool": self.compress,
        }
        self.contenders = {
            "zuwai": self.build_and_push, "bare tools": self.floor, "buildah": self.buildah,
        }

    def floor(self):
        """Compressing alone and uploading alone; the slower of them, as if they overlapped."""
        compressed = measured(self.compress)
        started = time.monotonic()
        upload(self.folder / "compressed", self.registry)
        self.registry.forget("bare")
        uploaded = time.monotonic() - started
        self.facts["upload_s"] = round(uploaded, 3)
        compressed.wall_s = max(compressed.wall_s, uploaded)
        return compressed

    def bounds(self, medians):
        ours, floor = medians["zuwai"], medians["bare tools"]
        yield "wall, of the floor", ours["wall_s"] / floor["wall_s"], 1.15
        yield "CPU, of the floor", ours["cpu_s"] / floor["cpu_s"], 1.2
        size = self.facts["layer_bytes"] / self.facts["gzip_6_bytes"]
        yield "layer size, of gzip -6", size, 1.02


class Copy(Scenario):
    title = "COPY of 100,000 files (824 MB) and three small RUNs"

    def prepare(self):
        context = self.context(
            "FROM base\nCOPY files /srv\nRUN echo 1 >/srv/one\nRUN echo 2 >/srv/two\n"
            "RUN rm -r /srv/package-0/module-0\n"
        )
        tree = data.unpacked(self.folder.parent)
        data.many_files(context / "files", tree, int(100_000 * self.scale), 8240)
        self.peer = Buildah(self.folder / "buildah", "busybox")
        self.build_and_push()
        compressed, copied = self.folder / "compressed", self.folder / "copied"
        best = best_compressor(context / "files", compressed, self.largest_layer_bytes())
        self.bare = f"rm -rf {copied}; cp -a {context}/files {copied} && {best} && " \
                    f"sha256sum {compressed}"
        self.facts = {"bare_tools": self.bare}
        self.contenders = {
            "zuwai": self.build_and_push, "bare tools": lambda: measured(self.bare),
            "buildah": self.buildah,
        }

    def bounds(self, medians):
        ours, floor = medians["zuwai"], medians["bare tools"]
        yield "CPU seconds", ours["cpu_s"], 20 * self.scale
        yield "CPU, of the floor", ours["cpu_s"] / floor["cpu_s"], 1.5


class Far(Scenario):
    """A build upon the large base, from near and over wires that take their time."""

    def prepare(self):
        address = self.registry.address
        run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{BASES}/large:latest",
             f"docker://{address}/large:latest"])
        # The one that takes no time costs what the wire itself does.
        self.wires = {ms: Wire(self.registry.port, ms / 1000) for ms in (0, 30, 150)}
        self.contenders["zuwai"] = lambda: self.build(address)
        for ms, wire in self.wires.items():
            name = f"zuwai, {ms} ms a round trip"
            self.contenders[name] = lambda wire=wire: self.build(wire.address)

    def __exit__(self, *arguments):
        for wire in self.wires.values():
            wire.close()
        super().__exit__(*arguments)

    def build(self, address):
        """Builds with the registry at this address, and returns the cost."""
        raise NotImplementedError

    def round_trips(self, medians):
        """Yields each wire's, with how many it adds."""
        wired = medians["zuwai, 0 ms a round trip"]
        for ms in filter(None, self.wires):
            more = medians[f"zuwai, {ms} ms a round trip"]["wall_s"] - wired["wall_s"]
            yield ms, more / ms * 1000


class Pull(Far):
    title = "A base of 65,000 entries and 1.1 GB, pulled and unpacked"

    def prepare(self):
        super().prepare()
        self.contenders["skopeo and umoci"] = self.tools

    def build(self, address):
        # The least that makes it need its files.
        context = self.context(f'FROM {address}/large\nRUN ["/bin/true"]\n')
        cost = self.zuwai.build(context, address)
        self.facts[address] = self.zuwai.phases()["phases_ms"]
        return cost

    def tools(self):
        layout, bundle = self.folder / "layout", self.folder / "bundle"
        for folder in (layout, bundle):
            shutil.rmtree(folder, ignore_errors=True)
        image = f"docker://{self.registry.address}/large:latest"
        return measured(
            f"skopeo copy --quiet --src-tls-verify=false {image} oci:{layout}:latest && "
            f"umoci unpack --image {layout}:latest {bundle}"
        )

    def bounds(self, medians):
        ours, tools = medians["zuwai"], medians["skopeo and umoci"]
        yield "CPU seconds", ours["cpu_s"], 9
        yield "wall, of skopeo and umoci", ours["wall_s"] / tools["wall_s"], 0.6
        for ms, count in self.round_trips(medians):
            yield f"round trips of {ms} ms that one layer adds", count, 4


class Cached(Far):
    title = "A COPY and a RUN on a base of 65,000 entries, all cached, and pushed"

    def prepare(self):
        super().prepare()
        for address in [self.registry.address, *(wire.address for wire in self.wires.values())]:
            self.build(address)

    def build(self, address):
        context = self.context(f"FROM {address}/large\nCOPY file /\nRUN echo 1 >/one\n")
        (context / "file").write_text("a file\n")
        return self.zuwai.build(
            context, address, "--cache", "--cache-copy-layers",
            destination=f"{address}/built:latest",
        )

    def bounds(self, medians):
        ours = medians["zuwai"]
        yield "wall seconds", ours["wall_s"], 0.2
        yield "CPU seconds", ours["cpu_s"], 0.1
        # Four that wait for each other, one to connect, and one to have a connection for each blob; the
        # half is for what the wires themselves take.
        for ms, count in self.round_trips(medians):
            yield f"round trips of {ms} ms", count, 6.5


class Changed(Scenario):
    title = "One file changed between two RUNs on a base of 65,000 entries, and pushed"

    # A layer such as that of an `apt-get install`.
    INSTALLED = "RUN cp -a /usr/include /usr/lib/jvm /usr/lib/gcc /opt/\n"

    def prepare(self):
        address = self.registry.address
        run(["skopeo", "copy", "--quiet", "--dest-tls-verify=false", f"oci:{BASES}/large:latest",
             f"docker://{address}/large:latest"])
        self.count = 0
        kept = f"--cache-dir={self.folder}/kept"
        # The first one unpacks the base for the others, the second one of each kind what is cached.
        for first in ("", "", self.INSTALLED, self.INSTALLED):
            self.build(first, kept)
        self.contenders = {
            "zuwai, base unpacked before": lambda: self.build("", kept),
            "zuwai, base and a large cached RUN unpacked before":
                lambda: self.build(self.INSTALLED, kept),
            "zuwai, base unpacked before, a large cached RUN anew": self.build_layer_anew,
            "zuwai, base unpacked anew": self.build_anew,
        }

    def build_anew(self):
        fresh = self.folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        return self.build("", f"--cache-dir={fresh}")

    def build_layer_anew(self):
        for below in (self.folder / "kept/zuwai/trees").glob("*/below"):
            shutil.rmtree(below.parent)
        cost = self.build(self.INSTALLED, f"--cache-dir={self.folder}/kept")
        # What was removed of the other kind is made again.
        self.build("", f"--cache-dir={self.folder}/kept")
        return cost

    def build(self, first, *arguments):
        self.count += 1
        address = self.registry.address
        context = self.context(
            f"FROM {address}/large\n{first}RUN echo hit >/hit\nCOPY file /file\n"
            "RUN wc -c /file >/size\n"
        )
        (context / "file").write_text(f"change {self.count}\n")
        return self.zuwai.build(
            context, address, "--cache", *arguments, destination=f"{address}/built:latest"
        )

    def bounds(self, medians):
        for name in (
            "zuwai, base unpacked before", "zuwai, base and a large cached RUN unpacked before"
        ):
            yield f"wall seconds, {name.removeprefix('zuwai, ')}", medians[name]["wall_s"], 1.5


class Key(Scenario):
    title = "The key of a COPY of 200,000 files, of which one has changed"

    def prepare(self):
        self.files = self.context("FROM scratch\nCOPY files /srv\n") / "files"
        tree = data.unpacked(self.folder.parent, "debian")
        data.many_files(self.files, tree, int(200_000 * self.scale), 2_000)
        self.count = 0
        self.find_key()
        self.contenders = {
            "zuwai, files known before": self.change_and_find_key,
            "zuwai, all files read": self.find_key_anew,
        }

    def find_key(self, *arguments):
        # A file that was changed less than two seconds before it is read is not believed later.
        time.sleep(2.5)
        return self.zuwai.plan(
            self.folder / "context", "--destination", "localhost/built", "--cache",
            "--cache-copy-layers", f"--cache-repo=oci:{self.folder}/layers",
            *(arguments or [f"--cache-dir={self.folder}/kept"]),
        )

    def change_and_find_key(self):
        self.count += 1
        with open(self.files / "package-0" / "module-3" / "file-170", "a") as file:
            file.write(f"change {self.count}\n")
        return self.find_key()

    def find_key_anew(self):
        fresh = self.folder / "fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        return self.find_key(f"--cache-dir={fresh}")

    def bounds(self, medians):
        yield "CPU seconds", medians["zuwai, files known before"]["cpu_s"], 1


class Tail(Scenario):
    title = "What is left to do once the last RUN has ended: a layer of 48 MB"

    def prepare(self):
        size = int(48_000_000 * self.scale)
        self.context(
            "FROM base\nRUN head -c 20000000 /dev/urandom >/first\n"
            f"RUN head -c {size} /dev/urandom >/last && echo ended at $(cat /proc/uptime)\n"
        )
        self.contenders = {"zuwai": self.tail}

    def tail(self):
        """The wall time of this one is the tail's alone."""
        cost = self.build_and_push()
        now = float(Path("/proc/uptime").read_text().split()[0])
        cost.wall_s = now - float(re.search(r"ended at ([\d.]+)", cost.output)[1])
        return cost

    def bounds(self, medians):
        yield "seconds after the last RUN", medians["zuwai"]["wall_s"], 1


class Miss(Scenario):
    title = "The same build without a cache, and with one that has nothing of it"

    def prepare(self):
        context = self.context(
            "FROM base\nARG RUN\nRUN echo $RUN >/stamp\nCOPY files /srv\n"
            "RUN cat /srv/package-0/module-0/* >/one\nRUN head -c 30000000 /dev/urandom >/two\n"
        )
        tree = data.unpacked(self.folder.parent, "debian")
        data.many_files(context / "files", tree, int(20_000 * self.scale), 8240)
        self.layout = ["--build-context", f"base=oci-layout://{BASES}/debian"]
        self.count = 0
        self.contenders = {
            "no cache": self.miss,
            "nothing cached": lambda: self.miss("--cache"),
            "nothing cached, copies too": lambda: self.miss("--cache", "--cache-copy-layers"),
        }

    def miss(self, *flags):
        """Each time the first command is another one."""
        self.count += 1
        self.registry.forget("cache")
        where = ["--cache-repo", f"{self.registry.address}/cache"] if flags else []
        self.layout += ["--build-arg", f"RUN={self.count}", *flags, *where]
        try:
            return self.build_and_push()
        finally:
            del self.layout[2:]

    def bounds(self, medians):
        without = medians["no cache"]
        for name, cost in medians.items():
            if name != "no cache":
                yield f"CPU, {name}, of none", cost["cpu_s"] / without["cpu_s"], 1.03
                yield f"wall, {name}, of none", cost["wall_s"] / without["wall_s"], 1.03


def best_compressor(source, target, most_bytes):
    """Returns the command of the bare tool that makes `most_bytes` of a tree or less the fastest."""
    archive = f"tar -C {source.parent} -cf - {source.name}"
    found = []
    for tool in [f"pigz -p {THREADS} -{level}" for level in range(1, 10)]:
        command = f"{archive} | {tool} >{target}"
        cost = measured(command)
        if target.stat().st_size <= most_bytes:
            found.append((cost.wall_s, command))
        # Higher levels only take longer.
        if found:
            break
    if not found:
        raise SystemExit(f"no level of pigz makes {most_bytes} bytes of {source}")
    return min(found)[1]


def upload(path, registry):
    """Uploads a blob as barely as can be: one POST, one PATCH and one PUT."""
    with open(path, "rb") as blob:
        digest = hashlib.file_digest(blob, "sha256").hexdigest()
    started = time.monotonic()
    connection = http.client.HTTPConnection(registry.address)

    def call(method, url, body=None):
        headers = {"Content-Type": "application/octet-stream"}
        connection.request(method, url, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {url}: {answer.status}")
        parts = urlsplit(answer.headers.get("Location", ""))
        return f"{parts.path}?{parts.query}" if parts.query else f"{parts.path}?"

    place = call("POST", "/v2/bare/blobs/uploads/")
    with open(path, "rb") as blob:
        place = call("PATCH", place, blob)
    call("PUT", f"{place}&digest=sha256:{digest}")
    return time.monotonic() - started


ALL = {
    "layer": Layer, "copy": Copy, "pull": Pull, "cached": Cached, "changed": Changed, "key": Key,
    "tail": Tail, "miss": Miss,
}
