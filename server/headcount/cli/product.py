"""`headcount product`: products, their keys and releases, and how many installs there are."""

from __future__ import annotations

import click


@click.group()
def product() -> None:
    """Products, their keys and releases."""
