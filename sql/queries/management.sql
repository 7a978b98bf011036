-- name: add_product
-- A new product; no row changed: the name is taken.
insert into product (id, name, root_public, root_private, key_set, key_set_at, customer_fields, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $6)
on conflict (name) do nothing;

-- name: find_product
-- A product by its name; what it says of customer fields holds until the transaction ends.
select id, name, customer_fields from product where name = $1 for share;

-- name: add_product_key
-- A new key of a product; it is in use.
insert into product_key (product_id, kid, use, public, private, not_before) values ($1, $2, $3, $4, $5, $6);

-- name: lock_product
-- A product whose key set is about to change.
select id, name, root_private, key_set from product where name = $1 for no key update;

-- name: product_keys
-- The keys of a product, newest first.
select kid, use, public, private, not_before, not_after from product_key where product_id = $1
order by not_before desc, kid;

-- name: retire_keys
-- Let the keys in use sign nothing any more; what they have signed is good until a moment.
update product_key set not_after = $2, private = '' where product_id = $1 and not_after is null;

-- name: drop_keys
-- Remove the keys of a product that are good no longer than a moment; null: all of them.
delete from product_key where product_id = $1 and ($2::timestamptz is null or not_after <= $2);

-- name: keep_key_set
-- The key set of a product as it was signed now.
update product set key_set = $2, key_set_at = $3 where id = $1;

-- name: old_key_sets
-- Products whose key set was signed before a moment.
select name from product where key_set_at < $1 order by name;

-- name: set_customer_fields
-- Whether names and e-mail addresses are kept with the licenses of a product.
update product set customer_fields = $2 where id = $1;

-- name: forget_customers_of
-- Empty the names and e-mail addresses of a product's customers.
update license set customer_name = '', customer_email = '' from (
    select product_id, id from license
    where product_id = $1 and (customer_name <> '' or customer_email <> '')
    order by product_id, id for no key update
) as named
where license.product_id = named.product_id and license.id = named.id;

-- name: forget_old_customers
-- Empty the names and e-mail addresses with licenses that ended, or were revoked, before a moment.
update license set customer_name = '', customer_email = '' from (
    select product_id, id from license
    where (customer_name <> '' or customer_email <> '')
        and (expires_at < $1 or standing = 'revoked' and standing_at < $1)
    order by product_id, id for no key update
) as old
where license.product_id = old.product_id and license.id = old.id;

-- name: forget_old_installs
-- Delete installs without a seat that were not seen since a moment; local copies are told.
with gone as (
    delete from instance using (
        select product_id, license_id, instance from instance where not seat and last_seen < $1
        order by product_id, license_id, instance for update
    ) as old
    where instance.product_id = old.product_id and instance.license_id = old.license_id
        and instance.instance = old.instance and not instance.seat
    returning instance.product_id, instance.license_id, instance.instance
)
insert into erasure (product_id, license_id, instance, erased_at)
select product_id, license_id, instance, $2 from gone
on conflict (product_id, license_id, instance) do update set erased_at = excluded.erased_at;

-- name: forget_old_sharing
-- Delete the signs of sharing of days before a day.
delete from sharing where day < $1;

-- name: forget_old_erasures
-- Delete what local copies have been told to forget by now.
delete from erasure where erased_at < $1;

-- name: forget_old_answers
-- Delete the answers that were kept for a repeat.
delete from idempotency where created_at < $1;

-- name: add_plan
-- A new plan; no row changed: the name is taken.
insert into plan (product_id, id, name, seats, entitlements, check_interval, lease, grace, environments)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (product_id, name) do nothing;

-- name: find_plan
-- A plan of a product by its name.
select id from plan where product_id = $1 and name = $2;

-- name: lock_plan
-- A plan of a product that is about to change.
select id, name, seats, entitlements, check_interval, lease, grace, environments from plan
where product_id = $1 and name = $2 for no key update;

-- name: set_plan
-- The settings of a plan, whole.
update plan set seats = $3, entitlements = $4, check_interval = $5, lease = $6, grace = $7, environments = $8
where product_id = $1 and id = $2;

-- name: count_releases
-- How many other releases a product has.
select count(*) from release where product_id = $1 and (channel, version) <> ($2, $3);

-- name: put_release
-- A release; one of the same channel and version is replaced.
insert into release (product_id, channel, version, url, notes, security, minimum, plans, published_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (product_id, channel, version) do update set
    url = excluded.url,
    notes = excluded.notes,
    security = excluded.security,
    minimum = excluded.minimum,
    plans = excluded.plans;

-- name: withdraw_release
-- Take a release back; no row: there is none.
delete from release where product_id = $1 and channel = $2 and version = $3;

-- name: add_license
-- A new license; only the digest of its key is kept.
insert into license (product_id, id, digest, plan_id, standing, standing_at, seats, expires_at, customer_ref,
    customer_name, customer_email, created_at, changed_at)
values ($1, $2, $3, $4, 'active', $10, $5, $6, $7, $8, $9, $10, $10);

-- name: get_license
-- A license as the vendor sees it; $2 limits it to one product.
select * from issued where id = $1 and ($2::bigint is null or product_id = $2);

-- name: license_of_digest
-- The license of a key as the vendor sees it; $2 limits it to one product.
select * from issued where digest = $1 and ($2::bigint is null or product_id = $2);

-- name: list_licenses
-- Licenses as the vendor sees them, by id, page by page; null: whichever.
select * from issued
where id > $1
    and ($3::bigint is null or product_id = $3)
    and ($4::text is null or product = $4)
    and ($5::text is null or plan = $5)
    and ($6::text is null or customer_ref = $6)
    and ($7::text is null or $7 = case
        when standing <> 'active' then standing
        when expires_at is null or expires_at > $8 then 'active'
        when expires_at + make_interval(secs => grace) > $8 then 'grace'
        else 'expired'
    end)
order by id limit $2;

-- name: set_standing
-- What the vendor makes of a license; no row: it stood otherwise.
update license set standing = $3, standing_at = $4, changed_at = $4
where product_id = $1 and id = $2 and standing = any($5::text[]);

-- name: set_license
-- What can be changed of a license, whole.
update license set plan_id = $3, seats = $4, expires_at = $5, customer_ref = $6, customer_name = $7,
    customer_email = $8, changed_at = $9
where product_id = $1 and id = $2;

-- name: drop_seats
-- Free all seats of a license.
update instance set seat = false, offline_until = null, changed_at = $3
where product_id = $1 and license_id = $2 and seat;

-- name: blur_seat_changes
-- Cut to the day when the seats of installs changed, once the local copies know.
update instance set changed_at = date_trunc('day', changed_at at time zone 'UTC') at time zone 'UTC'
where changed_at < $1 and changed_at <> date_trunc('day', changed_at at time zone 'UTC') at time zone 'UTC';

-- name: empty_seats
-- No seat of a license is taken, and what was heard before is forgotten, also what still waits to be counted.
update license set used = 0, changed_at = $3, forgotten_at = $3 where product_id = $1 and id = $2;

-- name: forget_installs_of
-- Delete the installs of a license; local copies are told.
with gone as (
    delete from instance where product_id = $1 and license_id = $2 returning instance
)
insert into erasure (product_id, license_id, instance, erased_at) select $1, $2, instance, $3 from gone
on conflict (product_id, license_id, instance) do update set erased_at = excluded.erased_at;

-- name: forget_heartbeats_of
-- Delete the raw heartbeats of a license.
delete from heartbeat where product_id = $1 and license_id = $2;

-- name: forget_sharing_of
-- Delete the signs of sharing of a license.
delete from sharing where product_id = $1 and license_id = $2;

-- name: lock_license_whole
-- Keep a license and its installs as they are until the end of the transaction: flushes of heartbeats wait too.
select id from license where product_id = $1 and id = $2 for update;

-- name: erase_license
-- Delete a license; local copies are told.
with gone as (
    delete from license where product_id = $1 and id = $2 returning product_id, id
)
insert into erasure (product_id, license_id, instance, erased_at) select product_id, id, '', $3 from gone
on conflict (product_id, license_id, instance) do update set erased_at = excluded.erased_at;

-- name: hold_offline
-- Keep the seat of an install that got a license file. An earlier file may be good for longer.
update instance set offline_until = greatest(offline_until, $4), version = $5
where product_id = $1 and license_id = $2 and instance = $3;

-- name: license_row
-- Everything that is kept of a license itself.
select * from license where product_id = $1 and id = $2;

-- name: instances_of
-- Everything that is kept of the installs of a license.
select * from instance where product_id = $1 and license_id = $2 order by instance;

-- name: heartbeats_of
-- The newest raw heartbeats of a license, and how many there are.
select *, count(*) over () as total from heartbeat where product_id = $1 and license_id = $2
order by day desc, minute desc, instance limit 10000;

-- name: sharing_of
-- The signs of sharing of a license.
select * from sharing where product_id = $1 and license_id = $2 order by day;

-- name: list_instances
-- Installs with their states, page by page; null: of all licenses of the product.
select license_id as license, instance as digest, seat, state, first_seen, last_seen, version, country,
    environment, os, arch, status, forks, offline_until
from install
where product_id = $1 and ($2::bigint is null or license_id = $2) and (license_id, instance) > ($3::bigint, $4::bytea)
order by license_id, instance limit $5;

-- name: forget_answer
-- Delete the answer to an Idempotency-Key if it is older than a moment.
delete from idempotency where token_id = $1 and digest = $2 and created_at < $3;

-- name: claim_answer
-- Take an Idempotency-Key; no row: it is taken, or the token is gone. Whoever is second waits for the first.
insert into idempotency (token_id, digest, request, answer, created_at)
select id, $2, $3, '', $4 from token where id = $1
on conflict (token_id, digest) do nothing;

-- name: keep_answer
-- The answer to an Idempotency-Key, sealed.
update idempotency set answer = $3 where token_id = $1 and digest = $2;

-- name: kept_answer
-- What was asked and answered under an Idempotency-Key.
select request, answer from idempotency where token_id = $1 and digest = $2;
