//! A schema that is filled from the topic while another serves, and takes its place.

use std::collections::BTreeMap;

use tokio_postgres::Client;
use uuid::Uuid;

use super::{
    config::PostgresConfig,
    failure::Failure,
    migration,
    pool::{connect, quoted},
    retention,
    row::Micros,
};
use crate::store::StoreError;

/// The number of ids of departed events that are carried over at a time.
const AT_ONCE: i64 = 10_000;

/// Positions are those of the serving schema, so that a cursor has the same meaning in both.
const SEED: &str = "\
INSERT INTO partitions (partition, topic, topic_id, owner, base) VALUES ($1, $2, $3, 'replay', $4) \
ON CONFLICT (partition) DO NOTHING";

/// The serving schema and the one that is filled.
#[derive(Debug)]
pub struct Rebuild {
    serving: PostgresConfig,
    filled: PostgresConfig,
}

/// The outcome of a swap.
#[derive(Debug)]
pub enum Swapped {
    /// The filled schema serves, and the former serving one has its name.
    Done,
    /// Nothing is changed: the filled store lacks this number of events of the serving one.
    Lacks(u64),
}

impl Rebuild {
    /// Makes the schema to fill, if it is missing. From now on it knows the events that have left the serving store by their
    /// age.
    ///
    /// # Errors
    ///
    /// A database cannot be reached, or the serving schema is missing or of another version; or both are one schema, or a
    /// position is another record in each.
    pub async fn begin(serving: PostgresConfig, filled: PostgresConfig) -> Result<Self, StoreError> {
        if serving.url.current().connection == filled.url.current().connection
            && serving.schema == filled.schema
        {
            return Err(StoreError::new(format!("the schema {} is the one that serves", serving.schema)));
        }
        migration::check(&serving).await?;
        migration::migrate(&filled).await?;
        let rebuild = Self { serving, filled };
        rebuild.carry_over().await?;
        Ok(rebuild)
    }

    /// The offset of the next record of each partition in the serving store.
    ///
    /// # Errors
    ///
    /// The database does not answer.
    pub async fn serving_offsets(&self) -> Result<BTreeMap<i32, i64>, StoreError> {
        Ok(offsets(&connect(&self.serving).await?).await?)
    }

    async fn carry_over(&self) -> Result<(), Failure> {
        const SEEDS: &str = "SELECT partition, topic, topic_id, base FROM partitions WHERE next IS NOT NULL";
        const LEFT: &str = "SELECT id, departed_at FROM departed WHERE id > $1 ORDER BY id LIMIT $2";
        const KEEP: &str = "\
            INSERT INTO departed (id, departed_at) SELECT * FROM unnest($1::uuid[], $2::timestamptz[]) \
            ON CONFLICT DO NOTHING";

        let (from, to) = (connect(&self.serving).await?, connect(&self.filled).await?);
        for seed in from.query(SEEDS, &[]).await? {
            let (partition, topic, id, base): (i32, String, Option<Uuid>, i64) =
                (seed.get(0), seed.get(1), seed.get(2), seed.get(3));
            to.execute(SEED, &[&partition, &topic, &id, &base]).await?;
        }
        self.check_bases(&bases(&from).await?).await?;
        let mut last = Uuid::nil();
        loop {
            let rows = from.query(LEFT, &[&last, &AT_ONCE]).await?;
            let ids: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
            let times: Vec<Micros> = rows.iter().map(|row| row.get(1)).collect();
            let Some(id) = ids.last() else { return Ok(()) };
            last = *id;
            to.execute(KEEP, &[&ids, &times]).await?;
        }
    }

    /// Puts the filled schema in the place of the serving one, whose name it gets. Both are in one database. Writers wait
    /// meanwhile, until `catch_up` has filled it up to the given offsets. All claims are invalid afterwards.
    ///
    /// # Errors
    ///
    /// `catch_up` failed, or took longer than a statement may; or a position is another record in each schema; or the
    /// database cannot be reached or refuses. Nothing is changed.
    pub async fn swap(
        &self,
        allows_loss: bool,
        catch_up: impl AsyncFnOnce(BTreeMap<i32, i64>) -> Result<(), StoreError>,
    ) -> Result<Swapped, StoreError> {
        let mut client = connect(&self.serving).await.map_err(StoreError::from)?;
        let lacks = self.lacking(&client).await?;
        if lacks > 0 && !allows_loss {
            return Ok(Swapped::Lacks(lacks));
        }
        let (serving, filled) = (quoted(&self.serving.schema), quoted(&self.filled.schema));
        let swapping = async {
            let transaction = client.transaction().await?;
            let locks = "SELECT pg_advisory_xact_lock($1), pg_advisory_xact_lock($2, hashtext($3)), \
                         pg_advisory_xact_lock($2, hashtext($4))";
            // Nobody migrates, and neither loses events by their age.
            let schemas: (&str, &str) = (&self.serving.schema, &self.filled.schema);
            transaction.execute(locks, &[&migration::LOCK, &retention::LOCK, &schemas.0, &schemas.1]).await?;
            // This comes after all writes under way, and before all later ones.
            transaction
                .batch_execute(&format!("LOCK TABLE {serving}.partitions IN ACCESS EXCLUSIVE MODE"))
                .await?;
            let goals = offsets(transaction.client()).await?;
            Ok::<_, Failure>((transaction, goals))
        };
        let (transaction, goals) = swapping.await?;
        catch_up(goals).await?;
        let renaming = async {
            self.check_bases(&bases(transaction.client()).await?).await?;
            transaction.batch_execute(&exchange(&serving, &filled)).await?;
            for grant in grants(transaction.client(), &self.serving.schema, &self.filled.schema).await? {
                transaction.batch_execute(&grant).await?;
            }
            transaction
                .batch_execute(&format!(
                    "ALTER SCHEMA {serving} RENAME TO highwater_swapping; ALTER SCHEMA {filled} RENAME TO {serving}; \
                     ALTER SCHEMA highwater_swapping RENAME TO {filled}"
                ))
                .await?;
            transaction.commit().await?;
            Ok::<_, Failure>(())
        };
        renaming.await?;
        Ok(Swapped::Done)
    }

    /// Positions, and so cursors, are of the same records in both schemas if both add the same number to an offset. A
    /// partition has another number if it was set back since the filled schema was begun, or if its log was cut or made
    /// anew.
    async fn check_bases(&self, serving: &BTreeMap<i32, i64>) -> Result<(), Failure> {
        let filled = bases(&connect(&self.filled).await?).await?;
        let differs =
            |&(partition, base): &(&i32, &i64)| filled.get(partition).is_some_and(|other| other != base);
        let Some((partition, _)) = serving.iter().find(differs) else { return Ok(()) };
        Err(Failure::Schema(format!(
            "the position of partition {partition} was set back in the serving schema since the schema {} was begun, so that \
             cursors would pass over events: drop that schema, and fill it anew",
            self.filled.schema
        )))
    }

    /// The number of events of the serving store that the filled one lacks, as far as it has come.
    async fn lacking(&self, client: &Client) -> Result<u64, Failure> {
        let (serving, filled) = (quoted(&self.serving.schema), quoted(&self.filled.schema));
        let count = format!(
            "SELECT count(*) FROM {serving}.events e JOIN {serving}.partitions s USING (partition) \
             LEFT JOIN {filled}.partitions f USING (partition) \
             WHERE e.position < s.base + coalesce(f.next - f.base, 0) \
             AND NOT EXISTS (SELECT FROM {filled}.events o WHERE o.id = e.id) \
             AND NOT EXISTS (SELECT FROM {filled}.departed d WHERE d.id = e.id)"
        );
        client.batch_execute("SET statement_timeout TO 0").await?;
        let lacks: i64 = client.query_one(&count, &[]).await?.get(0);
        client
            .batch_execute(&format!("SET statement_timeout TO {}", self.serving.timeout.as_millis()))
            .await?;
        Ok(lacks.unsigned_abs())
    }
}

async fn offsets(client: &Client) -> Result<BTreeMap<i32, i64>, Failure> {
    let rows =
        client.query("SELECT partition, next - base FROM partitions WHERE next IS NOT NULL", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The difference between positions and offsets in each partition.
async fn bases(client: &Client) -> Result<BTreeMap<i32, i64>, Failure> {
    let rows = client.query("SELECT partition, base FROM partitions", &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Prepares the contents of both for the exchange: every claim becomes invalid, and positions go on above the given ones.
/// Events that left the serving store since [`Rebuild::begin`] leave the filled one, and erased events stay erased.
fn exchange(serving: &str, filled: &str) -> String {
    format!(
        "WITH late AS (
            INSERT INTO {filled}.departed SELECT * FROM {serving}.departed ON CONFLICT DO NOTHING RETURNING id
        ), gone AS (
            DELETE FROM {filled}.events e USING late WHERE e.id = late.id RETURNING e.partition, e.position
        )
        UPDATE {filled}.blocks b SET events = b.events - left_block.events
        FROM (SELECT partition, position >> 10 AS block, count(*) AS events FROM gone GROUP BY 1, 2) AS left_block
        WHERE b.partition = left_block.partition AND b.block = left_block.block;
        INSERT INTO {filled}.erasures AS e SELECT * FROM {serving}.erasures
        ON CONFLICT (partition, user_hash) DO UPDATE SET marker = greatest(e.marker, excluded.marker);
        UPDATE {filled}.partitions f SET
            epoch = greatest(f.epoch, s.epoch) + 1,
            base = f.base + greatest(s.next - f.next, 0), next = greatest(f.next, s.next),
            stored_at = greatest(f.stored_at, s.stored_at)
        FROM {serving}.partitions s WHERE s.partition = f.partition AND s.next IS NOT NULL AND f.next IS NOT NULL;
        UPDATE {serving}.partitions SET epoch = epoch + 1"
    )
}

/// The rights of others on a schema and its tables, as statements that give them on another schema's.
async fn grants(client: &Client, of: &str, on: &str) -> Result<Vec<String>, Failure> {
    const GRANTS: &str = "\
        SELECT format('GRANT %s ON SCHEMA %I TO %s', privilege_type, $2::text, \
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END) \
        FROM pg_namespace, aclexplode(nspacl) WHERE nspname = $1 AND grantee <> nspowner \
        UNION ALL SELECT format('GRANT %s ON TABLE %I.%I TO %s', privilege_type, $2::text, relname, \
            CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END) \
        FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace, aclexplode(relacl) \
        WHERE nspname = $1 AND relkind = 'r' AND grantee <> relowner \
        AND to_regclass(format('%I.%I', $2::text, relname)) IS NOT NULL";
    let rows = client.query(GRANTS, &[&of, &on]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
