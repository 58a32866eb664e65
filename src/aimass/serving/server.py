"""Running the application with uvicorn until it is told to stop."""

import asyncio
import logging
import socket
from contextlib import suppress

import uvicorn

from aimass.base.errors import AimassError, ServiceError
from aimass.base.settings import Settings
from aimass.serving.app import create_app
from aimass.serving.service import Service

log = logging.getLogger(__name__)

DRAIN_SECONDS = 30


def run(config: Settings, *, host: str, port: int, preload: tuple[str, ...] = ()) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is under way.

    Args:
        preload: models to load while the service starts; it is ready when they are.

    Raises:
        ServiceError: the address cannot be listened on.
        AimassError: a model to preload cannot be loaded.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    listening = _listen(host, port)
    app = create_app(config)
    service: Service = app.state.service
    service.loading.extend(preload)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
            server_header=False,
        )
    )
    asyncio.run(_serve(server, service, listening))


async def _serve(server: uvicorn.Server, service: Service, listening: socket.socket) -> None:
    address = listening.getsockname()
    log.info("listening on http://%s:%d", address[0], address[1])
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        for name in tuple(service.loading):
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
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ServiceError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            expected="a free port and an address of this machine",
            fix="Stop the other program, or type: aimass serve --port N",
        ) from error
    return listening
