-- name: months_to_sum
-- Months of sites that ended before a day, have counters, and no sums.
select site.id as site_id, month
from site
cross join lateral (
    select distinct date_trunc('month', day)::date as month
    from counter where site_id = site.id and dimension = '' and day < $1
) as counted
where not exists (
    select from month as summed
    where summed.site_id = site.id and summed.dimension = '' and summed.month = counted.month
)
order by site.id, month
limit $2;

-- name: hold_site
-- No flush changes counters of this site until the transaction ends; no row: the site is gone.
select id from site where id = $1 for update;

-- name: clear_month
-- What is left of sums that do not hold any more.
delete from month where site_id = $1 and month = $2;

-- name: sum_month
-- The sums of a month. The dimensions are looked up one after the other: each day of each is one range of the key.
with recursive dimensions as (
    select min(dimension) as dimension from counter where site_id = $1
    union all
    select (select min(dimension) from counter where site_id = $1 and dimension > before.dimension)
    from dimensions as before where before.dimension is not null
)
insert into month
select $1, $2, dimension, value, sum(visitors), sum(visits), sum(pageviews), sum(events), sum(bounces),
    sum(duration), sum(scroll), sum(scroll_visits)
from dimensions
cross join lateral (
    select value, visitors, visits, pageviews, events, bounces, duration, scroll, scroll_visits
    from counter
    where site_id = $1 and counter.dimension = dimensions.dimension and day >= $2
        and day < $2::date + interval '1 month'
    offset 0
) as counted
group by dimension, value;

-- name: unsettle_months
-- The sums of these sites and months hold no more: their days have changed.
delete from month
where (site_id, month) in (select * from unnest($1::bigint[], $2::date[])) and dimension = '';

-- name: delete_site_months
-- All monthly sums of a site.
delete from month where site_id = $1;
