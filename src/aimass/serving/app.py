"""The HTTP application: routes, one error shape, health and metrics."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aimass import __version__
from aimass.base.errors import AimassError, AudioTooLarge, Busy
from aimass.base.settings import Settings
from aimass.runtime.load import Model, models, resolve
from aimass.serving.service import Service
from aimass.serving.transcriptions import router

log = logging.getLogger(__name__)

FORM_OVERHEAD = 1 << 20  # bytes of a multipart body beside the file


def create_app(config: Settings) -> FastAPI:
    """The application; its workers start and end with its lifespan."""
    service = Service.start(config)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(service.scheduler.close)
        service.engines.close()

    # The pages that show the schema load scripts from elsewhere; a private service has none.
    app = FastAPI(
        title="AI Mass", version=__version__, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service = service
    app.include_router(router)
    app.add_middleware(Watch, service=service)
    app.add_exception_handler(AimassError, _aimass_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unforeseen)
    _add_models(app, service)
    _add_health(app, service)
    return app


def _add_models(app: FastAPI, service: Service) -> None:
    def described(name: str, model: Model) -> dict[str, Any]:
        found = {"id": name, "object": "model", "created": 0, "owned_by": model.source}
        engine = service.massive.get(model.folder)
        return found if engine is None else found | {"dead_members": engine.dead}

    @app.get("/v1/models")
    def list_models() -> dict[str, Any]:
        """Every name that a request may use as its model."""
        found: dict[str, dict[str, Any]] = {}
        for model in models(service.config):
            names = [model.name, model.reference, *(f"{model.name}@{a}" for a in model.aliases)]
            for name in names:
                found.setdefault(name, described(name, model))
        return {"object": "list", "data": list(found.values())}

    @app.get("/v1/models/{name}")
    def one_model(name: str) -> dict[str, Any]:
        """One model, or 404."""
        return described(name, resolve(name, service.config))


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """The models that were asked for are loaded."""
        if service.loading:
            return JSONResponse({"status": "loading", "models": service.loading}, 503)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(service.metrics.page(), media_type=service.metrics.content_type)


async def _aimass_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AimassError)
    service: Service = request.app.state.service
    service.report(error, f"{request.method} {request.url.path}")
    headers = {"Retry-After": str(error.retry_after)} if isinstance(error, Busy) else None
    return JSONResponse(error.problem(), error.status, headers)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    """What the framework itself refuses, such as an unknown path, in the one error shape."""
    assert isinstance(error, HTTPException)
    found = f"{request.method} {request.url.path[:200]}: {error.detail}"
    problem = {
        "message": f"{found}. Expected a path and a body as docs/serving.md describes them.",
        "type": "invalid_request_error" if error.status_code < 500 else "server_error",
        "param": None,
        "code": "http_error",
    }
    return JSONResponse({"error": problem}, error.status_code, error.headers)


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours: logged with its trace, told without it."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    problem = {
        "message": "The service met a fault of its own; its log says more.",
        "type": "server_error",
        "param": None,
        "code": "internal_error",
    }
    return JSONResponse({"error": problem}, 500)


class Watch:
    """Bounds the size of request bodies and counts every request."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app = app
        self._metrics = service.metrics
        self._most = service.config.max_upload_mb * 1_000_000 + FORM_OVERHEAD

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, measured."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        received = 0
        status = "499"

        async def counted_receive() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                raise self._too_large(f"more than {self._most} bytes")
            return message

        async def watched_send(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        declared = dict(scope["headers"]).get(b"content-length", b"0")
        try:
            if declared.isdigit() and int(declared) > self._most:
                error = self._too_large(f"{int(declared)} bytes")
                await JSONResponse(error.problem(), 413)(scope, receive, watched_send)
            else:
                await self._app(scope, counted_receive, watched_send)
        finally:
            # The route's pattern, not the path: paths are the client's, and without end.
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, status).inc()
            self._metrics.latency.labels(route).observe(time.perf_counter() - started)

    def _too_large(self, found: str) -> AudioTooLarge:
        return AudioTooLarge(
            f"the request has {found}",
            expected=f"at most {self._most}",
            fix="Split the recording, or raise AIMASS_MAX_UPLOAD_MB",
            param="file",
        )
