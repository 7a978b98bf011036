-- name: add_redaction
-- Ask every node to replace values it still holds.
insert into redaction (id, site_id, dimension, pattern, requested_at) values ($1, $2, $3, $4, $5);

-- name: list_redactions
-- The requests of the last day.
select id, site_id, dimension, pattern from redaction order by requested_at;

-- name: delete_old_redactions
-- A request has reached every node that is alive; one that was down for longer replaces nothing it still holds.
delete from redaction where requested_at < $1;

-- name: redact_counts
-- Move the counts of the matching values to the value ":redacted"; the number of values moved.
with gone as (
    delete from counter
    where site_id = $1 and dimension = any($2::text[]) and value like $3 and value <> ':redacted'
        and not (dimension = 'name' and value in ('pageview', 'engagement'))
    returning *
), moved as (
    insert into counter
    select site_id, day, dimension, ':redacted', sum(visitors), sum(visits), sum(pageviews), sum(events),
        sum(bounces), sum(duration), sum(scroll), sum(scroll_visits)
    from gone group by site_id, day, dimension
    on conflict (site_id, dimension, day, value) do update set
        visitors = counter.visitors + excluded.visitors,
        visits = counter.visits + excluded.visits,
        pageviews = counter.pageviews + excluded.pageviews,
        events = counter.events + excluded.events,
        bounces = counter.bounces + excluded.bounces,
        duration = counter.duration + excluded.duration,
        scroll = counter.scroll + excluded.scroll,
        scroll_visits = counter.scroll_visits + excluded.scroll_visits
)
select count(*) as moved from gone;

-- name: redact_hits
-- Replace one column of raw events: $2 names it.
update hit set
    page = case $2::text when 'page' then ':redacted' else page end,
    hostname = case $2 when 'hostname' then ':redacted' else hostname end,
    name = case $2 when 'name' then ':redacted' else name end
where site_id = $1
    and case $2 when 'page' then page when 'hostname' then hostname when 'name' then name end like $3
    and not ($2 = 'name' and name in ('pageview', 'engagement'));

-- name: redact_props_of_hits
-- Replace one property of raw events.
update hit set props = jsonb_set(props, array[$2::text], '":redacted"')
where site_id = $1 and props ->> $2 like $3;

-- name: redact_visits
-- Replace one column of raw visits: $2 names it.
update visit set
    entry_page = case $2::text when 'entry_page' then ':redacted' else entry_page end,
    exit_page = case $2 when 'exit_page' then ':redacted' else exit_page end,
    source = case $2 when 'source' then ':redacted' else source end,
    referrer = case $2 when 'referrer' then ':redacted' else referrer end,
    utm_source = case $2 when 'utm_source' then ':redacted' else utm_source end,
    utm_medium = case $2 when 'utm_medium' then ':redacted' else utm_medium end,
    utm_campaign = case $2 when 'utm_campaign' then ':redacted' else utm_campaign end,
    utm_content = case $2 when 'utm_content' then ':redacted' else utm_content end,
    utm_term = case $2 when 'utm_term' then ':redacted' else utm_term end
where site_id = $1
    and case $2
        when 'entry_page' then entry_page
        when 'exit_page' then exit_page
        when 'source' then source
        when 'referrer' then referrer
        when 'utm_source' then utm_source
        when 'utm_medium' then utm_medium
        when 'utm_campaign' then utm_campaign
        when 'utm_content' then utm_content
        when 'utm_term' then utm_term
    end like $3;
