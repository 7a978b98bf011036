"""What handlers find on the application."""

from __future__ import annotations

import asyncio

from aiohttp import web

from headcount.config import Config
from headcount.services.checks import Checks
from headcount.services.collector import Collector
from headcount.services.health import Examiner
from headcount.services.management import Management
from headcount.services.product_reports import ProductReports
from headcount.services.reports import Reports
from headcount.services.sites import Sites
from headcount.store.figures import Board, Figures
from headcount.store.settings import SettingsFile
from headcount.web.hot import Hot
from headcount.web.script import Script

CONFIG = web.AppKey("CONFIG", Config)
COLLECTOR = web.AppKey("COLLECTOR", Collector)
CHECKS = web.AppKey("CHECKS", Checks)
BOARD = web.AppKey("BOARD", Board)
EXAMINER = web.AppKey("EXAMINER", Examiner)
FIGURES = web.AppKey("FIGURES", Figures)
HOT = web.AppKey("HOT", Hot)
MANAGEMENT = web.AppKey("MANAGEMENT", Management)
PRODUCT_REPORTS = web.AppKey("PRODUCT_REPORTS", ProductReports)
REPORTS = web.AppKey("REPORTS", Reports)
SETTINGS = web.AppKey("SETTINGS", SettingsFile)
SITES = web.AppKey("SITES", Sites)
STOPPING = web.AppKey("STOPPING", asyncio.Event)
"""Set when the process takes no more connections: each answer closes its own."""
SCRIPT = web.AppKey("SCRIPT", Script)
