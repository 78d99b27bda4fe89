"""A docker-registry of our own on the loopback address, and a wire to it that takes its time."""

import asyncio
import multiprocessing
import shutil
import socket
import subprocess
import time
import urllib.request


def free_port():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class Registry:
    """Debian's docker-registry with storage of its own."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.address = f"127.0.0.1:{self.port}"
        folder.mkdir(parents=True)
        config = folder / "config.yml"
        config.write_text(
            "version: 0.1\n"
            "log: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/data}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: '{self.address}', relativeurls: true}}\n"
        )
        self.log = open(folder / "log", "w")
        self.process = subprocess.Popen(
            ["docker-registry", "serve", config], stdout=self.log, stderr=self.log
        )
        for _ in range(200):
            try:
                urllib.request.urlopen(f"http://{self.address}/v2/").close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the registry does not answer; see {folder}/log")

    def forget(self, repository):
        """Forgets a repository and every blob that no other holds, so that it is pushed anew."""
        data = self.folder / "data/docker/registry/v2"
        shutil.rmtree(data / "repositories" / repository, ignore_errors=True)
        held = {path.parent.name for path in data.glob("repositories/**/_layers/sha256/*/link")}
        for blob in data.glob("blobs/sha256/*/*"):
            if blob.name not in held:
                shutil.rmtree(blob)

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.log.close()


class Wire:
    """A port whose bytes arrive at another one half a round trip later, and back; as many as like."""

    def __init__(self, port, round_trip_s, host="127.0.0.1"):
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        ready = multiprocessing.Event()
        work = (self.port, (host, port), round_trip_s / 2, ready)
        self.process = multiprocessing.Process(target=_carry, args=work, daemon=True)
        self.process.start()
        ready.wait()

    def close(self):
        self.process.terminate()
        self.process.join()


def _carry(port, target, delay_s, ready):
    async def one_way(source, sink):
        # What was read waits its time in a queue, while more is read: a delay is no limit of speed.
        late = asyncio.Queue(maxsize=4096)

        async def deliver():
            loop = asyncio.get_running_loop()
            while (item := await late.get()) is not None:
                due, data = item
                if (rest := due - loop.time()) > 0:
                    await asyncio.sleep(rest)
                sink.write(data)
                await sink.drain()

        delivery = asyncio.create_task(deliver())
        loop = asyncio.get_running_loop()
        try:
            while data := await source.read(1 << 18):
                await late.put((loop.time() + delay_s, data))
        except OSError:
            pass
        await late.put(None)
        try:
            await delivery
            sink.write_eof()
        except OSError:
            pass

    async def accept(near_reader, near_writer):
        # The handshake costs a round trip too.
        await asyncio.sleep(2 * delay_s)
        far_reader, far_writer = await asyncio.open_connection(*target)
        await asyncio.gather(one_way(near_reader, far_writer), one_way(far_reader, near_writer))
        near_writer.close()
        far_writer.close()

    async def serve():
        server = await asyncio.start_server(accept, "127.0.0.1", port)
        ready.set()
        await server.serve_forever()

    asyncio.run(serve())
