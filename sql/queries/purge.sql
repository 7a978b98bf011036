-- name: raw_partitions
-- The partitions of raw rows, one a table and day.
select child.relname as name
from pg_inherits
join pg_class child on child.oid = inhrelid
join pg_class parent on parent.oid = inhparent
where parent.relname in ('hit', 'visit', 'heartbeat')
order by child.relname;

-- name: delete_old_hits
-- Raw events of a site before a day; with the day range first, so that whole partitions are passed over.
delete from hit where site_id = $1 and day < $2;

-- name: delete_old_visits
-- Raw visits of a site before a day.
delete from visit where site_id = $1 and day < $2;

-- name: add_purge
-- Record what a purge removed.
insert into purge (id, ran_at, kind, site_id, before, rows) values ($1, $2, $3, $4, $5, $6);

-- name: delete_old_purges
-- The record of purges is kept for 400 days.
delete from purge where ran_at < $1;

-- name: list_purges
-- What was purged lately.
select ran_at, kind, site_id, before, rows from purge order by ran_at desc limit $1;

-- name: oldest_raw_row
-- The oldest day of which a site has raw rows; null: none.
select min(day) as day from visit where site_id = $1;

-- name: list_gaps
-- Flushes that are missing since a database was restored.
select source, first_missing, last_missing, found_at from gap order by found_at desc;
