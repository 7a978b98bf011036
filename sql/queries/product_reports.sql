-- name: product_id
-- A product by its name.
select id from product where name = $1;

-- name: product_counted_days
-- The first day of a product, and the last that was counted: the open one if it has states, or nothing to count.
select (product.created_at at time zone 'UTC')::date as first,
    closed_day + case when exists (
        select from install_count where product_id = $1 and dimension = 'state' and day = closed_day + 1
    ) or not exists (select from install where product_id = $1 and not exempt) then 1 else 0 end as last
from product left join uptime on true
where product.id = $1;

-- name: product_values
-- The values of a dimension in a range of days, up to a limit, for filters that go through all of them.
select distinct value
from (
    select value from install_count where product_id = $1 and dimension = $2 and day between $3 and $4
    union all
    select case $2 when 'version' then version when 'plan' then plan else country end from install_cell
    where product_id = $1 and $2 in ('version', 'plan', 'country') and day between $3 and $4
) as counted
limit $5;

-- name: product_seats
-- The seats of a product's licenses that are good at a moment: taken and sold; those without a limit apart.
select count(*) as licenses,
    coalesce(sum(used) filter (where seats_limit is not null), 0)::bigint as used,
    coalesce(sum(seats_limit), 0)::bigint as sold,
    count(*) filter (where seats_limit is null) as unlimited,
    coalesce(sum(used) filter (where seats_limit is null), 0)::bigint as used_unlimited
from issued
where product_id = $1 and standing = 'active'
    and (expires_at is null or expires_at + make_interval(secs => grace) > $2);

-- name: product_silent
-- Installs with a seat that are silent, the longest first, and how many there are.
select install.license_id, license.customer_ref, install.instance, install.version, install.plan,
    install.last_seen, install.forks, count(*) over () as total
from install
join license on license.product_id = install.product_id and license.id = install.license_id
where install.product_id = $1 and install.state = 'silent' and install.seat and not install.exempt
order by install.last_seen, install.license_id, install.instance
limit $2;

-- name: product_shared
-- Licenses that checked from more installs, networks or countries on a day than they have seats, and how many.
select issued.id, issued.customer_ref, issued.plan, issued.seats_limit, most.instances, most.networks,
    most.countries, count(*) over () as total
from (
    select license_id, max(instances) as instances, max(networks) as networks, max(countries) as countries
    from sharing
    where product_id = $1 and day between $2 and $3
    group by license_id
) as most
join issued on issued.product_id = $1 and issued.id = most.license_id
where greatest(most.instances, most.networks, most.countries) > issued.seats_limit
order by greatest(most.instances, most.networks, most.countries)::float8 / greatest(issued.seats_limit, 1) desc,
    issued.id
limit $4;

-- name: product_forked
-- Installs whose identity is shared by two, the most often first, and how many there are.
select install.license_id, license.customer_ref, install.instance, install.version, install.plan,
    install.last_seen, install.forks, count(*) over () as total
from install
join license on license.product_id = install.product_id and license.id = install.license_id
where install.product_id = $1 and install.forks > 0
order by install.forks desc, install.last_seen desc, install.license_id, install.instance
limit $2;
