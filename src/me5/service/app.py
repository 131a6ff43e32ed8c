"""The web server around the pipeline: routes, layers, life and death.

A request passes, from the outside in:

    Recording          request id, one record for log, metrics and spans
    _SecureHeaders     headers that keep a browser from doing more than it should
    CORS               only where origins are named
    Gate               room, the name in `Host`, a plain path, the body's limits
    routes             `wire/`, the page, and what needs no key: /health, /ping, /metrics, /openapi.json
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from me5._version import __version__
from me5.service import memory
from me5.service.auth import Keys, read_keys
from me5.service.errors import NotFound, ServingError, Unhealthy, WrongMethod
from me5.service.gate import PROBES, Gate
from me5.service.metrics import Metrics
from me5.service.page.routes import pages
from me5.service.pipeline import Pipeline
from me5.service.recording import Recording
from me5.service.reranking import RerankingPipeline
from me5.service.searches import Searches
from me5.service.settings import ServiceSettings
from me5.service.tracing import Tracer, open_tracer
from me5.service.wire import cohere, ollama, openai, rerank, score, search, tei
from me5.service.wire.call import Service
from me5.service.wire.dialects import OPENAI, TEI, refuse
from me5.service.wire.search import open_agents, open_store
from me5.service.wire.sides import Sides

if TYPE_CHECKING:
    from me5.search.store import Store
    from me5.service.wire.agents import Agents

# Headers of ours that a page of another origin may read.
EXPOSED = (
    "x-request-id", "retry-after", "x-me5-side", "x-me5-prompt", "x-me5-tokens", "x-me5-truncated",
    "x-me5-tokens-lost", "x-me5-ignored", "x-me5-warning", "x-me5-shape", "x-ratelimit-limit-tokens",
    "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens",
)  # fmt: skip
SECURE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
DESCRIPTION = """Texts in, vectors out, in the dialects of OpenAI, TEI, Cohere and Ollama; and me5's own /v1/score.
With a reranker, also the order of documents for a query: /rerank, /v1/rerank, /v2/rerank.

The headers of every reply with vectors name the prompt that stood in front of the texts (`x-me5-side`, `x-me5-prompt`,
URL-quoted) and what was cut (`x-me5-truncated` texts, `x-me5-tokens-lost`)."""


def create_app(settings: ServiceSettings, pipeline: Pipeline | None = None, *, loopback: bool = False) -> FastAPI:
    """The app. It starts and stops its pipeline. `loopback`: only this machine can reach it.

    Raises `InputError` for keys that cannot be read.
    """
    metrics = Metrics()
    keys = read_keys(settings.keys_file, settings.keys, settings.key_tokens_per_minute)
    tracer = open_tracer(settings.otlp_endpoint)
    pipeline = pipeline or Pipeline(settings, metrics)
    searches = _searches(settings, pipeline)
    agents = None if searches is None else open_agents(searches.store)
    prompts = pipeline.prompts
    sides = Sides(matter=prompts.prefix("query") != prompts.prefix("document"))
    reranker = RerankingPipeline(settings, metrics) if settings.reranker else None
    service = Service(settings, pipeline, keys, metrics, int(time.time()), sides, searches, reranker)
    metrics.watch(service.pipeline)
    app = FastAPI(
        title="me5",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(service, agents, tracer),
        # Their pages load scripts from elsewhere; the page at / is ours, and /openapi.json opens in any viewer.
        docs_url=None,
        redoc_url=None,
        # Spans are made in `tracing`, without texts; FastAPI's own would record bodies that do not validate.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    app.state.service = service
    routers = (openai.router, tei.router, cohere.router, rerank.router, ollama.router, score.router)
    for router in (*routers, _open_routes(service)):
        app.include_router(router)
    if searches is not None:
        app.include_router(search.router)
    if agents is not None:
        app.include_router(agents.router)
    if settings.page:
        app.include_router(pages(search=searches is not None))
    app.add_exception_handler(HTTPException, _refuse_path)
    _describe_keys(app, keys)
    app.add_middleware(Gate, settings=settings, local=loopback and not keys)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=EXPOSED,
            max_age=86_400,
        )
    app.add_middleware(_SecureHeaders)
    app.add_middleware(Recording, metrics=metrics, tracer=tracer)
    return app


def _searches(settings: ServiceSettings, pipeline: Pipeline) -> Searches | None:
    """The searches of the store that is served; None without one."""
    uri = settings.search
    if uri is None:
        return None

    def check(store: "Store") -> None:
        store.settings.check(pipeline.preprocessor, pipeline.precision)

    return Searches(partial(open_store, uri), check, settings.search_timeout)


def _lifespan(service: Service, agents: "Agents | None", tracer: Tracer | None) -> Callable[[FastAPI], Any]:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await _start(service)
        trimming = asyncio.create_task(memory.keep_giving_back())
        try:
            if service.searches is not None:
                service.searches.check(service.searches.store)
            async with nullcontext() if agents is None else agents.running():
                yield
        finally:
            trimming.cancel()
            if service.searches is not None:
                service.searches.close()
            await asyncio.gather(*(pipeline.stop() for pipeline in service.pipelines))
            if tracer is not None:
                tracer.close()

    return lifespan


async def _start(service: Service) -> None:
    """Start every pipeline, one after the other, so that two models do not load at once; or none."""
    started: list[Pipeline] = []
    try:
        for pipeline in service.pipelines:
            await pipeline.start()
            started.append(pipeline)
    except BaseException:
        for pipeline in started:
            await pipeline.stop()
        raise


def _open_routes(service: Service) -> APIRouter:
    """What needs no key."""
    router = APIRouter(tags=["Watching"])

    @router.get("/health", responses={503: {"model": TEI.shape}}, response_class=Response)
    @router.get("/ping", responses={503: {"model": TEI.shape}}, response_class=Response)
    async def health(request: Request) -> Response:
        """200 while requests are answered, else 503."""
        if service.state == "ready":
            return Response()
        return refuse(TEI, Unhealthy(f"the service is {service.state}"), request.state.record)

    if service.settings.metrics:

        @router.get("/metrics", response_class=Response)
        async def metrics() -> Response:
            """Prometheus metrics, TEI's names among them."""
            return Response(service.metrics.render(), media_type=service.metrics.media_type)

    if not service.settings.page:
        router.add_api_route("/", health, include_in_schema=False)
    return router


async def _refuse_path(request: Request, error: Exception) -> Response:
    """No such path, or another method: the router's own complaints."""
    assert isinstance(error, HTTPException)
    path = f"{request.method} {request.url.path}"
    refusal: ServingError = NotFound(f"there is no {path} here; /openapi.json lists what there is")
    if error.status_code == 405:
        allowed = (error.headers or {}).get("Allow", "")
        if "GET" in allowed and "HEAD" not in allowed:  # see `Gate`
            allowed += ", HEAD"
        refusal = WrongMethod(f"{path} is not served; this path takes {allowed}", allowed)
    return refuse(OPENAI, refusal, request.state.record)


def _describe_keys(app: FastAPI, keys: Keys) -> None:
    """Put the ways to send a key into the OpenAPI document."""
    openapi = app.openapi

    def described() -> dict[str, Any]:
        document = openapi()
        schemes = document.setdefault("components", {}).setdefault("securitySchemes", {})
        if keys and not schemes:
            schemes["bearer"] = {"type": "http", "scheme": "bearer"}
            schemes["header"] = {"type": "apiKey", "in": "header", "name": "x-api-key"}
            document["security"] = [{"bearer": []}, {"header": []}]
            for path in PROBES:
                if path in document["paths"]:
                    document["paths"][path]["get"]["security"] = []
        return document

    app.openapi = described  # type: ignore[method-assign]


class _SecureHeaders:
    """The ASGI layer that adds `SECURE` where a route sets nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURE.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, sending if scope["type"] == "http" else send)
