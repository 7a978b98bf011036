-- name: report_first_day
-- The first local day with counts of a site, for the range "all".
select min(day) as day from counter where site_id = $1 and dimension = '';

-- name: report_purged_before
-- Raw rows of a site from before this day are gone, whatever the setting says now.
select max(before) as before from purge where site_id = $1 or site_id is null;

-- name: report_values
-- The values of a dimension in a range of days, up to a limit, for filters that go through all of them.
with summed as materialized (
    select month from month
    where site_id = $1 and dimension = '' and month >= $3
        and month + interval '1 month' <= $4::date + interval '1 day'
), days as (
    select day::date as day from generate_series($3::date::timestamp, $4, interval '1 day') as day
    where date_trunc('month', day)::date not in (select month from summed)
)
select distinct value from (
    select part.value from summed cross join lateral (
        select value from month where site_id = $1 and dimension = $2 and month = summed.month offset 0
    ) as part
    union all
    select part.value from days cross join lateral (
        select value from counter where site_id = $1 and dimension = $2 and day = days.day offset 0
    ) as part
) as found
limit $5;

-- name: report_dropped
-- What was not counted in a range of days, by reason.
select reason, sum(count)::bigint as count from dropped
where site_id = $1 and day between $2 and $3
group by reason
order by count desc, reason;

-- name: report_active_visits
-- Visits with an event since a moment, which lies on one of two days.
select count(distinct visit) as visits from hit
where site_id = $1 and day between $2 and $3 and minute >= $4 and name <> 'engagement';

-- name: report_pageviews_by_minute
-- Page views by minute since a moment, which lies on one of two days.
select minute, count(*) as pageviews from hit
where site_id = $1 and day between $2 and $3 and minute >= $4 and name = 'pageview'
group by minute;
