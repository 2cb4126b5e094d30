"""Structured logs: lines for people on a terminal, JSON for collectors."""

from __future__ import annotations

import logging
import sys

import structlog


def configure_logging(level: str, style: str) -> None:
    """Send structlog's events and the standard library's records to stderr in one style."""
    chain: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if style == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    threshold = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    structlog.configure(
        processors=[*chain, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=chain,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(level=threshold, handlers=[handler], force=True)
    for chatty in ("asyncio", "grpc", "watchfiles"):
        logging.getLogger(chatty).setLevel(max(threshold, logging.WARNING))
