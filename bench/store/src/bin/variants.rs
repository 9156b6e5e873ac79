use std::{collections::BTreeMap, env, fs, time::Instant};
use bench_store::{Anything, Event, consumer, database, variable};
use chrono::{DateTime, Utc};
use rdkafka::Message;
use serde_json::value::RawValue;
use tokio_postgres::types::Json;
use uuid::Uuid;

#[derive(Default, Clone)]
struct B { p: i32, pos: Vec<i64>, id: Vec<Uuid>, user: Vec<String>, ty: Vec<String>, t: Vec<DateTime<Utc>>, ev: Vec<Json<Box<RawValue>>> }

fn pg_cpu() -> f64 {
    let data = env::var("PGPID").unwrap();
    let mut sum = 0.0;
    let stat = |pid: &str| -> f64 { let Ok(s) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return 0.0 }; let r = s.rsplit_once(") ").unwrap().1; r.split(' ').skip(11).take(4).map(|x| x.parse::<f64>().unwrap()).sum::<f64>() / 100.0 };
    sum += stat(&data);
    for e in fs::read_dir("/proc").unwrap() { let e = e.unwrap(); let n = e.file_name().into_string().unwrap(); if n.bytes().all(|b| b.is_ascii_digit()) { if let Ok(s) = fs::read_to_string(format!("/proc/{n}/stat")) { let r = s.rsplit_once(") ").unwrap().1; if r.split(' ').nth(1) == Some(&data) { sum += stat(&n); } } } }
    sum
}

fn sql(v: &str) -> String {
    let claimed = "WITH claimed AS (UPDATE partitions SET next = $4, stored_at = greatest(stored_at, clock_timestamp()) WHERE partition = $1 AND epoch = $2 AND next = $3 RETURNING stored_at)";
    let departed = match v { "cur" | "nosum" => "WHERE (SELECT departed.id FROM departed WHERE departed.id = batch.id) IS NULL",
       "init" | "opt" => "WHERE NOT (SELECT EXISTS (SELECT FROM departed)) OR (SELECT departed.id FROM departed WHERE departed.id = batch.id) IS NULL", _ => "" };
    let conflict = if v.starts_with("opt") { "" } else { "ON CONFLICT (id) DO NOTHING" };
    let sum = if v == "nosum" || v == "optmin" { "" } else { ", summed AS (INSERT INTO blocks AS b (partition, block, earliest, latest, events) SELECT $1, position >> 10, min(occurred_at), max(occurred_at), count(*) FROM added GROUP BY position >> 10
    ON CONFLICT (partition, block) DO UPDATE SET earliest = least(b.earliest, excluded.earliest), latest = greatest(b.latest, excluded.latest), events = b.events + excluded.events)" };
    format!("{claimed}, added AS (INSERT INTO events (partition, position, id, user_id, event_type, occurred_at, stored_at, event)
    SELECT $1, batch.position, batch.id, batch.user_id, batch.event_type, batch.occurred_at, claimed.stored_at, batch.event
    FROM claimed, unnest($5::bigint[], $6::uuid[], $7::text[], $8::text[], $9::timestamptz[], $10::json[]) AS batch (position, id, user_id, event_type, occurred_at, event)
    {departed} {conflict} RETURNING position, occurred_at){sum} SELECT stored_at, (SELECT coalesce(array_agg(position), '{{}}') FROM added) FROM claimed")
}

#[tokio::main]
async fn main() -> Result<(), Anything> {
    let events: usize = variable("EVENTS")?.parse()?;
    let size: usize = variable("BATCH")?.parse()?;
    let consumer = consumer()?;
    let mut parts: BTreeMap<i32, Vec<B>> = BTreeMap::new();
    for _ in 0..events {
        let m = consumer.recv().await?;
        let json = m.payload().unwrap();
        let e: Event<'_> = serde_json::from_slice(json)?;
        let bs = parts.entry(m.partition()).or_default();
        if bs.last().is_none_or(|b| b.pos.len() == size) { bs.push(B { p: m.partition(), ..B::default() }); }
        let b = bs.last_mut().unwrap();
        b.pos.push(m.offset()); b.id.push(e.event_id); b.user.push(e.user_id.into()); b.ty.push(e.type_key()); b.t.push(e.timestamp); b.ev.push(Json(serde_json::from_slice(json)?));
    }
    let parts: Vec<Vec<B>> = parts.into_values().collect();
    let rounds: usize = env::var("ROUNDS").map_or(1, |r| r.parse().unwrap());
    let ddl = env::var("DDL").unwrap_or_default();
    for _ in 0..rounds {
        for v in env::var("VARIANTS")?.split(',') {
            let c = database().await?;
            c.batch_execute("TRUNCATE events, blocks, partitions, departed; INSERT INTO partitions (partition, topic, owner, next) SELECT p, 't', 'x', 0 FROM generate_series(0,2) p; CHECKPOINT").await?;
            c.batch_execute(&ddl).await?;
            let cpu = pg_cpu();
            let wal: i64 = c.query_one("SELECT (pg_current_wal_lsn() - '0/0')::bigint", &[]).await?.get(0);
            let began = Instant::now();
            let mut tasks = tokio::task::JoinSet::new();
            for part in parts.clone() {
                let v = v.to_owned();
                tasks.spawn(async move {
                    let c = database().await?;
                    c.batch_execute("SET work_mem TO '32MB'").await?;
                    let s = c.prepare(&sql(&v)).await?;
                    let mut next = 0i64;
                    for b in part {
                        let to = b.pos.last().unwrap() + 1;
                        let rows = c.query(&s, &[&b.p, &1i64, &next, &to, &b.pos, &b.id, &b.user, &b.ty, &b.t, &b.ev]).await?;
                        assert_eq!(rows.len(), 1);
                        next = to;
                    }
                    Ok::<_, Anything>(())
                });
            }
            while let Some(t) = tasks.join_next().await { t??; }
            let wall = began.elapsed().as_secs_f64();
            let w: i64 = c.query_one("SELECT (pg_current_wal_lsn() - '0/0')::bigint", &[]).await?.get(0);
            println!("{v:8} batch {size}: {wall:.2} s, PostgreSQL CPU {:.2} s, WAL {} B", pg_cpu() - cpu, (w - wal) / events as i64);
        }
    }
    Ok(())
}
