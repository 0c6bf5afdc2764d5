"""As much of docs/agent-protocol.md as a command needs: hello and exec, no flow control."""

import struct

HELLO, REPLY, EXEC, DATA, EXIT = 1, 2, 13, 14, 18
MAGIC, VERSION = 0x53444E57, 1
STDOUT = 1
STDIN_FLAG = 2
STREAM = 7  # the id of the one stream at a time


def _string(text):
    data = text.encode() + b"\0"
    return struct.pack("<I", len(data)) + data


def _strings(texts):
    return struct.pack("<I", len(texts)) + b"".join(map(_string, texts))


class Agent:
    """The host's end of the channel."""

    def __init__(self, connection):
        self.connection = connection
        self.file = connection.makefile("rb")

    def _send(self, kind, stream=0, payload=b""):
        self.connection.sendall(struct.pack("<IHHI", len(payload), kind, 0, stream) + payload)

    def _receive(self):
        header = self.file.read(12)
        if len(header) < 12:
            raise RuntimeError("the agent's channel has closed")
        length, kind, channel, _ = struct.unpack("<IHHI", header)
        return kind, channel, self.file.read(length)

    def _expect(self, wanted):
        kind, _, payload = self._receive()
        if kind != wanted:
            raise RuntimeError(f"the agent sent a frame of type {kind} instead of {wanted}")
        return payload

    def greet(self):
        """After a boot the guest speaks first."""
        self._expect(HELLO)
        self._send(HELLO, payload=struct.pack("<IH", MAGIC, VERSION))

    def greet_again(self):
        """A guest that was saved waits for the host to speak."""
        self._send(HELLO, payload=struct.pack("<IH", MAGIC, VERSION))
        self._expect(HELLO)

    def start(self, *argv):
        """Starts a command as root. With an open stdin, on which nothing comes."""
        none = struct.pack("<I", 0)
        self._send(EXEC, STREAM, _strings(argv) +
                   _strings(["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"]) + _string("/") +
                   struct.pack("<II", 0, 0) + none +
                   struct.pack("<IIII", 0o022, STDIN_FLAG, 0, 0) + none)
        error, = struct.unpack_from("<I", self._expect(REPLY))
        if error:
            raise RuntimeError(f"exec of {argv[0]}: errno {error}")

    def read_line(self):
        """The next line of the command's output; it must come in one piece."""
        while True:
            kind, channel, payload = self._receive()
            if kind == EXIT:
                raise RuntimeError("the command has ended without a line")
            if kind == DATA and channel == STDOUT and payload:
                return payload.decode().strip()

    def wait(self):
        """The command's exit status, or 128 and its signal. Its output is dropped."""
        while True:
            kind, _, payload = self._receive()
            if kind == EXIT:
                exited, code = struct.unpack_from("<II", payload)
                return code if exited else 128 + code

    def execute(self, *argv):
        self.start(*argv)
        if self.wait():
            raise RuntimeError(f"{' '.join(argv)} failed in the guest")
