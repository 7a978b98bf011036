-- name: list_sites
-- All sites with their settings, for the local copy and for lists.
select id, domain, timezone, next_timezone, timezone_from, hostnames, query_params, props, retention_days, gpc,
    fold_digits, created_at
from site order by domain;

-- name: list_tokens
-- All tokens, without the tokens themselves, for the local copy and for lists.
select id, digest, site_id, product_id, scopes, created_at from token order by id;

-- name: add_site
-- A new site; no row changed: the domain is taken.
insert into site (id, domain, timezone, hostnames, query_params, props, retention_days, gpc, fold_digits, created_at)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
on conflict (domain) do nothing;

-- name: set_site
-- The settings of a site, whole.
update site set domain = $2, timezone = $3, next_timezone = $4, timezone_from = $5, hostnames = $6,
    query_params = $7, props = $8, retention_days = $9, gpc = $10, fold_digits = $11
where id = $1;

-- name: renumber_site
-- Give a site a new identity: what belongs to the old one can be deleted, and nothing late reaches the new.
update site set id = $2 where id = $1;

-- name: delete_site
-- The site itself; its tokens and redactions go with it.
delete from site where id = $1;

-- name: delete_site_counters
-- All daily counts of a site.
delete from counter where site_id = $1;

-- name: delete_site_hours
-- All hourly totals of a site.
delete from hour where site_id = $1;

-- name: delete_site_dropped
-- All counts of what was not counted of a site.
delete from dropped where site_id = $1;

-- name: delete_site_hits
-- All raw events of a site.
delete from hit where site_id = $1;

-- name: delete_site_visits
-- All raw visits of a site.
delete from visit where site_id = $1;

-- name: delete_site_purges
-- The record of what was purged of a site.
delete from purge where site_id = $1;

-- name: add_token
-- A new token; only its digest is kept.
insert into token (id, digest, site_id, product_id, scopes, created_at) values ($1, $2, $3, $4, $5, $6);

-- name: delete_token
-- Revoke a token.
delete from token where id = $1;

-- name: token_names
-- What the sites and products are called that tokens are for.
select id, domain as name from site union all select id, name from product;
