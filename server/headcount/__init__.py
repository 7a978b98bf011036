"""Headcount counts visits to websites, and keeps nothing about the people behind them."""

__version__ = "0.1.0"
