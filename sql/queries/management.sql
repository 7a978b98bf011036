-- name: add_product
-- A new product; no row changed: the name is taken.
insert into product (id, name, root_public, root_private, key_set, key_set_at, customer_fields, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $6)
on conflict (name) do nothing;

-- name: find_product
-- A product by its name.
select id, name, customer_fields from product where name = $1;

-- name: add_product_key
-- A new key of a product; it is in use.
insert into product_key (product_id, kid, use, public, private, not_before) values ($1, $2, $3, $4, $5, $6);

-- name: add_plan
-- A new plan; no row changed: the name is taken.
insert into plan (product_id, id, name, seats, entitlements, check_interval, lease, grace, environments)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
on conflict (product_id, name) do nothing;

-- name: find_plan
-- A plan of a product by its name.
select id from plan where product_id = $1 and name = $2;

-- name: add_license
-- A new license; only the digest of its key is kept.
insert into license (product_id, id, digest, plan_id, standing, seats, expires_at, customer_ref, customer_name,
    customer_email, created_at, changed_at)
values ($1, $2, $3, $4, 'active', $5, $6, $7, $8, $9, $10, $10);

-- name: get_license
-- A license as the vendor sees it; $2 limits it to one product.
select * from issued where id = $1 and ($2::bigint is null or product_id = $2);
