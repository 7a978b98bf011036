"""The words of a question. A site's are those of Plausible's Stats API v2; a product's are our own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headcount.stats.question import (
    DIMENSIONS,
    PRODUCT,
    PROPS,
    RANGES,
    TIMES,
    Dimension,
    Level,
    property_dimension,
)

METRICS = (
    "visitors",
    "visits",
    "pageviews",
    "views_per_visit",
    "bounce_rate",
    "visit_duration",
    "events",
    "scroll_depth",
)
INSTALL_METRICS = ("installs", "heartbeats", "new_installs", "returning_installs", "lost_installs")
INSTALL_DIMENSIONS: dict[str, Dimension] = {
    **{key: DIMENSIONS[key] for key in TIMES if key != "time:hour"},
    **{
        f"install:{name}": Dimension(f"install:{name}", Level.INSTALL, name)
        for name in ("version", "plan", "country", "environment", "os", "status", "state")
    },
    "install:country_name": Dimension("install:country_name", Level.INSTALL, "country"),
}
MAX_PROP_NAME = 300

_BY_DAY = "installs are counted by the day of UTC, so there is no {}"
_ABSENT = {
    "event:goal": "goals",
    "segment": "segments",
    "visit:region": "regions",
    "visit:region_name": "regions",
    "visit:city": "cities",
    "visit:city_name": "cities",
    "visit:entry_page_hostname": "hostnames of entry pages",
    "visit:exit_page_hostname": "hostnames of exit pages",
    "has_done": "behavioural filters",
    "has_not_done": "behavioural filters",
}
"""What Plausible has and Headcount has not."""


@dataclass(frozen=True)
class Vocabulary:
    """The words of one kind of question, and why others do not stand there."""

    metrics: tuple[str, ...]
    dimensions: Mapping[str, Dimension]
    ranges: tuple[str, ...]
    filter: str
    """An example, for whoever writes one that cannot be read."""
    foreign: Mapping[str, str]
    """Words that are known, but not here: the sentence to be said of them."""
    has_props: bool = False
    """Whether properties of events, `event:props:NAME`, are dimensions too."""

    @property
    def dimension_words(self) -> list[str]:
        return [*self.dimensions, *([PROPS + "NAME"] if self.has_props else [])]

    def dimension(self, key: str) -> Dimension | None:
        """The dimension of this name; None: there is none."""
        if self.has_props and key.startswith(PROPS):
            name = key.removeprefix(PROPS)
            return property_dimension(name) if 1 <= len(name) <= MAX_PROP_NAME else None
        return self.dimensions.get(key)

    def why_not(self, word: str) -> str | None:
        """Why a word of another kind of question cannot be used; None: it is not known anywhere."""
        if word.startswith(PROPS):
            word = PROPS
        return self.foreign.get(word)


_NOT_THERE = {word: f"Headcount does not have {what} ({word})" for word, what in _ABSENT.items()}
_OF_SITES = (*METRICS, *(key for key in DIMENSIONS if key not in TIMES), PROPS)
_OF_PRODUCTS = (*INSTALL_METRICS, *(key for key in INSTALL_DIMENSIONS if key not in TIMES))

SITE = Vocabulary(
    metrics=METRICS,
    dimensions=DIMENSIONS,
    ranges=RANGES,
    filter='["is", "visit:source", ["Google"]]',
    foreign={
        **_NOT_THERE,
        **{word: f'{word} is for products, where site_id is "{PRODUCT}NAME"' for word in _OF_PRODUCTS},
        PROPS: f"the name of a property has 1 to {MAX_PROP_NAME} characters",
    },
    has_props=True,
)
PRODUCT_WORDS = Vocabulary(
    metrics=INSTALL_METRICS,
    dimensions=INSTALL_DIMENSIONS,
    ranges=tuple(word for word in RANGES if word != "24h"),
    filter='["is", "install:plan", ["team"]]',
    foreign={
        **_NOT_THERE,
        **{word: f"{word.rstrip(':')} is for sites, where site_id is a domain" for word in _OF_SITES},
        **{word: _BY_DAY.format(word) for word in ("24h", "time:hour")},
    },
)


def vocabulary(site_id: str) -> Vocabulary:
    """The words of a question about this site or product."""
    return PRODUCT_WORDS if site_id.startswith(PRODUCT) else SITE
