-- name: list_products
-- All products, for the local copy and for lists.
select id, name, root_public, key_set, customer_fields, created_at from product order by name;

-- name: list_product_keys
-- The keys of all products, newest first.
select product_id, kid, use, public, private, not_before, not_after from product_key order by not_before desc, kid;

-- name: list_plans
-- The plans of all products.
select product_id, id, name, seats, entitlements, check_interval, lease, grace, environments from plan
order by product_id, name;

-- name: list_releases
-- The releases of all products.
select product_id, channel, version, url, notes, security, minimum, plans, published_at from release
order by product_id, channel, published_at;

-- name: find_license
-- The license of a key.
select id, product_id, digest, plan_id, standing, seats, expires_at, used from license where digest = $1;

-- name: changed_licenses
-- Licenses that changed since a moment, for the local copies.
select id, product_id, digest, plan_id, standing, seats, expires_at, used from license where changed_at >= $1;

-- name: changed_seats
-- Installs whose seat changed since a moment, for the local copies.
select license_id, instance, seat from instance where changed_at >= $1;

-- name: held_seats
-- All installs that hold a seat, for a new local copy.
select license_id, instance, seat from instance where seat;

-- name: erased_since
-- What was erased since a moment, for the local copies.
select license_id, instance from erasure where erased_at >= $1;

-- name: claim_seat
-- A seat for a new install, in one statement; no row: all are taken.
-- A known install violates the primary key, and that aborts the counter too.
with claimed as (
    update license set used = used + 1, changed_at = $4
    where product_id = $1 and id = $2 and standing = 'active'
        and used < coalesce(seats, (select plan.seats from plan where plan.product_id = license.product_id
            and plan.id = license.plan_id), 1000000)
    returning used
)
insert into instance (product_id, license_id, instance, seat, first_seen, last_seen, heard, version, country,
    environment, os, arch, status, changed_at)
select $1, $2, $3, true, date_trunc('minute', $4::timestamptz), date_trunc('minute', $4::timestamptz),
    coalesce((select milliseconds from uptime), 0), $5, $6, $7, $8, $9, $10, $4
from claimed
returning (select used from claimed);

-- name: take_seat
-- One seat more of a license; no row: all are taken.
update license set used = used + 1, changed_at = $3
where product_id = $1 and id = $2 and standing = 'active'
    and used < coalesce(seats, (select plan.seats from plan where plan.product_id = license.product_id
        and plan.id = license.plan_id), 1000000)
returning used;

-- name: give_seat
-- The seat for an install that is known and has none; no row: it has one.
update instance set seat = true, environment = $5, heard = coalesce((select milliseconds from uptime), 0),
    changed_at = $4
where product_id = $1 and license_id = $2 and instance = $3 and not seat;

-- name: seat_of
-- How many seats of a license are taken, and whether an install holds one; null: the install is not known.
select license.used, instance.seat
from license left join instance on instance.product_id = license.product_id and instance.license_id = license.id
    and instance.instance = $3
where license.product_id = $1 and license.id = $2;

-- name: drop_seat
-- Free the seat of an install; no row: it had none.
update instance set seat = false, offline_until = null, changed_at = $4
where product_id = $1 and license_id = $2 and instance = $3 and seat;

-- name: give_back_seats
-- Fewer seats of a license are taken.
update license set used = used - $3, changed_at = $4 where product_id = $1 and id = $2;

-- name: silent_licenses
-- Licenses with installs that have been silent for longer than their lease, or need no seat any more.
select distinct product_id, license_id from install
where seat and (offline_until is null or offline_until < $1) and (state = 'lapsed' or exempt)
order by product_id, license_id;

-- name: free_silent_seats
-- Free the seats of the installs of a license that have been silent for longer than its lease, or need none.
update instance set seat = false, offline_until = null, changed_at = $3
from install
where instance.product_id = $1 and instance.license_id = $2 and instance.seat
    and install.product_id = instance.product_id and install.license_id = instance.license_id
    and install.instance = instance.instance
    and (install.offline_until is null or install.offline_until < $3)
    and (install.state = 'lapsed' or install.exempt);

-- name: begin_uptime
-- The clock of silence, begun once.
-- A day that was closed while the machine's clock ran far ahead is opened again.
insert into uptime (id, milliseconds, ticked_at, closed_day) values (1, 0, $1, $2)
on conflict (id) do update set closed_day = excluded.closed_day, ticked_at = least(uptime.ticked_at, $1)
where uptime.closed_day > $3;

-- name: tick_uptime
-- Let the clock go on, unless it stood still for longer than a minute: then heartbeats could not arrive.
update uptime set ticked_at = $1, milliseconds = milliseconds
    + case when $1 - ticked_at <= interval '1 minute' then extract(epoch from $1 - ticked_at) * 1000 else 0 end
where $1 > ticked_at;

-- name: living_licenses
-- Which of these licenses still exist, with their plans; they cannot be erased until the flush is in.
select license.product_id, license.id, license.forgotten_at, plan.name as plan
from license join plan on plan.product_id = license.product_id and plan.id = license.plan_id
where (license.product_id, license.id) in (select * from unnest($1::bigint[], $2::bigint[]))
order by license.product_id, license.id
for key share of license;

-- name: lock_instances
-- The tokens that these installs have shown, and whether they are there at all.
select product_id, license_id, instance, chain, generation, random, repeats, forks
from instance
where (product_id, license_id, instance) in (select * from unnest($1::bigint[], $2::bigint[], $3::bytea[]))
order by product_id, license_id, instance
for no key update;

-- name: count_unseated
-- How many installs without a seat these licenses have.
select product_id, license_id, count(*) as count from instance
where (product_id, license_id) in (select * from unnest($1::bigint[], $2::bigint[])) and not seat
group by product_id, license_id;

-- name: put_instances
-- Installs as their last heartbeat shows them; what is new holds no seat.
insert into instance (product_id, license_id, instance, seat, first_seen, last_seen, heard, version, country,
    environment, os, arch, status, chain, generation, random, repeats, forks, changed_at)
select product_id, license_id, instance, false, to_timestamp(minute), to_timestamp(minute),
    coalesce((select milliseconds from uptime), 0), version, country, environment, os, arch, status, chain,
    generation, random, repeats, forks, $16
from unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::text[], $10::text[], $11::bigint[], $12::bigint[], $13::bigint[], $14::int[], $15::int[])
    as row (product_id, license_id, instance, minute, version, country, environment, os, arch, status, chain,
        generation, random, repeats, forks)
on conflict (product_id, license_id, instance) do update set
    last_seen = greatest(instance.last_seen, excluded.last_seen),
    heard = excluded.heard,
    version = excluded.version,
    country = excluded.country,
    environment = excluded.environment,
    os = excluded.os,
    arch = excluded.arch,
    status = excluded.status,
    chain = excluded.chain,
    generation = excluded.generation,
    random = excluded.random,
    repeats = excluded.repeats,
    forks = excluded.forks;

-- name: versions_of_day
-- The versions that a product's heartbeats of a day are counted by so far.
select value from install_count where product_id = $1 and dimension = 'version' and day = $2 and heartbeats > 0;

-- name: add_heartbeats
-- Add to the answered checks of a day.
insert into install_count (product_id, dimension, day, value, heartbeats)
select * from unnest($1::bigint[], $2::text[], $3::date[], $4::text[], $5::bigint[])
on conflict (product_id, dimension, day, value) do update set
    heartbeats = install_count.heartbeats + excluded.heartbeats;

-- name: add_sharing
-- Add to the distinct installs, networks and countries of a license's day.
insert into sharing (product_id, license_id, day, instances, networks, countries)
select * from unnest($1::bigint[], $2::bigint[], $3::date[], $4::bigint[], $5::bigint[], $6::bigint[])
on conflict (product_id, license_id, day) do update set
    instances = sharing.instances + excluded.instances,
    networks = sharing.networks + excluded.networks,
    countries = sharing.countries + excluded.countries;

-- name: closed_day
-- The last day whose installs were counted; locked, so that one process counts.
select closed_day from uptime for no key update;

-- name: set_closed_day
-- The installs of this day have been counted for good.
update uptime set closed_day = $1;

-- name: clear_installs
-- Begin to count the installs of a day anew.
update install_count set installs = 0, new_installs = 0, returning_installs = 0, lost_installs = 0
where day = $1 and (installs <> 0 or new_installs <> 0 or returning_installs <> 0 or lost_installs <> 0);

-- name: count_installs
-- The installs of a day as they stand now, by each dimension; the rarest values past a limit as (other).
-- By environment those without need of a seat are listed too, by status those without a seat, by state all. A
-- seat that was taken after the end of the day is none of that day.
insert into install_count (product_id, dimension, day, value, installs, new_installs, returning_installs,
    lost_installs)
select product_id, dimension, $1, value, sum(installs), sum(new_installs), sum(returning_installs),
    sum(lost_installs)
from (
    select product_id, dimension,
        case when row_number() over (partition by product_id, dimension order by count(*) desc, value) > $2
            then '(other)' else value end as value,
        count(*) filter (where listed) as installs,
        count(*) filter (where counts_then and not counted_before) as new_installs,
        count(*) filter (where counts_then and not counted and counted_before) as returning_installs,
        count(*) filter (where counted and not counts_then) as lost_installs
    from (
        select *, counts and changed_at < (($1::date + 1)::timestamp at time zone 'UTC') as counts_then from install
    ) as install cross join lateral (values
        ('', '', counts_then),
        ('version', version, counts_then),
        ('plan', plan, counts_then),
        ('country', country, counts_then),
        ('os', os, counts_then),
        ('environment', environment, counts_then or (exempt and alive)),
        ('status', status, counts_then or (alive and not exempt)),
        ('state', state, not exempt)
    ) as part (dimension, value, listed)
    where listed or counted
    group by product_id, dimension, value
) as summed
group by product_id, dimension, value
on conflict (product_id, dimension, day, value) do update set
    installs = excluded.installs,
    new_installs = excluded.new_installs,
    returning_installs = excluded.returning_installs,
    lost_installs = excluded.lost_installs;

-- name: list_cells
-- Installs by version, plan and country at once.
select product_id, version, plan, country, count(*) as installs from install
where counts and changed_at < (($1::date + 1)::timestamp at time zone 'UTC')
group by product_id, version, plan, country;

-- name: clear_cells
-- Begin to count the installs by version, plan and country of a day anew.
delete from install_cell where day = $1;

-- name: put_cells
-- Installs of a day by version, plan and country, folded.
insert into install_cell (product_id, day, version, plan, country, installs)
select * from unnest($1::bigint[], $2::date[], $3::text[], $4::text[], $5::text[], $6::bigint[]);

-- name: note_counted
-- Remember with each install whether it was counted on the day that closes.
update instance set counted = locked.counts, counted_before = instance.counted_before or locked.counts
from (
    select instance.product_id, instance.license_id, instance.instance, judged.counts
    from instance
    join (
        select product_id, license_id, instance,
            counts and changed_at < (($1::date + 1)::timestamp at time zone 'UTC') as counts
        from install
    ) as judged using (product_id, license_id, instance)
    where instance.counted <> judged.counts
    order by instance.product_id, instance.license_id, instance.instance
    for no key update of instance
) as locked
where locked.product_id = instance.product_id and locked.license_id = instance.license_id
    and locked.instance = instance.instance;

-- name: lock_license
-- Keep a license as it is until the end of the transaction.
select id from license where product_id = $1 and id = $2 for no key update;
