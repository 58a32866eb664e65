"""Running the application with uvicorn until it is told to stop."""

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import uvicorn

from aimass.base.errors import AimassError, ServiceError
from aimass.base.settings import Settings, settings
from aimass.serving.app import create_app
from aimass.serving.service import Service

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30
BACKLOG = 2048
# How long a worker may keep the interpreter while the event loop waits for it: Python's own 5 ms is
# twice what a short recording takes altogether.
SWITCH_SECONDS = 0.0005


def serve(
    config: Settings | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    preload: tuple[str, ...] = (),
) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way.

    Args:
        config: the settings of the process when None.
        port: 0 takes a free one, which the log names.
        preload: models to load while the service starts; it is ready when they are.

    Raises:
        ServiceError: the address cannot be listened on.
        AimassError: a model to preload cannot be loaded.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("faster_whisper", "python_multipart"):  # a line or more for every request
        logging.getLogger(chatty).setLevel(logging.ERROR)
    sys.setswitchinterval(SWITCH_SECONDS)
    listening = _listen(host, port)
    app = create_app(config or settings())
    service: Service = app.state.service
    service.loading.extend(preload)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            server_header=False,
        )
    )
    asyncio.run(_serve(server, service, listening))


class _Server(uvicorn.Server):
    """Ends with exit code 0 when it is told to: uvicorn raises the signal anew at its end."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def _serve(server: uvicorn.Server, service: Service, listening: socket.socket) -> None:
    address = listening.getsockname()
    log.info("listening on http://%s:%d", address[0], address[1])
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        for name in tuple(service.loading):
            if server.should_exit:
                break
            await service.engine(name)
            log.info("model %s is loaded", name)
            service.loading.remove(name)
    except AimassError:
        server.should_exit = True
        with suppress(Exception):
            await serving
        raise
    await serving


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Only where the protocol is spelt out does asyncio set TCP_NODELAY; without it the second
    # half of an answer waits 40 ms for the client's delayed acknowledgement of the first.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)  # now, so that who reads the log line below may connect
    except OSError as error:
        listening.close()
        raise ServiceError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            expected="a free port and an address of this machine",
            fix="Stop the other program, or type: aimass serve --port N",
        ) from error
    return listening
