-- name: register_source
-- The fence of a node that appears for the first time.
insert into drain (source, applied, applied_at) values ($1, $2, $3) on conflict (source) do nothing;

-- name: fence_flush
-- Move a node's drain by one flush; no row changed: applied before, or the database is behind.
update drain set applied = $2, applied_at = $3 where source = $1 and applied = $2 - 1;

-- name: applied_flush
-- The last flush of a node that was applied.
select applied from drain where source = $1;

-- name: skip_flushes
-- Pass over flushes that no one has any more; they stand in the table gap.
update drain set applied = $2, applied_at = $3 where source = $1 and applied < $2;

-- name: add_gap
-- Report flushes that a restored database lacks.
insert into gap (source, first_missing, last_missing, found_at) values ($1, $2, $3, $4) on conflict do nothing;

-- name: lock_sites
-- Which of these sites still exist; they cannot be deleted or reset until the flush is in.
select id from site where id = any($1::bigint[]) for key share;

-- name: stage_counts
-- Where counts are copied to on their way into the counters. Made once a connection, for the catalogue's sake.
create temp table if not exists staged_count (like counter) on commit delete rows;

-- name: add_counts
-- Add differences to daily counters, in an order that is the same for all nodes.
insert into counter (site_id, day, dimension, value, visitors, visits, pageviews, events, bounces, duration,
    scroll, scroll_visits)
select site_id, day, dimension, value, visitors, visits, pageviews, events, bounces, duration, scroll, scroll_visits
from staged_count
order by site_id, day, dimension collate "C", value collate "C"
on conflict (site_id, dimension, day, value) do update set
    visitors = counter.visitors + excluded.visitors,
    visits = counter.visits + excluded.visits,
    pageviews = counter.pageviews + excluded.pageviews,
    events = counter.events + excluded.events,
    bounces = counter.bounces + excluded.bounces,
    duration = counter.duration + excluded.duration,
    scroll = counter.scroll + excluded.scroll,
    scroll_visits = counter.scroll_visits + excluded.scroll_visits;

-- name: stage_hours
-- Where counts are copied to on their way into the hourly totals.
create temp table if not exists staged_hour (like hour) on commit delete rows;

-- name: add_hours
-- Add differences to hourly totals.
insert into hour (site_id, day, hour, visitors, visits, pageviews, events, bounces, duration)
select site_id, day, hour, visitors, visits, pageviews, events, bounces, duration
from staged_hour
order by site_id, day, hour
on conflict (site_id, day, hour) do update set
    visitors = hour.visitors + excluded.visitors,
    visits = hour.visits + excluded.visits,
    pageviews = hour.pageviews + excluded.pageviews,
    events = hour.events + excluded.events,
    bounces = hour.bounces + excluded.bounces,
    duration = hour.duration + excluded.duration;

-- name: add_dropped
-- Add to the counts of what was not counted.
insert into dropped (site_id, day, reason, count)
select * from unnest($1::bigint[], $2::date[], $3::text[], $4::bigint[])
on conflict (site_id, day, reason) do update set count = dropped.count + excluded.count;

-- name: stage_visits
-- Where raw visits are copied to on their way.
create temp table if not exists staged_visit (like visit) on commit delete rows;

-- name: put_visits
-- Raw visits as they stand now.
insert into visit select * from staged_visit order by site_id, day, visit
on conflict (site_id, day, visit) do update set
    minute = excluded.minute,
    exit_page = excluded.exit_page,
    pageviews = excluded.pageviews,
    events = excluded.events,
    bounce = excluded.bounce,
    duration = excluded.duration;
