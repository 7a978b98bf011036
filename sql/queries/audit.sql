-- name: audited_days
-- What was audited already, from a day on.
select site_id, day from audit where day >= $1;

-- name: put_audit
-- The result of an audit, in place of an earlier one.
insert into audit (site_id, day, ran_at, compared, differences) values ($1, $2, $3, $4, $5)
on conflict (site_id, day) do update set
    ran_at = excluded.ran_at, compared = excluded.compared, differences = excluded.differences;

-- name: delete_old_audits
-- Results are kept for 400 days.
delete from audit where ran_at < $1;

-- name: delete_site_audits
-- The results of a site.
delete from audit where site_id = $1;

-- name: audits_that_differ
-- How many audits of days from this one on could compare, and how many of them found differences.
select count(*) as days, count(*) filter (where jsonb_array_length(differences) > 0) as differing
from audit where day >= $1 and compared;

-- name: flushes_lost_near
-- Whether flushes were lost that may be of this day: what was open then is known to one side only.
select exists (
    select from gap where found_at >= $1::date - interval '1 day' and found_at < $1::date + interval '3 days'
) as lost;

-- name: recount_day
-- Where the daily counters of a site and the recount of its raw rows differ: by dimension, over the values that do.
-- A redaction adds up the visits of several values, of which one visit may have touched two: there only views and
-- events are compared.
with recursive dimensions as (
    select min(dimension) as dimension from counter where site_id = $1
    union all
    select (select min(dimension) from counter where site_id = $1 and dimension > before.dimension)
    from dimensions as before where before.dimension is not null
), counted as (
    select counter.dimension, value, visits, pageviews, events, bounces, duration
    from dimensions join counter on counter.dimension = dimensions.dimension
    where site_id = $1 and day = $2
    union all
    select 'hour', extract(epoch from hour)::bigint::text, visits, pageviews, events, bounces, duration
    from hour where site_id = $1 and day = $2
), touched as (
    select dimension, value, hit.visit, visit.bounce, visit.duration,
        count(*) filter (where hit.name = 'pageview') as pageviews, count(*) as events
    from hit
    join visit on visit.site_id = hit.site_id and visit.day = hit.day and visit.visit = hit.visit
    cross join lateral (
        values ('page', hit.page), ('hostname', hit.hostname), ('name', hit.name),
            ('hour', extract(epoch from hit.hour)::bigint::text)
        union all
        select 'props:' || key, value from jsonb_each_text(hit.props)
    ) as of_hit (dimension, value)
    where hit.site_id = $1 and hit.day = $2 and visit.site_id = $1 and visit.day = $2
        and hit.name <> 'engagement'
    group by 1, 2, 3, 4, 5
), recounted as (
    select dimension, value, count(*) as visits, sum(pageviews) as pageviews, sum(events) as events,
        count(*) filter (where bounce) as bounces, sum(duration) as duration
    from touched group by 1, 2
    union all
    select dimension, value, count(*), sum(pageviews), sum(events), count(*) filter (where bounce), sum(duration)
    from visit
    cross join lateral (
        values ('', ''), ('source', source), ('referrer', referrer), ('channel', channel),
            ('utm_source', utm_source), ('utm_medium', utm_medium), ('utm_campaign', utm_campaign),
            ('utm_content', utm_content), ('utm_term', utm_term), ('country', country), ('device', device),
            ('browser', browser), ('browser_version', browser_version), ('os', os), ('os_version', os_version),
            ('screen', screen), ('language', language), ('entry_page', entry_page), ('exit_page', exit_page)
    ) as of_visit (dimension, value)
    where site_id = $1 and day = $2
    group by 1, 2
), both_sides as (
    select dimension,
        value = ':redacted' and (dimension in ('page', 'hostname', 'name') or dimension like 'props:%') as added_up,
        array[coalesce(c.visits, 0), coalesce(c.pageviews, 0), coalesce(c.events, 0), coalesce(c.bounces, 0),
            coalesce(c.duration, 0)]::bigint[] as c,
        array[coalesce(r.visits, 0), coalesce(r.pageviews, 0), coalesce(r.events, 0), coalesce(r.bounces, 0),
            coalesce(r.duration, 0)]::bigint[] as r
    from counted as c full join recounted as r using (dimension, value)
)
select dimension, count(*) as values,
    array[sum(c[1]), sum(c[2]), sum(c[3]), sum(c[4]), sum(c[5])]::bigint[] as counted,
    array[sum(r[1]), sum(r[2]), sum(r[3]), sum(r[4]), sum(r[5])]::bigint[] as recounted
from both_sides
where case when added_up then c[2:3] <> r[2:3] else c <> r end
group by dimension
order by dimension;

-- name: recount_seats
-- Licenses whose counter of seats is not the number of installs that hold one.
select count(*) as values, coalesce(sum(used), 0)::bigint as counted, coalesce(sum(held), 0)::bigint as recounted
from (
    select used, (
        select count(*) from instance
        where instance.product_id = license.product_id and license_id = license.id and seat
    ) as held
    from license
) as both_sides
where used <> held;

-- name: recount_heartbeats
-- Products with more raw checks on a day than were counted. Fewer are right: an erasure removes raw rows alone.
select count(*) as values, coalesce(sum(counted), 0)::bigint as counted,
    coalesce(sum(recounted), 0)::bigint as recounted
from (
    select count(*) as recounted, coalesce((
        select heartbeats from install_count
        where install_count.product_id = heartbeat.product_id and dimension = '' and install_count.day = $1
            and value = ''
    ), 0) as counted
    from heartbeat where day = $1 group by product_id
) as both_sides
where recounted > counted;
