-- Products with their keys and plans, licenses, installs and their heartbeats.
--
-- Installs, heartbeats and counts have the product first, so that Citus can spread them by it.

create table product (
    id bigint primary key,
    name text not null unique,
    root_public bytea not null,
    root_private bytea not null,
    key_set text not null,
    key_set_at timestamptz not null,
    customer_fields boolean not null default false,
    created_at timestamptz not null
);
comment on table product is 'The software whose licenses are checked.';
comment on column product.id is 'Random identity.';
comment on column product.name is 'The name that checks carry.';
comment on column product.root_public is 'Public root key, which clients carry.';
comment on column product.root_private is 'Private root key, encrypted under HEADCOUNT_SECRET_KEY; signs the key set.';
comment on column product.key_set is 'The signed list of the keys, as clients get it.';
comment on column product.key_set_at is 'When the key set was signed.';
comment on column product.customer_fields is 'Whether the vendor keeps a name and an e-mail address with a license.';
comment on column product.created_at is 'When it was added.';

create table product_key (
    product_id bigint not null references product (id) on delete cascade,
    kid text not null,
    use text not null check (use in ('check', 'file')),
    public bytea not null,
    private bytea not null,
    not_before timestamptz not null,
    not_after timestamptz,
    primary key (product_id, kid)
);
comment on table product_key is 'The keys that sign answers and license files; each is certified by the root key.';
comment on column product_key.product_id is 'The product.';
comment on column product_key.kid is 'Name of the key, from its digest.';
comment on column product_key.use is 'What it signs: check or file.';
comment on column product_key.public is 'Public key.';
comment on column product_key.private is 'Private key, encrypted under HEADCOUNT_SECRET_KEY.';
comment on column product_key.not_before is 'From when it may have signed.';
comment on column product_key.not_after is 'Until when; null: it is in use.';

create table plan (
    product_id bigint not null references product (id) on delete cascade,
    id bigint not null,
    name text not null,
    seats int check (seats >= 0),
    entitlements jsonb not null,
    check_interval int not null,
    lease int not null,
    grace int not null,
    environments text[] not null,
    primary key (product_id, id),
    unique (product_id, name)
);
comment on table plan is 'What customers can buy of a product.';
comment on column plan.product_id is 'The product.';
comment on column plan.id is 'Random identity.';
comment on column plan.name is 'Name of the plan.';
comment on column plan.seats is 'Installs that a license may have; null: no limit.';
comment on column plan.entitlements is 'What the plan allows, as the product understands it.';
comment on column plan.check_interval is 'Seconds between two checks of an install.';
comment on column plan.lease is 'Seconds of silence after which an install frees its seat.';
comment on column plan.grace is 'Seconds that software goes on without an answer, and past the end of a license.';
comment on column plan.environments is 'Environments whose installs need no seat and are not counted.';

create table release (
    product_id bigint not null references product (id) on delete cascade,
    channel text not null,
    version text not null,
    url text not null,
    notes text not null,
    security boolean not null,
    minimum text not null,
    plans text[] not null,
    published_at timestamptz not null,
    primary key (product_id, channel, version)
);
comment on table release is 'Versions that installs are told about.';
comment on column release.product_id is 'The product.';
comment on column release.channel is 'Release channel: stable, beta …';
comment on column release.version is 'The version.';
comment on column release.url is 'Where to get it.';
comment on column release.notes is 'What is new, in a sentence.';
comment on column release.security is 'Whether it mends a weakness.';
comment on column release.minimum is 'The oldest version that can be updated to it directly; empty: any.';
comment on column release.plans is 'Plans it is for; empty: all.';
comment on column release.published_at is 'When it was added.';

create table license (
    product_id bigint not null references product (id) on delete cascade,
    id bigint not null,
    digest bytea not null,
    plan_id bigint not null,
    standing text not null check (standing in ('active', 'suspended', 'revoked')),
    standing_at timestamptz not null,
    seats int check (seats >= 0),
    expires_at timestamptz,
    used int not null default 0 check (used >= 0),
    customer_ref text not null default '',
    customer_name text not null default '',
    customer_email text not null default '',
    created_at timestamptz not null,
    changed_at timestamptz not null,
    forgotten_at timestamptz,
    primary key (product_id, id),
    unique (product_id, digest),
    foreign key (product_id, plan_id) references plan (product_id, id)
);
create index on license (id);
create index on license (digest);
create index on license (changed_at);
comment on table license is 'What customers hold; the key itself is shown once and never kept.';
comment on column license.product_id is 'The product.';
comment on column license.id is 'Random identity.';
comment on column license.digest is 'SHA-256 of the key (130 random bits), to recognise it.';
comment on column license.plan_id is 'Its plan.';
comment on column license.standing is 'active, suspended or revoked, as the vendor has decided.';
comment on column license.standing_at is 'When the vendor decided so.';
comment on column license.seats is 'Seats in place of the plan''s; null: as the plan.';
comment on column license.expires_at is 'When it ends; null: never.';
comment on column license.used is 'Seats that are taken: the counter that a new install claims from.';
comment on column license.customer_ref is 'The vendor''s own reference to the customer.';
comment on column license.customer_name is 'Name of the customer; only if the product keeps customer fields.';
comment on column license.customer_email is 'E-mail address of the customer; only if the product keeps customer fields.';
comment on column license.created_at is 'When it was issued.';
comment on column license.changed_at is 'When it last changed, for the local copies.';
comment on column license.forgotten_at is 'When all that was known of its installs was erased; null: never.';

create table instance (
    product_id bigint not null,
    license_id bigint not null,
    instance bytea not null,
    seat boolean not null,
    first_seen timestamptz not null,
    last_seen timestamptz not null,
    heard bigint not null,
    version text not null,
    country text not null,
    environment text not null,
    os text not null,
    arch text not null,
    status text not null,
    chain bigint not null default 0,
    generation bigint not null default 0,
    random bigint not null default 0,
    repeats int not null default 0,
    forks int not null default 0,
    offline_until timestamptz,
    counted boolean not null default false,
    counted_before boolean not null default false,
    changed_at timestamptz not null,
    primary key (product_id, license_id, instance),
    foreign key (product_id, license_id) references license (product_id, id) on delete cascade
);
create index on instance (changed_at);
comment on table instance is 'Installs of a license, each known by a keyed digest of the id that it made itself.';
comment on column instance.product_id is 'The product.';
comment on column instance.license_id is 'The license.';
comment on column instance.instance is 'HMAC-SHA256 of the install''s own id under the license key, which is not kept.';
comment on column instance.seat is 'Whether it holds a seat.';
comment on column instance.first_seen is 'First heartbeat, cut to the minute.';
comment on column instance.last_seen is 'Last heartbeat, cut to the minute.';
comment on column instance.heard is 'Reading of the uptime at its last heartbeat, so that outages are no silence.';
comment on column instance.version is 'Installed version, reduced to numbers and a pre-release word.';
comment on column instance.country is 'Country of the server, ISO 3166-1 alpha-2; its address is never kept.';
comment on column instance.environment is 'production, staging … or other.';
comment on column instance.os is 'Operating system, one of a list.';
comment on column instance.arch is 'Processor architecture, one of a list.';
comment on column instance.status is 'What its last check was answered.';
comment on column instance.chain is 'Beginning of its chain of tokens, Unix seconds.';
comment on column instance.generation is 'Latest generation of the chain that it has shown.';
comment on column instance.random is 'Random number of that token.';
comment on column instance.repeats is 'How often that token came again.';
comment on column instance.forks is 'How often two installs turned out to share this identity.';
comment on column instance.offline_until is 'Until when a license file keeps its seat; null: it has none.';
comment on column instance.counted is 'Whether it was counted as an install on the last closed day.';
comment on column instance.counted_before is 'Whether it was ever counted, to tell new from returning.';
comment on column instance.changed_at is 'When its seat last changed, for the local copies; after a day cut to the day.';

create table heartbeat (
    product_id bigint not null,
    day date not null,
    license_id bigint not null,
    instance bytea not null,
    minute timestamptz not null,
    version text not null,
    country text not null,
    environment text not null,
    os text not null,
    arch text not null,
    status text not null
) partition by range (day);
create index on heartbeat (product_id, license_id, day);
comment on table heartbeat is 'Raw heartbeats of the last 30 days at most.';
comment on column heartbeat.product_id is 'The product.';
comment on column heartbeat.day is 'Day of UTC; one partition each.';
comment on column heartbeat.license_id is 'The license.';
comment on column heartbeat.instance is 'Digest of the install, as in the table instance.';
comment on column heartbeat.minute is 'When, cut to the minute.';
comment on column heartbeat.version is 'Installed version, reduced to numbers and a pre-release word.';
comment on column heartbeat.country is 'Country of the server, ISO 3166-1 alpha-2; its address is never kept.';
comment on column heartbeat.environment is 'production, staging … or other.';
comment on column heartbeat.os is 'Operating system, one of a list.';
comment on column heartbeat.arch is 'Processor architecture, one of a list.';
comment on column heartbeat.status is 'What the check was answered.';

create table install_count (
    product_id bigint not null,
    dimension text not null,
    day date not null,
    value text not null,
    installs bigint not null default 0,
    new_installs bigint not null default 0,
    returning_installs bigint not null default 0,
    lost_installs bigint not null default 0,
    heartbeats bigint not null default 0,
    primary key (product_id, dimension, day, value)
);
comment on table install_count is 'Daily counts of each product by each dimension; kept for good.';
comment on column install_count.product_id is 'The product.';
comment on column install_count.dimension is 'What is counted by: empty for the whole product, version, plan, country, os, status, state …';
comment on column install_count.day is 'Day of UTC.';
comment on column install_count.value is 'The value of the dimension; empty where it is not known.';
comment on column install_count.installs is 'Installs at the end of the day: seats in state active or late.';
comment on column install_count.new_installs is 'Of these, never counted before.';
comment on column install_count.returning_installs is 'Of these, counted once, but not the day before.';
comment on column install_count.lost_installs is 'Counted the day before and not any more.';
comment on column install_count.heartbeats is 'Answered checks of the day.';

create table install_cell (
    product_id bigint not null,
    day date not null,
    version text not null,
    plan text not null,
    country text not null,
    installs bigint not null,
    primary key (product_id, day, version, plan, country)
);
comment on table install_cell is 'Installs by version, plan and country at once; what fewer than five share is folded into (other).';
comment on column install_cell.product_id is 'The product.';
comment on column install_cell.day is 'Day of UTC.';
comment on column install_cell.version is 'Version, or (other).';
comment on column install_cell.plan is 'Plan, or (other).';
comment on column install_cell.country is 'Country, or (other).';
comment on column install_cell.installs is 'Installs at the end of the day.';

create table sharing (
    product_id bigint not null,
    license_id bigint not null,
    day date not null,
    instances bigint not null,
    networks bigint not null,
    countries bigint not null,
    primary key (product_id, license_id, day),
    foreign key (product_id, license_id) references license (product_id, id) on delete cascade
);
comment on table sharing is 'Signs that a key is passed around: distinct values of a day, estimated, without any address; the last 400 days.';
comment on column sharing.product_id is 'The product.';
comment on column sharing.license_id is 'The license.';
comment on column sharing.day is 'Day of UTC.';
comment on column sharing.instances is 'Distinct installs that checked.';
comment on column sharing.networks is 'Distinct networks that they checked from (IPv4 /24, IPv6 /48).';
comment on column sharing.countries is 'Distinct countries that they checked from.';

create table uptime (
    id int primary key check (id = 1),
    milliseconds bigint not null,
    ticked_at timestamptz not null,
    closed_day date not null
);
comment on table uptime is 'The clock that silence is measured by: it stands still while heartbeats cannot arrive.';
comment on column uptime.id is 'There is one row.';
comment on column uptime.milliseconds is 'Milliseconds in which heartbeats could arrive.';
comment on column uptime.ticked_at is 'When that was last read.';
comment on column uptime.closed_day is 'Last day of UTC whose installs were counted.';

create table erasure (
    product_id bigint not null,
    license_id bigint not null,
    instance bytea not null,
    erased_at timestamptz not null,
    primary key (product_id, license_id, instance)
);
create index on erasure (erased_at);
comment on table erasure is 'What local copies still have to forget; a row lives for a day.';
comment on column erasure.product_id is 'The product.';
comment on column erasure.license_id is 'Random identity of the license.';
comment on column erasure.instance is 'Digest of the install; empty: the license as a whole.';
comment on column erasure.erased_at is 'When it was erased.';

create table idempotency (
    token_id bigint not null references token (id) on delete cascade,
    digest bytea not null,
    request bytea not null,
    answer bytea not null,
    created_at timestamptz not null,
    primary key (token_id, digest)
);
comment on table idempotency is 'Answers to requests that carry an Idempotency-Key, so that a repeat does nothing twice; kept for a day.';
comment on column idempotency.token_id is 'The token that asked.';
comment on column idempotency.digest is 'SHA-256 of the Idempotency-Key.';
comment on column idempotency.request is 'Digest of the request under HEADCOUNT_SECRET_KEY, to tell a repeat from another one.';
comment on column idempotency.answer is 'The answer, encrypted under the Idempotency-Key and HEADCOUNT_SECRET_KEY.';
comment on column idempotency.created_at is 'When it was answered.';

alter table token add product_id bigint references product (id) on delete cascade;
comment on column token.product_id is 'The one product it may act on; null: all of them.';
comment on column token.scopes is 'What it may do: events:write, stats:read, sites:write, licenses:write.';

-- States are told by the clock of silence: late after one check interval, silent after three, lapsed after the
-- lease. An install with a license file is offline as long as that keeps its seat.
create view install as
select product_id, license_id, instance, plan, seat, state, first_seen, last_seen, version, country, environment,
    os, arch, status, forks, offline_until, counted, counted_before, changed_at, exempt,
    seat and not exempt and state in ('active', 'late') as counts,
    state in ('active', 'late') as alive
from (
    select instance.*, plan.name as plan,
        instance.environment <> 'production' and instance.environment = any (plan.environments) as exempt,
        case
            when silence <= plan.check_interval * 1000::bigint then 'active'
            when silence <= plan.check_interval * 3000::bigint then 'late'
            when instance.seat and instance.offline_until > ticked_at then 'offline'
            when silence <= plan.lease * 1000::bigint then 'silent'
            else 'lapsed'
        end as state
    from instance
    join license on license.product_id = instance.product_id and license.id = instance.license_id
    join plan on plan.product_id = license.product_id and plan.id = license.plan_id
    cross join lateral (
        select coalesce((select milliseconds from uptime), 0) - instance.heard as silence,
            coalesce((select ticked_at from uptime), instance.last_seen) as ticked_at
    ) as clock
) as judged;
comment on view install is 'Installs with their state; one counts that holds a seat and is active or late.';

create view issued as
select license.*, product.name as product, product.customer_fields, plan.name as plan, plan.grace,
    coalesce(license.seats, plan.seats) as seats_limit
from license
join product on product.id = license.product_id
join plan on plan.product_id = license.product_id and plan.id = license.plan_id;
comment on view issued is 'Licenses with what their product and plan say of them.';
