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

-- name: redact_pages_of_hits
-- Replace the page of raw events.
update hit set page = ':redacted' where site_id = $1 and page like $2 and page <> ':redacted';

-- name: redact_props_of_hits
-- Replace one property of raw events.
update hit set props = jsonb_set(props, array[$2::text], '":redacted"')
where site_id = $1 and props ->> $2 like $3;

-- name: redact_names_of_hits
-- Replace the name of raw events.
update hit set name = ':redacted' where site_id = $1 and name like $2 and name not in ('pageview', 'engagement');

-- name: redact_entry_pages
-- Replace the entry page of raw visits.
update visit set entry_page = ':redacted' where site_id = $1 and entry_page like $2;

-- name: redact_exit_pages
-- Replace the exit page of raw visits.
update visit set exit_page = ':redacted' where site_id = $1 and exit_page like $2;

-- name: redact_referrers
-- Replace the referrer of raw visits.
update visit set referrer = ':redacted' where site_id = $1 and referrer like $2;

-- name: redact_campaign_tags
-- Replace campaign tags of raw visits: the one named.
update visit set
    utm_source = case when $2 = 'utm_source' and utm_source like $3 then ':redacted' else utm_source end,
    utm_medium = case when $2 = 'utm_medium' and utm_medium like $3 then ':redacted' else utm_medium end,
    utm_campaign = case when $2 = 'utm_campaign' and utm_campaign like $3 then ':redacted' else utm_campaign end,
    utm_content = case when $2 = 'utm_content' and utm_content like $3 then ':redacted' else utm_content end,
    utm_term = case when $2 = 'utm_term' and utm_term like $3 then ':redacted' else utm_term end
where site_id = $1;
