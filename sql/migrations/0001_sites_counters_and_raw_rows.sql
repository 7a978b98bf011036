-- Sites, tokens, daily counters (kept), raw rows (at most 30 days), and the ledger of what was applied.
--
-- Every table that traffic can grow has the site first in its primary key, so that Citus can spread it;
-- the others are small and can be reference tables there.

create table site (
    id bigint primary key,
    domain text not null unique,
    timezone text not null,
    next_timezone text,
    timezone_from timestamptz,
    hostnames text[] not null default '{}',
    query_params text[] not null default '{}',
    props text[] not null default '{}',
    retention_days int check (retention_days between 1 and 30),
    gpc boolean not null default true,
    fold_digits boolean not null default true,
    created_at timestamptz not null,
    check ((next_timezone is null) = (timezone_from is null))
);
comment on table site is 'The websites that are counted, with their settings.';
comment on column site.id is 'Random identity of the site; a reset gives a new one, so that nothing late reaches the new counts.';
comment on column site.domain is 'The name the script tag carries in data-domain.';
comment on column site.timezone is 'IANA time zone that fixes the site''s days.';
comment on column site.next_timezone is 'Time zone that holds from timezone_from on.';
comment on column site.timezone_from is 'Midnight of the old time zone at which next_timezone takes effect.';
comment on column site.hostnames is 'Hostnames whose events are accepted; empty: the domain and its subdomains.';
comment on column site.query_params is 'Query parameters that stay part of the page.';
comment on column site.props is 'Names of event properties that are kept.';
comment on column site.retention_days is 'Days that raw rows live, today included; null: as the server is set.';
comment on column site.gpc is 'Whether Sec-GPC and DNT are honoured.';
comment on column site.fold_digits is 'Whether long digit runs in paths, titles and properties become :number.';
comment on column site.created_at is 'When the site was added.';

create table token (
    id bigint primary key,
    digest bytea not null unique,
    site_id bigint references site (id) on update cascade on delete cascade,
    scopes text[] not null,
    created_at timestamptz not null
);
comment on table token is 'Access tokens for the API; the token itself is shown once and never kept.';
comment on column token.id is 'Random identity, to list and revoke it.';
comment on column token.digest is 'SHA-256 of the token (256 random bits), to recognise it.';
comment on column token.site_id is 'The one site it may act on; null: all of them.';
comment on column token.scopes is 'What it may do: events:write, stats:read, sites:write.';
comment on column token.created_at is 'When it was made.';

create table counter (
    site_id bigint not null,
    day date not null,
    dimension text not null,
    value text not null,
    visitors bigint not null,
    visits bigint not null,
    pageviews bigint not null,
    events bigint not null,
    bounces bigint not null,
    duration bigint not null,
    scroll bigint not null,
    scroll_visits bigint not null,
    primary key (site_id, dimension, day, value)
);
comment on table counter is 'Daily counts of each site by each dimension; kept for good.';
comment on column counter.site_id is 'The site.';
comment on column counter.day is 'Local day of the site.';
comment on column counter.dimension is 'What is counted by: empty for the site as a whole, page, source, country, props:NAME …';
comment on column counter.value is 'The value of the dimension; empty where it is not known.';
comment on column counter.visitors is 'Distinct visitors of the day, estimated by HyperLogLog while the day was open.';
comment on column counter.visits is 'Visits; for event-level dimensions those that touched the value.';
comment on column counter.pageviews is 'Page views.';
comment on column counter.events is 'Page views and custom events.';
comment on column counter.bounces is 'Visits of one page view and no interactive event.';
comment on column counter.duration is 'Seconds from first to last event, over these visits.';
comment on column counter.scroll is 'Sum over visits of the deepest scroll in percent; pages only.';
comment on column counter.scroll_visits is 'Visits whose scroll is known; pages only.';

create table month (
    site_id bigint not null,
    month date not null,
    dimension text not null,
    value text not null,
    visitors bigint not null,
    visits bigint not null,
    pageviews bigint not null,
    events bigint not null,
    bounces bigint not null,
    duration bigint not null,
    scroll bigint not null,
    scroll_visits bigint not null,
    primary key (site_id, dimension, month, value)
);
comment on table month is 'Sums of the daily counts of closed months, for questions over years; made anew at any time.';
comment on column month.site_id is 'The site.';
comment on column month.month is 'First day of the month.';
comment on column month.dimension is 'What is counted by; without the row of the empty one the sums of the month do not hold.';
comment on column month.value is 'The value of the dimension; empty where it is not known.';
comment on column month.visitors is 'Sum of the daily visitors.';
comment on column month.visits is 'Sum of the daily visits.';
comment on column month.pageviews is 'Sum of the daily page views.';
comment on column month.events is 'Sum of the daily events.';
comment on column month.bounces is 'Sum of the daily bounces.';
comment on column month.duration is 'Sum of the daily seconds.';
comment on column month.scroll is 'Sum of the daily scroll; pages only.';
comment on column month.scroll_visits is 'Sum of the daily visits whose scroll is known; pages only.';

create table hour (
    site_id bigint not null,
    day date not null,
    hour timestamptz not null,
    visitors bigint not null,
    visits bigint not null,
    pageviews bigint not null,
    events bigint not null,
    bounces bigint not null,
    duration bigint not null,
    primary key (site_id, day, hour)
);
comment on table hour is 'Hourly totals of each site; kept for good.';
comment on column hour.site_id is 'The site.';
comment on column hour.day is 'Local day of the site.';
comment on column hour.hour is 'The moment at which the local hour began.';
comment on column hour.visitors is 'Distinct visitors in that hour, estimated by HyperLogLog.';
comment on column hour.visits is 'Visits with an event in that hour.';
comment on column hour.pageviews is 'Page views in that hour.';
comment on column hour.events is 'Page views and custom events in that hour.';
comment on column hour.bounces is 'Those of the visits that bounced.';
comment on column hour.duration is 'Seconds from first to last event, over these visits.';

create table dropped (
    site_id bigint not null,
    day date not null,
    reason text not null,
    count bigint not null,
    primary key (site_id, day, reason)
);
comment on table dropped is 'How much arrived and was not counted, by reason; kept for good.';
comment on column dropped.site_id is 'The site; 0 for what belongs to none.';
comment on column dropped.day is 'Local day of the site; UTC for site 0.';
comment on column dropped.reason is 'Why: a class of bot, gpc, prefetch, hostname, invalid, rate_limit …';
comment on column dropped.count is 'How often.';

create table visit (
    site_id bigint not null,
    day date not null,
    visit bigint not null,
    minute timestamptz not null,
    source text not null,
    referrer text not null,
    channel text not null,
    utm_source text not null,
    utm_medium text not null,
    utm_campaign text not null,
    utm_content text not null,
    utm_term text not null,
    country text not null,
    device text not null,
    browser text not null,
    browser_version text not null,
    os text not null,
    os_version text not null,
    screen text not null,
    language text not null,
    entry_page text not null,
    exit_page text not null,
    pageviews int not null,
    events int not null,
    bounce boolean not null,
    duration int not null,
    primary key (site_id, day, visit)
) partition by range (day);
comment on table visit is 'Raw visits of the last 30 days at most; two visits are never linked, not even of one person on one day.';
comment on column visit.site_id is 'The site.';
comment on column visit.day is 'Local day of the site; one partition each.';
comment on column visit.visit is 'Random number that ties the rows of one visit together.';
comment on column visit.minute is 'When it began, cut to the minute.';
comment on column visit.source is 'Common name or registrable domain it came from.';
comment on column visit.referrer is 'Host and scrubbed path it came from, without query.';
comment on column visit.channel is 'Acquisition channel.';
comment on column visit.utm_source is 'Campaign tag utm_source, ref or source of the entry URL.';
comment on column visit.utm_medium is 'Campaign tag utm_medium of the entry URL.';
comment on column visit.utm_campaign is 'Campaign tag utm_campaign of the entry URL.';
comment on column visit.utm_content is 'Campaign tag utm_content of the entry URL.';
comment on column visit.utm_term is 'Campaign tag utm_term of the entry URL.';
comment on column visit.country is 'Country of the address, ISO 3166-1 alpha-2; the address itself is never kept.';
comment on column visit.device is 'Device class: desktop, mobile, tablet, tv, other.';
comment on column visit.browser is 'Browser name.';
comment on column visit.browser_version is 'Browser name and major version.';
comment on column visit.os is 'Operating system name.';
comment on column visit.os_version is 'Operating system name and major version.';
comment on column visit.screen is 'Screen class by width: XS, S, M, L, XL.';
comment on column visit.language is 'Primary language tag.';
comment on column visit.entry_page is 'First page of the visit.';
comment on column visit.exit_page is 'Last page of the visit so far.';
comment on column visit.pageviews is 'Page views.';
comment on column visit.events is 'Page views and custom events.';
comment on column visit.bounce is 'One page view and no interactive event.';
comment on column visit.duration is 'Seconds from first to last event.';

create table hit (
    site_id bigint not null,
    day date not null,
    visit bigint not null,
    "order" int not null,
    minute timestamptz not null,
    hour timestamptz not null,
    name text not null,
    hostname text not null,
    page text not null,
    props jsonb,
    scroll smallint,
    primary key (site_id, day, visit, "order")
) partition by range (day);
comment on table hit is 'Raw events of the last 30 days at most.';
comment on column hit.site_id is 'The site.';
comment on column hit.day is 'Local day of the site; one partition each.';
comment on column hit.visit is 'The visit it belongs to.';
comment on column hit."order" is 'Its place within the visit.';
comment on column hit.minute is 'When, cut to the minute.';
comment on column hit.hour is 'The moment at which the local hour began.';
comment on column hit.name is 'pageview, engagement, or the name of a custom event.';
comment on column hit.hostname is 'Hostname of the page.';
comment on column hit.page is 'Scrubbed path of the page, with the query parameters the site allows.';
comment on column hit.props is 'Properties that the site has named, scrubbed.';
comment on column hit.scroll is 'Percent of the page seen; engagement events only.';
create index on hit (site_id, day, minute);

create table drain (
    source text primary key,
    applied bigint not null,
    applied_at timestamptz not null
);
comment on table drain is 'The fence: the last flush of each node that was applied, so that none counts twice.';
comment on column drain.source is 'Random name of a node''s state file.';
comment on column drain.applied is 'Number of the last flush applied.';
comment on column drain.applied_at is 'When that was.';

create table gap (
    source text not null,
    first_missing bigint not null,
    last_missing bigint not null,
    found_at timestamptz not null,
    primary key (source, first_missing)
);
comment on table gap is 'Flushes that a restored database lacks and that no node has any more.';
comment on column gap.source is 'The node.';
comment on column gap.first_missing is 'First flush that is missing.';
comment on column gap.last_missing is 'Last flush that is missing.';
comment on column gap.found_at is 'When it was noticed.';

create table purge (
    id bigint primary key,
    ran_at timestamptz not null,
    kind text not null,
    site_id bigint,
    before date not null,
    rows bigint not null
);
comment on table purge is 'What the purge of raw rows removed, and when; the last 400 days of it.';
comment on column purge.id is 'Random identity.';
comment on column purge.ran_at is 'When it ran.';
comment on column purge.kind is 'partition (a whole day dropped), rows (deleted for one site) or restore (a backup without raw rows).';
comment on column purge.site_id is 'The site whose rows were deleted; null: all of them.';
comment on column purge.before is 'Raw rows of days before this one are gone.';
comment on column purge.rows is 'Raw rows removed: hits and visits.';

create table audit (
    site_id bigint not null,
    day date not null,
    ran_at timestamptz not null,
    compared boolean not null,
    differences jsonb not null,
    primary key (site_id, day)
);
comment on table audit is 'Whether counters and raw rows of a closed day agree; the last 400 days of it.';
comment on column audit.site_id is 'The site; 0 for the licenses of all products.';
comment on column audit.day is 'Local day of the site; UTC for licenses.';
comment on column audit.ran_at is 'When they were compared.';
comment on column audit.compared is 'Whether the raw rows of the day were all there.';
comment on column audit.differences is 'Dimensions that differ, with sums of both sides; no values.';

create table redaction (
    id bigint primary key,
    site_id bigint not null references site (id) on update cascade on delete cascade,
    dimension text not null,
    pattern text not null,
    requested_at timestamptz not null
);
comment on table redaction is 'Requests to replace values already stored; each node carries them out once. A row lives for a day.';
comment on column redaction.id is 'Random identity.';
comment on column redaction.site_id is 'The site.';
comment on column redaction.dimension is 'Of which dimension: page (entry and exit pages too), referrer, utm_*, props:NAME …';
comment on column redaction.pattern is 'Which values: * stands for any text.';
comment on column redaction.requested_at is 'When it was asked for.';
