-- What a busy site leaves in Postgres, made on the server: the values of each dimension follow a power law.
-- Each part is run by itself, with its arguments; the random numbers begin with setseed.

-- name: counters
-- Counters of the days from $2 to $3 of site $1, with about $4 page views a day, a fifth less at weekends.
insert into counter (site_id, day, dimension, value, visitors, visits, pageviews, events, bounces, duration, scroll,
    scroll_visits)
select $1::bigint, day, dimension, value, ceil(visits * 0.9), visits, views, views + views / 10, visits * 0.4,
    visits * 95, case when dimension = 'page' then visits * 55 else 0 end,
    case when dimension = 'page' then visits else 0 end
from (
    select day::date, dimension, case when number = 0 then '' else prefix || number end as value,
        greatest(views / case when by_event then 2 else 3 end, 1) as visits, views
    from generate_series($2::date::timestamp, $3::date, '1 day') as day
    cross join (
        values ('', '', 0, 0.0, false), ('page', '/articles/2024/a-longer-name-', 1500, 1.0, true),
            ('entry_page', '/articles/2024/a-longer-name-', 800, 1.0, false),
            ('exit_page', '/articles/2024/a-longer-name-', 800, 1.0, false),
            ('source', 'site-', 150, 1.2, false), ('referrer', 'site-1.example/a/path-', 400, 1.1, false),
            ('channel', 'Channel ', 10, 1.0, false), ('utm_source', 'sender-', 30, 1.2, false),
            ('utm_medium', 'medium-', 8, 1.2, false), ('utm_campaign', 'campaign-', 40, 1.1, false),
            ('utm_content', 'content-', 20, 1.2, false), ('utm_term', 'term-', 30, 1.2, false),
            ('country', 'C', 120, 1.4, false), ('device', 'device-', 4, 1.0, false),
            ('browser', 'Browser ', 15, 1.6, false), ('browser_version', 'Browser 1', 60, 1.3, false),
            ('os', 'System ', 10, 1.3, false), ('os_version', 'System 1', 40, 1.2, false),
            ('screen', 'S', 5, 1.0, false), ('language', 'l', 50, 1.6, false),
            ('hostname', 'www', 2, 2.0, true), ('name', 'Event ', 12, 1.5, true), ('props:plan', 'plan-', 5, 1.0, true)
    ) as of (dimension, prefix, distinct_values, exponent, by_event)
    cross join lateral (
        select sum(1 / power(number, exponent)) as total from generate_series(1, distinct_values) as number
    ) as weights
    cross join lateral (
        select number, floor(
            $4 * case when extract(isodow from day) > 5 then 0.8 else 1 end
            * case when number = 0 then 1 else 1 / power(number, exponent) / total end + random()
        )::bigint as views
        from generate_series(least(1, distinct_values), distinct_values) as number
    ) as drawn
    where views > 0
) as counted;

-- name: hours
-- The hourly totals of the same days.
insert into hour
select site_id, day, day::timestamp at time zone 'UTC' + number * interval '1 hour', visitors / 20, visits / 24,
    pageviews / 24, events / 24, bounces / 24, duration / 24
from counter cross join generate_series(0, 23) as number
where site_id = $1 and dimension = '' and day between $2 and $3;

-- name: visits
-- $3 raw visits of one day of a site.
insert into visit
select $1::bigint, $2::date, (random() * 9e18)::bigint, $2::date::timestamp at time zone 'UTC' + random() * interval '86000 s',
    'site-' || (150 * power(random(), 3))::int, 'site-1.example/a/path-' || (400 * power(random(), 3))::int,
    'Channel ' || (9 * power(random(), 2))::int, '', '', case when random() < 0.1 then 'campaign-' || (40 * random())::int else '' end,
    '', '', 'C' || (120 * power(random(), 4))::int, 'device-' || (3 * power(random(), 2))::int,
    'Browser ' || (14 * power(random(), 3))::int, 'Browser 1' || (60 * power(random(), 3))::int,
    'System ' || (9 * power(random(), 3))::int, 'System 1' || (40 * power(random(), 3))::int,
    'S' || (4 * random())::int, 'l' || (50 * power(random(), 4))::int,
    '/articles/2024/a-longer-name-' || (800 * power(random(), 3))::int,
    '/articles/2024/a-longer-name-' || (800 * power(random(), 3))::int, 3, 3, false, (random() * 300)::int
from generate_series(1, $3::int);

-- name: hits
-- Three events of each of these visits, nearly all of them page views.
insert into hit
select site_id, day, visit, number, date_trunc('minute', minute + number * interval '1 minute'),
    date_trunc('hour', minute), case when random() < 0.03 then 'Event ' || (11 * random())::int else 'pageview' end, 'www1',
    case when number = 0 then entry_page else '/articles/2024/a-longer-name-' || (1500 * power(random(), 3))::int end,
    case when random() < 0.03 then '{"plan": "plan-1"}'::jsonb end, null
from visit cross join generate_series(0, 2) as number
where site_id = $1 and day = $2;
