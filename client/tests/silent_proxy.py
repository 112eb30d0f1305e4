"""What stands between a client and a worker, and can fall silent as a machine does that is gone."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress


class SilentProxy:
    """Hands bytes on in both directions until `fall_silent`; after that connections stay open and nothing comes."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._silent = threading.Event()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, name="silent proxy", daemon=True).start()

    def fall_silent(self) -> None:
        """From now on nothing arrives, in either direction."""
        self._silent.set()

    def close(self) -> None:
        """Ends all connections."""
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                worker = socket.create_connection(self._target)
                self._sockets += [client, worker]
                for source, sink in ((client, worker), (worker, client)):
                    threading.Thread(target=self._hand_on, args=(source, sink), daemon=True).start()

    def _hand_on(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if not self._silent.is_set():
                    sink.sendall(data)
